"""Where a predictor errs: error and bias by votes, release year, genre, and whether its people were seen in training.

Votes only sort the movies here; no predictor reads them. Everything is of movies that the model had not seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.resampling import interval, resampled_means

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

VOTE_BUCKETS = (("30-99", 99), ("100-999", 999), ("1,000-9,999", 9_999), ("10,000 or more", None))
"""Their names and the most votes in each; movies with fewer than ``FEWEST_VOTES`` are not judged."""

FEWEST_VOTES = 30

MOST_YEARS = 25
"""Release years that are shown one by one; more of them are shown by decade."""

FEWEST_FOR_INTERVAL = 10
"""Movies of a group from which resampling says anything; a smaller one has no intervals."""

CAST_AND_DIRECTION = ("director", "actor", "actress")
UNKNOWN = "unknown"


def people_seen(movies: pl.DataFrame, training: pl.DataFrame) -> pl.Series:
    """Say of each movie whether a director or anyone of its cast was in a training movie, in any part.

    Parameters
    ----------
    movies, training
        The movies that are judged, and those that were learned from: ``credits`` as in ``INPUT_COLUMNS``.

    Returns
    -------
    polars.Series
        ``people_seen``, Boolean, in the order of ``movies``; null where a movie names neither director nor cast.
    """
    import polars as pl

    known = _people(training).select("nconst").unique()
    seen = (
        _people(movies)
        .filter(pl.col("category").is_in(CAST_AND_DIRECTION))
        .join(known.with_columns(seen=pl.lit(True)), on="nconst", how="left")
        .group_by("row")
        .agg(people_seen=pl.col("seen").fill_null(False).any())
    )
    rows = movies.select("credits").with_row_index("row").select("row")
    return rows.join(seen, on="row", how="left", maintain_order="left")["people_seen"]


def by_group(judged: pl.DataFrame, *, seed: int) -> list[dict[str, Any]]:
    """Return error and bias for each group of movies.

    Parameters
    ----------
    judged
        A row for each movie that was held out: ``rating``, ``prediction`` (Float64), ``num_votes``, ``release_year``
        (integers, the year may be null), ``genres`` (List(String), may be null), ``people_seen`` (Boolean, may be
        null).
    seed
        Of the resampling.

    Returns
    -------
    list of dict
        ``grouping`` (``votes``, ``year``, ``genre``, ``people``), ``group``, ``n``; ``mse``, ``mae`` and ``bias``, the
        mean of prediction less rating, each with its 95 % interval as ``mse_low`` and ``mse_high``, which is None for
        fewer than ten movies; ``r2_within``, which is 1 - MSE / variance of the group's own ratings: against the
        group's own mean, which no predictor is told, so it may well be below 0; None where all ratings are equal.
        A movie stands in each of its genres.
    """
    import polars as pl

    frame = judged.select(
        "rating", "prediction", "genres", votes=_votes(), year=_years(judged["release_year"]), people=_seen()
    )
    rows = []
    for grouping in ("votes", "year", "people"):
        rows += _of_grouping(frame, grouping, seed)
    genres = frame.with_columns(genre=pl.col("genres").list.unique()).explode("genre")
    by_genre = _of_grouping(genres.with_columns(pl.col("genre").fill_null(UNKNOWN)), "genre", seed)
    return rows + sorted(by_genre, key=lambda row: -row["n"])


def _of_grouping(frame: pl.DataFrame, grouping: str, seed: int) -> list[dict[str, Any]]:
    """Return the rows of one grouping, sorted by the group's name, vote buckets by their order."""
    order = {name: place for place, (name, _) in enumerate(VOTE_BUCKETS)}
    groups = {str(key[0]): group for key, group in frame.group_by(grouping)}
    return [
        {
            "grouping": grouping,
            "group": name,
            **_errors(group["prediction"].to_numpy(), group["rating"].to_numpy(), seed),
        }
        for name, group in sorted(groups.items(), key=lambda item: (order.get(item[0], 0), item[0]))
    ]


def _errors(predictions: np.ndarray, ratings: np.ndarray, seed: int) -> dict[str, Any]:
    """Return what ``by_group`` says of a group."""
    import numpy as np

    errors = predictions - ratings
    columns = {"mse": errors**2, "mae": np.abs(errors), "bias": errors}
    figures: dict[str, Any] = {"n": len(errors)}
    for (name, column), resampled in zip(
        columns.items(), resampled_means(np.stack([*columns.values()]), seed=seed), strict=True
    ):
        low, high = interval(resampled) if len(errors) >= FEWEST_FOR_INTERVAL else (None, None)
        figures |= {name: float(column.mean()), f"{name}_low": low, f"{name}_high": high}
    variance = float(ratings.var())
    figures["r2_within"] = 1 - figures["mse"] / variance if variance > 0 else None
    return figures


def _votes() -> pl.Expr:
    import polars as pl

    bucket = pl.lit(VOTE_BUCKETS[-1][0])
    for name, most in reversed(VOTE_BUCKETS[:-1]):
        bucket = pl.when(pl.col("num_votes") <= most).then(pl.lit(name)).otherwise(bucket)
    return bucket


def _years(years: pl.Series) -> pl.Expr:
    """Return the release year as text, or its decade where there are many."""
    import polars as pl

    year = pl.col("release_year")
    if years.n_unique() > MOST_YEARS:
        return (year // 10 * 10).cast(pl.String).add("s").fill_null(UNKNOWN)
    return year.cast(pl.String).fill_null(UNKNOWN)


def _seen() -> pl.Expr:
    import polars as pl

    seen = pl.when(pl.col("people_seen")).then(pl.lit("seen in training")).otherwise(pl.lit("not seen in training"))
    return pl.when(pl.col("people_seen").is_null()).then(pl.lit("nobody named")).otherwise(seen)


def _people(movies: pl.DataFrame) -> pl.DataFrame:
    """Return one row a credit: ``row`` of the movie, ``nconst``, ``category``."""
    import polars as pl

    credit = pl.col("credits").struct
    return (
        movies.select("credits")
        .with_row_index("row")
        .explode("credits")
        .drop_nulls()
        .select("row", nconst=credit.field("nconst"), category=credit.field("category"))
    )
