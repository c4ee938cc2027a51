"""Prediction intervals for every movie, wide where movies are hard to predict, and how often they held.

Normalised cross-conformal prediction (Papadopoulos et al. 2008, Normalized nonconformity measures for regression
conformal prediction; Vovk 2015, Cross-conformal predictors): a small model of the absolute error scales the intervals,
a quantile of the errors that training movies have out of fold, and validation movies, sets their width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import PipelineError
from imdb_pipeline.models.features import Features
from imdb_pipeline.models.feed import threads_for
from imdb_pipeline.models.groups import FEWEST_VOTES, VOTE_BUCKETS
from imdb_pipeline.models.saved import FIT_AGAIN, read_json, write_json
from imdb_pipeline.models.scale import HIGHEST_RATING, LOWEST_RATING

if TYPE_CHECKING:
    from pathlib import Path

    import lightgbm
    import numpy as np
    import polars as pl

LEVEL = 0.9
BOUNDS_LEVEL = 0.95
MIN_RESIDUALS = 1_000
"""Out-of-fold residuals needed for a model of them: with fewer, what it finds is mostly noise."""

FOLDS = 10
"""Of training movies, whose difficulty is each told by a model that was fitted on the errors of the others."""

SETTINGS_FILE = "intervals.json"
TREES_FILE = "difficulty.txt"
_TREES = 120
_PARAMETERS = {
    "objective": "poisson",  # the mean of what is never negative, through a logarithm: always above 0
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "lambda_l2": 5.0,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


@dataclass(frozen=True, eq=False)
class Intervals:
    """What turns a prediction into an interval.

    Attributes
    ----------
    features, difficulty
        Of the model of the absolute error; None where the width is constant.
    settings
        JSON values: ``method``, ``level``, ``quantile`` (of the absolute errors divided by the difficulty; None where
        there are too few: the intervals are then the whole scale), ``reason`` (why the width is constant, or None),
        ``n_out_of_fold`` and ``n_validation`` (how many errors of either kind set it) and the trees' parameters.
    """

    features: Features | None
    difficulty: lightgbm.Booster | None
    settings: dict[str, Any]

    def scale(self, movies: pl.DataFrame) -> np.ndarray:
        """Return how hard the n movies are: the error to expect in rating points, above 0; 1 where width is constant.

        Parameters
        ----------
        movies
            n rows with the columns ``INPUT_COLUMNS``.

        Returns
        -------
        numpy.ndarray
            float64, shape (n,).
        """
        import numpy as np

        if self.difficulty is None or self.features is None or not len(movies):
            return np.ones(len(movies))
        return np.asarray(self.difficulty.predict(self.features.matrix(movies), num_threads=threads_for(len(movies))))

    def bounds(self, movies: pl.DataFrame, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the low and the high end of the interval of each movie: float64, shape (n,), from 1 to 10.

        For any but the training movies, from whose errors the difficulty was learnt.
        """
        return _ends(predictions, self.scale(movies), self.settings["quantile"])

    def save(self, folder: Path) -> None:
        """Write settings and features as JSON and the trees as LightGBM's text into ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        features = None if self.features is None else self.features.to_json()
        write_json(folder / SETTINGS_FILE, {**self.settings, "features": features})
        if self.difficulty is not None:
            (folder / TREES_FILE).write_text(self.difficulty.model_to_string(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Intervals:
        """Read what ``save`` wrote. Raises ``PipelineError`` naming a file that is missing or not what it should be."""
        import lightgbm

        path = folder / SETTINGS_FILE
        settings = read_json(path, dict)
        quantile, known = settings.get("quantile", ""), settings.pop("features", "")
        if not (quantile is None or (isinstance(quantile, (int, float)) and quantile >= 0)) or known == "":
            raise PipelineError(f"{path}: no quantile or no features of intervals; {FIT_AGAIN}")
        if known is None:
            return cls(None, None, settings)
        features = Features.from_json(known, str(path))
        path = folder / TREES_FILE
        if not path.is_file():
            raise PipelineError(f"{path}: missing file of saved intervals; {FIT_AGAIN}")
        try:
            trees = lightgbm.Booster(model_file=path)
        except lightgbm.basic.LightGBMError as error:
            raise PipelineError(f"{path}: not a LightGBM model ({error}); {FIT_AGAIN}") from None
        if trees.num_feature() != len(features.names):
            known = len(features.names)
            raise PipelineError(f"{path}: {trees.num_feature()} features, {SETTINGS_FILE} has {known}; {FIT_AGAIN}")
        return cls(features, trees, settings)


def fit_intervals(
    movies: pl.DataFrame, out_of_fold: pl.DataFrame, validation: pl.DataFrame, *, seed: int, level: float = LEVEL
) -> tuple[Intervals, pl.DataFrame]:
    """Fit the intervals of a predictor.

    The difficulty is learnt from out-of-fold errors of training movies alone. That of a training movie itself is told
    by a model of the errors of other folds, so that its error, beside those of validation, may set the width: hundreds
    of validation movies may by chance be easier than others. The out-of-fold errors are of models that learnt from
    fewer movies, so the intervals are rather a little too wide than too narrow. Below ``MIN_RESIDUALS`` of them, and
    where a difficulty does not make the intervals' score better, the width is constant, and ``settings`` say so.

    Parameters
    ----------
    movies
        The columns ``INPUT_COLUMNS`` of at least all movies below, each once.
    out_of_fold
        tconst, rating, prediction of training movies, each predicted by a model fitted without it.
    validation
        tconst, rating, prediction of validation movies by the model fitted on training movies.
    seed
        Of the folds and the trees: equal seed and data give equal bytes.
    level
        Share of new ratings that the intervals shall hold, between 0 and 1.

    Returns
    -------
    Intervals
        For any movie that is not among ``out_of_fold``.
    polars.DataFrame
        tconst, low, high (Float64, 1 to 10) of the movies of ``out_of_fold``.

    Raises
    ------
    ValueError
        A movie is missing from ``movies``, a number is none, or ``level`` is out of range.
    """
    import numpy as np
    import polars as pl

    learned, errors = _absolute_errors(movies, out_of_fold, "out_of_fold")
    calibrating, residuals = _absolute_errors(movies, validation, "validation")
    absolute = np.concatenate([errors, residuals])
    constant = conformal_half_width(absolute, level)
    settings: dict[str, Any] = {
        "method": "cross-conformal prediction, constant width",
        "level": level,
        "quantile": constant if math.isfinite(constant) else None,
        "reason": None,
        "n_out_of_fold": len(errors),
        "n_validation": len(residuals),
    }
    intervals, difficulty = Intervals(None, None, settings), np.ones(len(errors))
    if len(errors) < MIN_RESIDUALS:
        settings["reason"] = (
            f"{len(errors):,} out-of-fold errors: a model of how hard a movie is needs {MIN_RESIDUALS:,}"
        )
    else:
        scaled, crossed = _learn_difficulty(learned, errors, settings, seed)
        hard = np.concatenate([crossed, scaled.scale(calibrating)])
        quantile = conformal_half_width(absolute / hard, level)
        if _score(quantile * hard, absolute, level) < _score(np.full(len(hard), constant), absolute, level):
            scaled.settings["quantile"] = quantile
            intervals, difficulty = scaled, crossed
        else:
            settings["reason"] = "a model of how hard a movie is makes no better intervals"
    predictions = learned.select("tconst").join(out_of_fold, on="tconst", how="left", maintain_order="left")
    low, high = _ends(predictions["prediction"].to_numpy(), difficulty, intervals.settings["quantile"])
    return intervals, learned.select("tconst", low=pl.Series(low), high=pl.Series(high))


def _learn_difficulty(
    movies: pl.DataFrame, errors: np.ndarray, settings: dict[str, Any], seed: int
) -> tuple[Intervals, np.ndarray]:
    """Return intervals without a quantile, and of each movie its difficulty by what other folds tell: float64, (n,)."""
    import lightgbm
    import numpy as np

    settings = settings | {
        "method": "cross-conformal prediction, normalised by a model of the absolute error",
        "trees": _TREES,
        "parameters": {**_PARAMETERS, "seed": seed, "num_threads": threads_for(len(movies))},
    }
    features = Features.learn(movies)
    matrix = features.matrix(movies)

    def learn(rows: np.ndarray) -> lightgbm.Booster:
        data = lightgbm.Dataset(matrix[rows], errors[rows])
        return lightgbm.train(settings["parameters"], data, num_boost_round=_TREES)

    fold = np.random.default_rng(seed).permutation(len(errors)) % FOLDS
    crossed = np.empty(len(errors))
    for number in range(FOLDS):
        own = fold == number
        crossed[own] = np.asarray(learn(~own).predict(matrix[own], num_threads=threads_for(len(movies))))
    return Intervals(features, learn(fold >= 0), settings), crossed


def _score(half: np.ndarray, errors: np.ndarray, level: float) -> float:
    """Return the mean interval score, the lower the better: narrow, and missing by little (Gneiting and Raftery 2007,
    Strictly Proper Scoring Rules, Prediction, and Estimation, section 6.2)."""
    import numpy as np

    return float(np.mean(2 * half + 2 / (1 - level) * np.maximum(errors - half, 0)))


def _ends(predictions: np.ndarray, difficulty: np.ndarray, quantile: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of intervals, on the scale: float64, shape (n,); all of the scale where there is no quantile."""
    import numpy as np

    if quantile is None:
        return np.full(len(predictions), LOWEST_RATING), np.full(len(predictions), HIGHEST_RATING)
    half = quantile * difficulty
    return (
        np.clip(predictions - half, LOWEST_RATING, HIGHEST_RATING),
        np.clip(predictions + half, LOWEST_RATING, HIGHEST_RATING),
    )


def conformal_half_width(residuals: np.ndarray, level: float = LEVEL) -> float:
    """Return w so that prediction ± w holds a new rating with a probability of at least ``level``.

    The split-conformal quantile: the ceil((n + 1) * level)-th smallest absolute residual (Lei et al. 2018,
    doi:10.1080/01621459.2017.1307116, section 2.2). It holds for residuals of movies that the model was not fitted on;
    where the model was chosen by them, as by validation, it is very slightly too narrow. (Of out-of-fold residuals it
    is the cross-conformal quantile, whose guarantee is weaker and whose coverage is in practice the same: Barber et
    al. 2021, Predictive inference with the jackknife+.)

    Parameters
    ----------
    residuals
        Shape (n,): rating less prediction, or that divided by a scale; then w is in units of the scale.
    level
        Between 0 and 1.

    Returns
    -------
    float
        Infinity where n is too small for ``level`` (n below 9 for 0.9).
    """
    import numpy as np

    if not 0 < level < 1:
        raise ValueError(f"level {level}: expected a number between 0 and 1")
    rank = math.ceil(round((len(residuals) + 1) * level, 9))
    if rank > len(residuals):
        return math.inf
    return float(np.sort(np.abs(np.asarray(residuals, dtype=np.float64)))[rank - 1])


def coverage(predictions: pl.DataFrame) -> dict[str, Any]:
    """Return how often the intervals held on test movies, which nothing was fitted or calibrated on.

    Parameters
    ----------
    predictions
        The predictions table: at least low, high, split, average_rating, num_votes.

    Returns
    -------
    dict
        JSON values: ``level`` (what was aimed at), ``overall`` and ``by_votes``, a list of the same with ``votes``:
        ``n``, ``inside`` (counts), ``coverage`` (a share), ``coverage_low``, ``coverage_high`` (its 95 % bounds by
        Clopper and Pearson), ``mean_width`` (rating points); the last four None where n is 0.
    """
    import polars as pl

    test = predictions.filter(pl.col("split") == "test", pl.col("average_rating").is_not_null())
    votes, buckets, below = pl.col("num_votes"), [], FEWEST_VOTES - 1
    for name, most in VOTE_BUCKETS:
        rows = test.filter(votes > below, pl.lit(True) if most is None else votes <= most)
        buckets.append({"votes": name, **covered(rows)})
        below = most
    return {"level": LEVEL, "overall": covered(test), "by_votes": buckets}


def covered(rows: pl.DataFrame) -> dict[str, Any]:
    """Return the figures of ``coverage`` for rows with low, high and average_rating."""
    import polars as pl

    count = len(rows)
    inside = rows.select(pl.col("average_rating").is_between("low", "high").sum()).item()
    low, high = binomial_bounds(inside, count) if count else (None, None)
    return {
        "n": count,
        "inside": inside,
        "coverage": inside / count if count else None,
        "coverage_low": low,
        "coverage_high": high,
        "mean_width": rows.select((pl.col("high") - pl.col("low")).mean()).item(),
    }


def binomial_bounds(hits: int, count: int, level: float = BOUNDS_LEVEL) -> tuple[float, float]:
    """Return the exact bounds of the share ``hits`` of ``count``, which is at least 1 (Clopper and Pearson 1934)."""
    from scipy.stats import beta

    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, count - hits + 1))
    high = 1.0 if hits == count else float(beta.ppf(1 - tail, hits + 1, count - hits))
    return low, high


def _absolute_errors(movies: pl.DataFrame, judged: pl.DataFrame, name: str) -> tuple[pl.DataFrame, np.ndarray]:
    """Return the movies that were judged, sorted by tconst, and their absolute errors."""
    import numpy as np

    from imdb_pipeline.models.examples import INPUT_COLUMNS

    rows = (
        judged.select("tconst", "rating", "prediction").join(movies.select(INPUT_COLUMNS), on="tconst").sort("tconst")
    )
    errors = np.abs((rows["rating"] - rows["prediction"]).to_numpy().astype(np.float64))
    if len(rows) != len(judged):
        raise ValueError(f"{name}: {len(judged)} movies, {len(rows)} of them among the movies")
    if not np.isfinite(errors).all():
        raise ValueError(f"{name}: a rating or a prediction is not a number")
    return rows.select(INPUT_COLUMNS), errors
