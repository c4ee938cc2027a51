"""Which rated movies a predictor learns from, chooses with and is judged on: by id and by time.

Nothing here looks at a rating, and a movie never changes side because others come or go.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

MIN_MOVIES = 300
"""Rated movies needed to learn at all.

A tenth of them are validation and a tenth test: about 30 each (16 to 44 in 99 of 100 catalogues). With fewer, the
standard error of a mean squared error is above a quarter of it, and no comparison of predictors says anything.
"""


BUCKETS = 10
TEST_BUCKET, VALIDATION_BUCKET = 0, 1


def bucket_by_id(tconst: str) -> int:
    """Return which tenth of all movies this one is in, 0 to 9: ``int(sha256(tconst).hexdigest()[:8], 16) % 10``."""
    return int(hashlib.sha256(tconst.encode()).hexdigest()[:8], 16) % BUCKETS


def part_by_id(tconst: str) -> str:
    """Return ``train``, ``validation`` or ``test``, by the movie's bucket: the first is test, the second validation."""
    return {TEST_BUCKET: "test", VALIDATION_BUCKET: "validation"}.get(bucket_by_id(tconst), "train")


def build_split(movies: pl.DataFrame, *, day_year: int, min_votes: int = 30) -> pl.DataFrame:
    """Assign every rated movie to train, validation or test, once by its id and once by its release year.

    By time, the last two complete years are test, the year before is validation and earlier ones are train. A year is
    complete once the day's own year is a later one; the last one is never later than the latest movie rated.

    Parameters
    ----------
    movies
        The ``movies`` table: at least ``tconst``, ``release_year``, ``average_rating``, ``num_votes``.
    day_year
        The year of the partition's day.
    min_votes
        Movies with fewer votes, or none, are left out.

    Returns
    -------
    polars.DataFrame
        Sorted by ``tconst``: ``tconst`` String, ``average_rating`` Float64, ``split`` String, ``split_by_time`` String,
        which is null without a release year or in a year that is not complete.
    """
    import polars as pl

    rated = movies.filter(pl.col("num_votes") >= min_votes, pl.col("average_rating").is_not_null()).sort("tconst")
    year = pl.col("release_year")
    # min_horizontal skips nulls: with no release year at all the last year is irrelevant, every row stays null.
    last = pl.min_horizontal(year.max(), pl.lit(day_year - 1))
    by_time = (
        pl.when(year > last)
        .then(None)
        .when(year >= last - 1)
        .then(pl.lit("test"))
        .when(year == last - 2)
        .then(pl.lit("validation"))
        .when(year.is_not_null())
        .then(pl.lit("train"))
    )
    return rated.select(
        "tconst",
        pl.col("average_rating").cast(pl.Float64),
        pl.Series("split", [part_by_id(tconst) for tconst in rated["tconst"]], dtype=pl.String),
        by_time.alias("split_by_time"),
    )


def too_few(split: pl.DataFrame, *, min_votes: int = 30) -> str | None:
    """Return why nothing can be learned from ``split``, in one line, or None where there are ``MIN_MOVIES`` or more."""
    if len(split) >= MIN_MOVIES:
        return None
    return (
        f"{len(split)} movies with {min_votes} votes or more: too few to learn from, at least {MIN_MOVIES} are needed"
    )
