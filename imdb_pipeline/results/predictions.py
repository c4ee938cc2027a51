"""``rating_predictions``: the champion's predictions with intervals, beside what is known of each movie."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

LEVEL = 0.9


def empty_predictions() -> pl.DataFrame:
    """Return the predictions table with no row: where there is no champion."""
    import polars as pl

    numbers = dict.fromkeys(("prediction", "low", "high"), pl.Float64)
    known = {"split": pl.String, "average_rating": pl.Float64, "num_votes": pl.Int64}
    return pl.DataFrame(schema={"tconst": pl.String, **numbers, **known})


def predict_movies(
    predictions: np.ndarray, movies: pl.DataFrame, *, split: pl.DataFrame, held_out: pl.DataFrame
) -> pl.DataFrame:
    """Return the predictions table.

    Parameters
    ----------
    predictions
        One per row of ``movies``.
    split
        tconst, split of the movies that the champion was trained and judged with.
    held_out
        Its predictions on validation and test (tconst, split, rating, prediction): the absolute errors on validation
        set the width of the intervals (split conformal prediction, Lei et al. 2018, doi:10.1080/01621459.2017.1307116).

    Returns
    -------
    polars.DataFrame
        tconst, prediction, low, high (1 to 10), split (train, validation, test, or null: never seen), average_rating,
        num_votes; in the order of ``movies``.
    """
    import polars as pl

    from imdb_pipeline.models.evaluate import conformal_half_width

    validation = held_out.filter(pl.col("split") == "validation")
    half = conformal_half_width((validation["rating"] - validation["prediction"]).to_numpy(), level=LEVEL)
    frame = movies.select("tconst", "average_rating", "num_votes").with_columns(prediction=pl.lit(predictions))
    frame = frame.join(split.select("tconst", "split"), on="tconst", how="left", maintain_order="left")
    return frame.with_columns(
        low=(pl.col("prediction") - half).clip(1, 10), high=(pl.col("prediction") + half).clip(1, 10)
    ).select(empty_predictions().columns)


def coverage(predictions: pl.DataFrame) -> float:
    """Return the share of test movies whose rating lies in the interval; NaN where there are none."""
    import polars as pl

    test = predictions.filter(pl.col("split") == "test")
    inside = pl.col("average_rating").is_between("low", "high").mean()
    share = test.select(inside).item()
    return float("nan") if share is None else float(share)
