"""``movies``: one row per movie out of the four dumps, with typed columns and its credits in billing order.

Which movies are worth a document is decided in ``documents``; here stands every movie and tvMovie.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imdb_pipeline.dumps.tables import BASICS, NAMES, PRINCIPALS, cast, collect, read_ratings, scan_dump
from imdb_pipeline.gates import Outcome, check_table

if TYPE_CHECKING:
    from pathlib import Path

    import pandera.polars as pa
    import polars as pl

TITLE_TYPES = ("movie", "tvMovie")


@dataclass(frozen=True)
class DumpPaths:
    """Where the four dumps of a day are."""

    basics: Path
    ratings: Path
    principals: Path
    names: Path


def build_movies(dumps: DumpPaths) -> tuple[pl.DataFrame, list[Outcome]]:
    """Denormalise the four dumps.

    Returns
    -------
    movies
        One row per movie, sorted by ``tconst``: tconst, title, original_title, title_type (String), is_adult (Boolean),
        release_year, runtime_minutes (Int32, may be null), genres (List(String), may be null), credits
        (List(Struct{nconst, category, name})) in billing order, average_rating (Float64, 1 to 10) and num_votes
        (Int64), null where there is no rating. The name of a person who is not in name.basics is null.
    outcomes
        Of its schema.

    Raises
    ------
    InputError
        A file is damaged or not in IMDb's form.
    """
    import polars as pl

    titles = _titles(dumps.basics)
    ratings = read_ratings(dumps.ratings).rename({"averageRating": "average_rating", "numVotes": "num_votes"})
    credits = _credits(dumps.principals, dumps.names, titles.select("tconst"))
    movies = (
        titles.join(ratings, on="tconst", how="left")
        .join(credits, on="tconst", how="left")
        .with_columns(pl.col("credits").fill_null([]))
        .sort("tconst")
    )
    return movies, [check_table("movies_table", movies, movies_schema(), subject=str(dumps.basics), key="tconst")]


def movies_schema() -> pa.DataFrameSchema:
    """Return what ``movies`` may hold."""
    import pandera.polars as pa
    import polars as pl

    credit = pl.Struct({"nconst": pl.String, "category": pl.String, "name": pl.String})
    return pa.DataFrameSchema(
        {
            "tconst": pa.Column(pl.String, pa.Check.str_matches(r"^tt\d+$"), unique=True),
            "title": pa.Column(pl.String),
            "original_title": pa.Column(pl.String, nullable=True),
            "title_type": pa.Column(pl.String, pa.Check.isin(TITLE_TYPES)),
            "is_adult": pa.Column(pl.Boolean),
            "release_year": pa.Column(pl.Int32, pa.Check.in_range(1870, 2200), nullable=True),
            "runtime_minutes": pa.Column(pl.Int32, pa.Check.ge(0), nullable=True),
            "genres": pa.Column(pl.List(pl.String), nullable=True),
            "average_rating": pa.Column(pl.Float64, pa.Check.in_range(1, 10), nullable=True),
            "num_votes": pa.Column(pl.Int64, pa.Check.ge(0), nullable=True),
            "credits": pa.Column(pl.List(credit)),
        },
        strict=True,
    )


def _titles(path: Path) -> pl.DataFrame:
    import polars as pl

    raw = collect(scan_dump(path, BASICS).filter(pl.col("titleType").is_in(TITLE_TYPES)), path)
    types = {"isAdult": pl.Int32, "startYear": pl.Int32, "runtimeMinutes": pl.Int32}
    typed = cast(raw, path, types, key="tconst", required=("tconst", "primaryTitle", "genres"))
    return typed.select(
        "tconst",
        title="primaryTitle",
        original_title="originalTitle",
        title_type="titleType",
        is_adult=(pl.col("isAdult") == 1).fill_null(False),
        release_year="startYear",
        runtime_minutes="runtimeMinutes",
        genres=pl.col("genres").str.split(","),
    )


def _credits(principals: Path, names: Path, movie_ids: pl.DataFrame) -> pl.DataFrame:
    """Return tconst and credits. Only the few per cent of both files that concern movies are ever held."""
    import polars as pl

    lines = collect(scan_dump(principals, PRINCIPALS).join(movie_ids.lazy(), on="tconst", how="semi"), principals)
    lines = cast(
        lines.drop("job"),
        principals,
        {"ordering": pl.Int32},
        key="tconst",
        required=("tconst", "ordering", "nconst", "category", "characters"),
    ).drop("characters")
    people = lines.select("nconst").unique()
    known = collect(
        scan_dump(names, NAMES)
        .select("nconst", "primaryName", "knownForTitles")
        .join(people.lazy(), on="nconst", how="semi"),
        names,
    )
    known = cast(known, names, {}, key="nconst", required=("nconst", "knownForTitles"))
    known = (
        known.select("nconst", name="primaryName")
        .sort("nconst", "name")
        .unique("nconst", keep="first", maintain_order=True)
    )
    return (
        lines.join(known, on="nconst", how="left")
        .sort("tconst", "ordering", "category", "nconst")
        .group_by("tconst", maintain_order=True)
        .agg(credits=pl.struct("nconst", "category", "name"))
    )
