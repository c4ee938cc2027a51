"""Which predictor serves: a new one's challenge, its proof out of fold, its refit on all rated movies."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.pace import Pace

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from imdb_pipeline.models.conformal import Intervals
    from imdb_pipeline.models.examples import Examples, Parts
    from imdb_pipeline.models.finished import Finished
    from imdb_pipeline.models.fitting import Model

MIN_COMMON = 30
"""Movies of validation that two predictors must share to be compared."""

logger = logging.getLogger(__name__)


def challenge(held: pl.DataFrame | None, challenger: pl.DataFrame, *, seed: int) -> dict[str, Any]:
    """Compare a new predictor with the champion, on the movies of validation that neither was fitted on.

    The split goes by a movie's id, so a movie that one held out the other held out too.

    Parameters
    ----------
    held, challenger
        Their held-out predictions: tconst, split, rating, prediction; None where there is no champion. The ratings of
        the challenger's, which are today's, count for both.
    seed
        Of the resampling.

    Returns
    -------
    dict
        ``replaces``, unless the challenger is worse by the paired interval; ``why``, in a sentence; and where they were
        compared ``n``, ``champion_mse``, ``challenger_mse``, ``mse_gain`` (the champion's less the challenger's) with
        its 95 % interval ``mse_gain_low``, ``mse_gain_high``.
    """
    from imdb_pipeline.models.evaluate import evaluate

    if held is None:
        return {"replaces": True, "why": "there was no champion"}
    common = (
        challenger.filter(split="validation")
        .join(held.filter(split="validation").select("tconst", champion="prediction"), on="tconst", how="inner")
        .sort("tconst")
    )
    if len(common) < MIN_COMMON:
        return {"replaces": True, "why": f"they share {len(common)} movies of validation: too few to compare"}
    ratings, old, new = (common[name].to_numpy() for name in ("rating", "champion", "prediction"))
    found = evaluate(new, ratings, old, seed=seed)
    replaces = found["mse_gain_high"] >= 0
    gain = f"{found['mse_gain']:+.4f} [{found['mse_gain_low']:+.4f}, {found['mse_gain_high']:+.4f}]"
    return {
        "replaces": replaces,
        "why": f"{'not worse' if replaces else 'worse'} on {len(common)} movies of validation: "
        f"the mean squared error falls by {gain}",
        "n": len(common),
        "champion_mse": found["mse"] + found["mse_gain"],
        "challenger_mse": found["mse"],
        "mse_gain": found["mse_gain"],
        "mse_gain_low": found["mse_gain_low"],
        "mse_gain_high": found["mse_gain_high"],
    }


def predict_out_of_fold(
    name: str, model: Model, train: Examples, *, folds: int, seed: int, device: str, finished: Finished | None = None
) -> pl.DataFrame:
    """Predict each training movie by a predictor that is fitted on the others, less the fold it falls into by its id.

    Parameters
    ----------
    name, model
        Of ``PREDICTORS``, fitted on ``train``; its settings are those of all folds.
    folds
        At least 2.
    finished
        What a run that was killed had finished of it.

    Returns
    -------
    DataFrame
        tconst, split (``train``), rating, prediction (Float64), in the order of ``train``.
    """
    import numpy as np
    import polars as pl

    from imdb_pipeline.models.finished import Finished
    from imdb_pipeline.models.fitting import refit_predictor

    done = Finished(None, "") if finished is None else finished
    fold = fold_of(train.inputs.movies["tconst"], folds)
    predictions = np.full(len(train), np.nan)
    pace = Pace(f"champion: {name} out of fold", "folds", folds, every=0)
    for number in range(folds):
        own = np.flatnonzero(fold == number)
        if not len(own):
            continue
        # Without validation and test: what is learnt of their errors shall be new to these.
        others, what = train.take(np.flatnonzero(fold != number)), f"fold-{number}"

        def predict(own: np.ndarray = own, others: Examples = others, what: str = what) -> np.ndarray:
            options = {"seed": seed, "device": device, "checkpoints": done.checkpoints(what)}
            return refit_predictor(name, model, others, **options).predict(train.take(own).inputs)

        predictions[own] = done.predictions(what, predict)
        pace.part_done()
    return train.inputs.movies.select(
        "tconst",
        pl.lit("train").alias("split"),
        pl.Series("rating", train.ratings, dtype=pl.Float64),
        pl.Series("prediction", predictions),
    )


def prove(out_of_fold: pl.DataFrame, held_out: pl.DataFrame, *, seed: int) -> dict[str, Any]:
    """Say whether a predictor is better than the mean on all movies that it had not seen, but those of test.

    Of a few dozen movies of validation the best of many predictors may be so by chance, and a good one may be no better
    than the mean: nine times as many were predicted out of fold.

    Parameters
    ----------
    out_of_fold
        As from ``predict_out_of_fold``; the mean of its ratings is the mean.
    held_out
        Its predictions of validation and test, in the same columns.
    seed
        Of the resampling.

    Returns
    -------
    dict
        ``passes``, whether the paired interval of the gain is above 0; ``why``, in a sentence; ``n``, ``mse``, ``r2``,
        and ``mse_gain`` over the mean with its 95 % interval ``mse_gain_low``, ``mse_gain_high``.
    """
    import numpy as np
    import polars as pl

    from imdb_pipeline.models.evaluate import evaluate

    columns = ("rating", "prediction")
    unseen = pl.concat([out_of_fold.select(columns), held_out.filter(split="validation").select(columns)])
    mean = np.full(len(unseen), out_of_fold["rating"].mean())
    found = evaluate(unseen["prediction"].to_numpy(), unseen["rating"].to_numpy(), mean, seed=seed)
    gain = f"{found['mse_gain']:+.4f} [{found['mse_gain_low']:+.4f}, {found['mse_gain_high']:+.4f}]"
    return {
        "passes": found["beats_mean"],
        "why": f"{'better' if found['beats_mean'] else 'no better'} than the mean on {len(unseen):,} movies that it "
        f"had not seen, out of fold and of validation: the mean squared error falls by {gain}",
        **{name: found[name] for name in ("n", "mse", "r2", "mse_gain", "mse_gain_low", "mse_gain_high")},
    }


@dataclass(frozen=True, eq=False)
class Serving:
    """What serves.

    Attributes
    ----------
    model
        Fitted on all rated movies.
    intervals
        Of its predictions.
    unseen
        tconst, split, rating, prediction, low, high (Float64), basis: for each rated movie a prediction by a model that
        had not seen it, ``held_out`` for validation and test, ``out_of_fold`` for train, with its interval.
    few_votes
        tconst of the movies that it learnt a little from though they had few votes.
    rated
        How many movies it was fitted on.
    mean
        Of their ratings.
    """

    model: Model
    intervals: Intervals
    unseen: pl.DataFrame
    few_votes: pl.DataFrame
    rated: int
    mean: float


def build_serving(
    name: str,
    model: Model,
    parts: Parts,
    held_out: pl.DataFrame,
    out_of_fold: pl.DataFrame,
    *,
    seed: int,
    device: str,
    finished: Finished | None = None,
) -> Serving:
    """Fit a predictor on all rated movies, with the settings that ``model`` chose, and intervals to its errors.

    Parameters
    ----------
    name, model
        Of ``PREDICTORS``, fitted on ``parts.train``.
    held_out
        Its predictions of validation and test.
    out_of_fold
        Those of train, as from ``predict_out_of_fold``.
    finished
        What a run that was killed had finished of it.
    """
    import polars as pl

    from imdb_pipeline.models.conformal import fit_intervals
    from imdb_pipeline.models.examples import join_examples
    from imdb_pipeline.models.finished import Finished
    from imdb_pipeline.models.fitting import load_predictor, refit_predictor

    done = Finished(None, "") if finished is None else finished
    rated = join_examples(parts.train, parts.validation, parts.test)
    logger.info("champion: fitting %s on all %d rated movies", name, len(rated))
    options = {"seed": seed, "device": device, "checkpoints": done.checkpoints("all")}
    serving, _ = done.model(
        "all",
        lambda: refit_predictor(name, model, rated, **options),
        lambda folder: load_predictor(name, folder, device=device),
    )
    movies = rated.inputs.movies
    intervals, of_train = fit_intervals(movies, out_of_fold, held_out.filter(split="validation"), seed=seed)
    inputs = held_out.select("tconst").join(movies, on="tconst", how="left", maintain_order="left")
    low, high = intervals.bounds(inputs, held_out["prediction"].to_numpy())
    columns = ("tconst", "split", "rating", "prediction", "low", "high", "basis")
    unseen = pl.concat(
        [
            held_out.with_columns(low=pl.Series(low), high=pl.Series(high), basis=pl.lit("held_out")).select(columns),
            out_of_fold.join(of_train, on="tconst").with_columns(basis=pl.lit("out_of_fold")).select(columns),
        ]
    ).sort("tconst")
    few = movies.clear() if rated.few_votes is None else rated.few_votes.movies
    return Serving(
        serving, intervals, unseen, few.select("tconst"), len(rated), float(rated.ratings.mean(dtype="float64"))
    )


def fold_of(tconst: pl.Series, folds: int) -> np.ndarray:
    """Return the fold of each id: int64, shape (n,), from 0; by other digits of the hash than the split goes by."""
    import numpy as np

    return np.array([int(hashlib.sha256(each.encode()).hexdigest()[8:16], 16) % folds for each in tconst], np.int64)
