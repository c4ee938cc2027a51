"""The report's section on what the catalogue holds: counts, ratings, release years, genres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imdb_pipeline.results.charts import histogram

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from imdb_pipeline.store import Revision

_FEWEST = 20
"""Rated movies from which a genre has a mean."""


def catalogue_section(movies: pl.DataFrame, revisions: Mapping[str, Revision], *, min_votes: int) -> dict[str, Any]:
    """Return what the section shows.

    Parameters
    ----------
    movies
        As ``build_movies`` gives them.
    revisions
        ``movie_map``, ``rating_split``.
    min_votes
        Votes that are enough to learn from.

    Returns
    -------
    dict
        ``counts``; ``ratings``: n, mean, median, variance and ``chart`` of those with votes enough, or None; ``years``:
        first, last, most (a year), and ``chart``, or None; ``genres``: a row each, most movies first.
    """
    import polars as pl

    enough = movies.filter(pl.col("num_votes") >= min_votes, pl.col("average_rating").is_not_null())
    return {
        "counts": {
            "movies": len(movies),
            "of them rated": movies["average_rating"].count(),
            "with votes enough to learn from": revisions["rating_split"].manifest["rows"],
            "credits": int(movies["credits"].list.len().sum()),
            "documents embedded": revisions["movie_map"].manifest["rows"],
        },
        "ratings": ratings(enough["average_rating"]),
        "years": years(movies["release_year"]),
        "genres": genres(movies, enough),
    }


def ratings(given: pl.Series) -> dict[str, Any] | None:
    """Return how average ratings are spread, with a histogram of a bar a tenth; None where there are none."""
    if not len(given):
        return None
    import polars as pl

    tenths = dict((given * 10).round().cast(pl.Int64).value_counts().iter_rows())
    bars = [((tenth - 0.5) / 10, (tenth + 0.5) / 10, tenths.get(tenth, 0)) for tenth in range(10, 101)]
    return {
        "n": len(given),
        "mean": given.mean(),
        "median": given.median(),
        "variance": given.var(ddof=0),
        "chart": histogram(bars, "average rating", "movies", "Histogram of average ratings"),
    }


def years(released: pl.Series) -> dict[str, Any] | None:
    """Return how the movies are spread over release years; None where no year is known."""
    known = released.drop_nulls()
    if not len(known):
        return None
    counts = dict(known.value_counts().iter_rows())
    first, last = min(counts), max(counts)
    bars = [(year - 0.5, year + 0.5, counts.get(year, 0)) for year in range(first, last + 1)]
    return {
        "first": first,
        "last": last,
        "most": max(counts, key=lambda year: (counts[year], year)),
        "unknown": released.null_count(),
        "chart": histogram(bars, "release year", "movies", "Movies by release year"),
    }


def genres(movies: pl.DataFrame, enough: pl.DataFrame) -> list[dict[str, Any]]:
    """Return a row a genre: ``genre``, ``movies``, ``rated`` (votes enough), their ``mean``, ``deviation``."""
    import polars as pl

    if "genres" not in movies.columns:
        return []

    def each(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select("genres", "average_rating").explode("genres").drop_nulls("genres")

    rating = pl.col("average_rating")
    judged = each(enough).group_by("genres").agg(rated=pl.len(), mean=rating.mean(), deviation=rating.std())
    held = each(movies).group_by("genres").agg(movies=pl.len())
    rows = held.join(judged, on="genres", how="left").sort("movies", "genres", descending=[True, False])
    return [
        {
            "genre": row["genres"],
            "movies": row["movies"],
            "rated": row["rated"] or 0,
            **{name: row[name] if (row["rated"] or 0) >= _FEWEST else None for name in ("mean", "deviation")},
        }
        for row in rows.iter_rows(named=True)
    ]
