"""Prediction intervals for every movie, wide where movies are hard to predict, and how often they held.

Normalised split conformal prediction (Papadopoulos et al. 2008, Normalized nonconformity measures for regression
conformal prediction; Lei et al. 2018, Distribution-Free Predictive Inference for Regression, section 5.2): a small
model of the absolute error scales the intervals, a quantile on validation sets their width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import PipelineError
from imdb_pipeline.models.features import Features
from imdb_pipeline.models.groups import FEWEST_VOTES, VOTE_BUCKETS
from imdb_pipeline.models.saved import read_json, write_json
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

SETTINGS_FILE = "intervals.json"
TREES_FILE = "difficulty.txt"
THREADS = 4
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
    "num_threads": THREADS,
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
        JSON values: ``method``, ``level``, ``quantile`` (of the absolute errors on validation divided by the
        difficulty; None where validation is too small: the intervals are then the whole scale),
        ``reason`` (why the width is constant, or None), ``n_out_of_fold``, ``n_validation`` and the trees' parameters.
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
        return np.asarray(self.difficulty.predict(self.features.matrix(movies), num_threads=THREADS))

    def bounds(self, movies: pl.DataFrame, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the low and the high end of the interval of each movie: float64, shape (n,), from 1 to 10."""
        import numpy as np

        quantile = self.settings["quantile"]
        if quantile is None:
            return np.full(len(movies), LOWEST_RATING), np.full(len(movies), HIGHEST_RATING)
        half = quantile * self.scale(movies)
        return (
            np.clip(predictions - half, LOWEST_RATING, HIGHEST_RATING),
            np.clip(predictions + half, LOWEST_RATING, HIGHEST_RATING),
        )

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
            raise PipelineError(f"{path}: no quantile or no features of intervals; fit the predictor again")
        if known is None:
            return cls(None, None, settings)
        features = Features.from_json(known, str(path))
        path = folder / TREES_FILE
        if not path.is_file():
            raise PipelineError(f"{path}: missing file of saved intervals; fit the predictor again")
        try:
            trees = lightgbm.Booster(model_file=path)
        except lightgbm.basic.LightGBMError as error:
            raise PipelineError(f"{path}: not a LightGBM model ({error}); fit the predictor again") from None
        if trees.num_feature() != len(features.names):
            raise PipelineError(f"{path}: {trees.num_feature()} features, {SETTINGS_FILE} has {len(features.names)}")
        return cls(features, trees, settings)


def fit_intervals(
    movies: pl.DataFrame, out_of_fold: pl.DataFrame, validation: pl.DataFrame, *, seed: int, level: float = LEVEL
) -> Intervals:
    """Fit the intervals of a predictor.

    The difficulty is learned from out-of-fold errors of training movies alone, so that validation, which sets the
    width, is new to it. Below ``MIN_RESIDUALS`` of them the width is constant, and ``settings`` say so.

    Parameters
    ----------
    movies
        The columns ``INPUT_COLUMNS`` of at least all movies below, each once.
    out_of_fold
        tconst, rating, prediction of training movies, each predicted by a model fitted without it.
    validation
        tconst, rating, prediction of validation movies by the model fitted on training movies.
    seed
        Of the trees: equal seed and data give equal bytes.
    level
        Share of new ratings that the intervals shall hold, between 0 and 1.

    Raises
    ------
    ValueError
        A movie is missing from ``movies``, a number is none, or ``level`` is out of range.
    """
    import lightgbm

    learned, errors = _absolute_errors(movies, out_of_fold, "out_of_fold")
    calibrating, residuals = _absolute_errors(movies, validation, "validation")
    settings: dict[str, Any] = {
        "method": "split conformal prediction, constant width",
        "level": level,
        "quantile": None,
        "reason": None,
        "n_out_of_fold": len(errors),
        "n_validation": len(residuals),
    }
    intervals = Intervals(None, None, settings)
    if len(errors) < MIN_RESIDUALS:
        settings["reason"] = (
            f"{len(errors):,} out-of-fold errors: a model of how hard a movie is needs {MIN_RESIDUALS:,}"
        )
    else:
        settings["method"] = "split conformal prediction, normalised by a model of the absolute error"
        settings |= {"trees": _TREES, "parameters": {**_PARAMETERS, "seed": seed}}
        features = Features.learn(learned)
        data = lightgbm.Dataset(features.matrix(learned), errors)
        trees = lightgbm.train(settings["parameters"], data, num_boost_round=_TREES)
        intervals = Intervals(features, trees, settings)
    half = conformal_half_width(residuals / intervals.scale(calibrating), level)
    settings["quantile"] = half if math.isfinite(half) else None
    return intervals


def conformal_half_width(residuals: np.ndarray, level: float = LEVEL) -> float:
    """Return w so that prediction ± w holds a new rating with a probability of at least ``level``.

    The split-conformal quantile: the ceil((n + 1) * level)-th smallest absolute residual (Lei et al. 2018,
    doi:10.1080/01621459.2017.1307116, section 2.2). It holds for residuals of movies that the model was not fitted on;
    where the model was chosen by them, as by validation, it is very slightly too narrow.

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
