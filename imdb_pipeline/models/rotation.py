"""Ten-fold rotation: every rated movie predicted by a model that has not seen it, with settings fixed beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.evaluate import evaluate
from imdb_pipeline.models.fitting import refit_predictor
from imdb_pipeline.models.pace import Pace
from imdb_pipeline.models.split import BUCKETS, VALIDATION_BUCKET, bucket_by_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import polars as pl

    from imdb_pipeline.models.examples import Examples
    from imdb_pipeline.models.finished import Finished
    from imdb_pipeline.models.fitting import Model


@dataclass(frozen=True, eq=False)
class Rotation:
    """What came of it.

    Attributes
    ----------
    summary
        JSON values: ``n``; ``r2_mean`` and ``r2_deviation``, ``mse_mean`` and ``mse_deviation``: mean and standard
        deviation over the folds; ``all``, what ``evaluate`` says of all movies together, each against the mean of its
        own fold's training movies; ``folds``: of each ``bucket``, ``n``, ``mse``, ``r2``, and whether the settings
        were ``chosen_with`` these movies, which then look a little better than they should.
    predictions
        ``tconst``, ``bucket`` (Int64), ``rating``, ``prediction`` (Float64), in the order of the movies.
    """

    summary: dict[str, Any]
    predictions: pl.DataFrame


def rotate(
    name: str, model: Model, rated: Examples, *, seed: int, device: str, finished: Finished | None = None
) -> Rotation:
    """Fit a predictor ten times with the settings of ``model``, each time leaving out the movies of one hash bucket.

    Parameters
    ----------
    name
        One of ``PREDICTORS``.
    model
        Fitted, with its settings chosen on validation.
    rated
        All rated movies: train, validation and test.
    finished
        What a run that was killed had finished of it: the predictions of folds.

    Raises
    ------
    ValueError
        Where all movies are in one bucket.
    """
    import numpy as np

    from imdb_pipeline.models.finished import Finished

    buckets = np.array([bucket_by_id(tconst) for tconst in rated.inputs.movies["tconst"]], dtype=np.int64)
    present = [bucket for bucket in range(BUCKETS) if (buckets == bucket).any()]
    if len(present) < 2:
        raise ValueError(f"{len(rated)} movies, all in one of {BUCKETS} buckets: nothing to rotate")
    done = Finished(None, "") if finished is None else finished
    predictions = np.empty(len(rated))
    pace = Pace(f"rotation of {name}", "folds", len(present), every=0)
    for bucket in present:
        held, kept = np.flatnonzero(buckets == bucket), np.flatnonzero(buckets != bucket)
        without = f"without-{bucket}"

        def predict(held: np.ndarray = held, kept: np.ndarray = kept, without: str = without) -> np.ndarray:
            options = {"seed": seed, "device": device, "checkpoints": done.checkpoints(without)}
            return refit_predictor(name, model, rated.take(kept), **options).predict(rated.take(held).inputs)

        predictions[held] = done.predictions(without, predict)
        pace.part_done()
    return summarise(rated, predictions, seed=seed)


def summarise(rated: Examples, predictions: np.ndarray, *, seed: int) -> Rotation:
    """Judge predictions, shape (n,), each by a model that was fitted on the movies of the other buckets."""
    import numpy as np
    import polars as pl

    movies = rated.inputs.movies["tconst"]
    buckets = np.array([bucket_by_id(tconst) for tconst in movies], dtype=np.int64)
    means = np.empty(len(rated))
    folds = []
    for bucket in np.unique(buckets).tolist():
        held = buckets == bucket
        means[held] = rated.ratings[~held].mean(dtype=np.float64)
        errors, of_mean = (float(((column - rated.ratings)[held] ** 2).mean()) for column in (predictions, means))
        folds.append(
            {
                "bucket": bucket,
                "n": int(held.sum()),
                "mse": errors,
                "r2": 1 - errors / of_mean if of_mean > 0 else None,
                "chosen_with": bucket == VALIDATION_BUCKET,
            }
        )
    summary: dict[str, Any] = {"n": len(rated)}
    for figure in ("r2", "mse"):
        values = [fold[figure] for fold in folds if fold[figure] is not None]
        summary[f"{figure}_mean"] = float(np.mean(values)) if values else None
        summary[f"{figure}_deviation"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    summary |= {"all": evaluate(predictions, rated.ratings, means, seed=seed), "folds": folds}
    frame = pl.DataFrame(
        {"tconst": movies, "bucket": buckets, "rating": rated.ratings.astype(np.float64), "prediction": predictions}
    )
    return Rotation(summary, frame)


def rotate_all(
    fitted: Mapping[str, Path],
    blend: Mapping[str, Any],
    rated: Examples,
    *,
    seed: int,
    device: str,
    finished: Finished | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the summaries of ``rotate`` by predictor, and that of their blend under the name ``blend``.

    Parameters
    ----------
    fitted
        The folders of the saved members of the blend and of other predictors, by name.
    blend
        The blend's settings: its weights stay as they are.
    """
    from imdb_pipeline.models.blend import Weights
    from imdb_pipeline.models.fitting import load_predictor

    rotations = {}
    for name, folder in fitted.items():
        own = None if finished is None else finished.of(name)
        model = load_predictor(name, folder, device=device)
        rotations[name] = rotate(name, model, rated, seed=seed, device=device, finished=own)
    weights = Weights(dict(blend["weights"]), blend["offset"])
    blended = weights.blend(
        {name: each.predictions["prediction"].to_numpy() for name, each in rotations.items()}, len(rated)
    )
    return {
        **{name: each.summary for name, each in rotations.items()},
        "blend": summarise(rated, blended, seed=seed).summary,
    }
