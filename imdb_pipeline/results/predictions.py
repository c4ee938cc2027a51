"""``rating_predictions``: the champion's predictions with intervals, beside what is known of each movie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imdb_pipeline.errors import PipelineError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from imdb_pipeline.models.conformal import Intervals

BASES = {"train": "out_of_fold", "validation": "held_out", "test": "held_out"}
"""What a prediction rests on, by the part of the split that the movie is in; ``future`` where it is in none."""


def empty_predictions() -> pl.DataFrame:
    """Return the predictions table with no row: where there is no champion."""
    import polars as pl

    numbers = dict.fromkeys(("prediction", "low", "high"), pl.Float64)
    known = {"basis": pl.String, "split": pl.String, "average_rating": pl.Float64, "num_votes": pl.Int64}
    return pl.DataFrame(schema={"tconst": pl.String, **numbers, **known})


def predictions_table(
    serving: np.ndarray,
    movies: pl.DataFrame,
    *,
    split: pl.DataFrame,
    unseen: pl.DataFrame,
    few_votes: pl.DataFrame,
    intervals: Intervals,
) -> pl.DataFrame:
    """Return the predictions table: every movie by a model that did not have its rating to learn from.

    Parameters
    ----------
    serving
        Shape (n,): the serving model's predictions of ``movies``. It was fitted on all of ``split``, so they count
        only where a movie is not in there.
    movies
        n rows, each movie once: the columns ``INPUT_COLUMNS``, average_rating, num_votes.
    split
        tconst, split of all movies that the champion was trained, chosen and judged with.
    unseen
        tconst, prediction, low, high, basis of at least those of them that are among ``movies``: of training movies by
        models fitted without the movie's fold (``out_of_fold``), of validation and test by the model of the split
        (``held_out``).
    few_votes
        tconst of the movies that the champion learnt a little from while they had few votes.
    intervals
        What ``conformal.fit_intervals`` returned for the champion: of the movies that are not in ``split``.

    Returns
    -------
    polars.DataFrame
        In the order of ``movies``: tconst, prediction, low, high (Float64, 1 to 10), basis (out_of_fold, held_out, or
        future: by the serving model, which never saw the movie; few_votes: by the serving model, which knew its rating
        of few votes), split (train, validation, test, or null),
        average_rating, num_votes (today's).

    Raises
    ------
    PipelineError
        A movie of the split has no prediction of a model that did not see it, or one on another basis.
    ValueError
        The rows do not fit together, or a prediction is not a number.
    """
    import numpy as np
    import polars as pl

    from imdb_pipeline.models.examples import INPUT_COLUMNS

    if len(serving) != len(movies):
        raise ValueError(f"{len(serving)} predictions of {len(movies)} movies")
    for name, frame in (("movies", movies), ("split", split), ("unseen", unseen)):
        if not frame["tconst"].is_unique().all():
            raise ValueError(f"{name}: a movie stands there more than once")
    held = ["tconst", "prediction", "low", "high", "basis"]
    if not set(held) <= set(unseen.columns):
        raise PipelineError("the champion was made by another version of the code; train it again")
    frame = (
        movies.select("tconst", "average_rating", "num_votes")
        .with_columns(serving=pl.Series(serving, dtype=pl.Float64))
        .join(split.select("tconst", "split"), on="tconst", how="left", maintain_order="left")
        .join(
            unseen.select("tconst", "prediction", "low", "high", "basis"),
            on="tconst",
            how="left",
            maintain_order="left",
        )
    )
    wanted = pl.col("split").replace_strict(BASES, default=None, return_dtype=pl.String)
    wrong = frame.filter(pl.col("split").is_not_null(), ~pl.col("basis").eq_missing(wanted))
    if len(wrong):
        raise PipelineError(
            f"{len(wrong):,} movies that the champion learnt from or was judged on have no prediction of a model that "
            f"did not see them, {wrong['tconst'][0]} first; train the champion again"
        )
    future = pl.col("split").is_null()
    frame = frame.with_columns(
        prediction=pl.when(future).then("serving").otherwise("prediction"),
        basis=pl.when(~future)
        .then("basis")
        .when(pl.col("tconst").is_in(few_votes["tconst"].implode()))
        .then(pl.lit("few_votes"))
        .otherwise(pl.lit("future")),
    )
    predictions = frame["prediction"].to_numpy().astype(np.float64)
    if not np.isfinite(predictions).all():
        raise ValueError("a prediction is not a number")
    low, high = intervals.bounds(movies.select(INPUT_COLUMNS), predictions)
    ends = {"low": pl.Series(low), "high": pl.Series(high)}
    return frame.with_columns(
        pl.when(future).then(end).otherwise(name).alias(name) for name, end in ends.items()
    ).select(empty_predictions().columns)
