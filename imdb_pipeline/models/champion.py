"""Which predictor serves: a new one's challenge, its refit on all rated movies, its out-of-fold predictions."""

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
    *,
    folds: int,
    seed: int,
    device: str,
    finished: Finished | None = None,
) -> Serving:
    """Fit a predictor on all rated movies, with the settings that ``model`` chose, and on train less each fold of it.

    Parameters
    ----------
    name, model
        Of ``PREDICTORS``, fitted on ``parts.train``.
    held_out
        Its predictions of validation and test.
    folds
        Into which the training movies fall by their ids; at least 2.
    finished
        What a run that was killed had finished of it: the model, and the predictions of folds.
    """
    import numpy as np
    import polars as pl

    from imdb_pipeline.models.conformal import fit_intervals
    from imdb_pipeline.models.examples import join_examples
    from imdb_pipeline.models.finished import Finished
    from imdb_pipeline.models.fitting import load_predictor, refit_predictor

    done = Finished(None, "") if finished is None else finished

    def refit(examples: Examples, what: str) -> Model:
        return refit_predictor(name, model, examples, seed=seed, device=device, checkpoints=done.checkpoints(what))

    train = parts.train
    rated = join_examples(train, parts.validation, parts.test)
    logger.info("champion: fitting %s on all %d rated movies", name, len(rated))
    serving, _ = done.model(
        "all", lambda: refit(rated, "all"), lambda folder: load_predictor(name, folder, device=device)
    )
    fold = fold_of(train.inputs.movies["tconst"], folds)
    predictions = np.full(len(train), np.nan)
    pace = Pace("champion", "folds", folds, every=0)
    for number in range(folds):
        own = np.flatnonzero(fold == number)
        if not len(own):
            continue
        # Without validation and test: what is learnt of their errors shall be new to these.
        others, what = train.take(np.flatnonzero(fold != number)), f"fold-{number}"

        def predict(own: np.ndarray = own, others: Examples = others, what: str = what) -> np.ndarray:
            return refit(others, what).predict(train.take(own).inputs)

        predictions[own] = done.predictions(what, predict)
        pace.part_done()
    out_of_fold = train.inputs.movies.select(
        "tconst",
        pl.lit("train").alias("split"),
        pl.Series("rating", train.ratings, dtype=pl.Float64),
        pl.Series("prediction", predictions),
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
