"""``movies``: one row per movie out of the four dumps, with typed columns and its credits in billing order.

Which movies are worth a document is decided in ``documents``; here stands every movie and tvMovie.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imdb_pipeline.dumps.rows import Rejected, read_batches
from imdb_pipeline.dumps.tables import BASICS, DUMPS, NAMES, PRINCIPALS, RATINGS, Dump, read_ratings
from imdb_pipeline.gates import SAMPLE_ROWS, Outcome, check_table

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pandera.polars as pa
    import polars as pl

TITLE_TYPES = ("movie", "tvMovie")
_TITLES_AT_ONCE = 50_000
_TITLE_COLUMNS = (
    *("tconst", "titleType", "primaryTitle", "originalTitle"),
    *("isAdult", "startYear", "runtimeMinutes", "genres"),
)


@dataclass(frozen=True)
class DumpPaths:
    """Where the four dumps of a day are."""

    basics: Path
    ratings: Path
    principals: Path
    names: Path


@dataclass(frozen=True)
class Catalogue:
    """What the four dumps of a day say of movies, and what was found on the way.

    Attributes
    ----------
    movies
        One row per movie, sorted by ``tconst``: tconst, title, original_title, title_type (String), is_adult (Boolean),
        release_year, runtime_minutes (Int32, may be null), genres (List(String), may be null), credits
        (List(Struct{nconst, category, name})) in billing order, average_rating (Float64) and num_votes (Int64), null
        where there is no rating. The name of a person who is not in name.basics is null. An id that stands twice in a
        file makes two rows.
    rejected
        The first rows that cannot be read, by the rule of ``dumps.rows``: file, line (Int64; the header is line 1),
        reason, text.
    rejected_counts
        How many there are, by file, for all four.
    title_types
        title_type, titles (UInt32): of all titles, not movies alone.
    categories
        category, credits (UInt32): of the credits of movies.
    unknown_people
        tconst, nconst, category: the credits of movies whose person is not in name.basics.
    duplicates
        file, key, rows (UInt32): keys of movies, their credits and their people, and of ratings, that stand more than
        once. The key of a credit is its title and its ordering.
    orphan_ratings
        How many ratings belong to no title.
    orphan_ratings_sample
        The first of them: tconst, averageRating, numVotes.
    """

    movies: pl.DataFrame
    rejected: pl.DataFrame
    rejected_counts: dict[str, int]
    title_types: pl.DataFrame
    categories: pl.DataFrame
    unknown_people: pl.DataFrame
    duplicates: pl.DataFrame
    orphan_ratings: int
    orphan_ratings_sample: pl.DataFrame


def build_movies(dumps: DumpPaths) -> Catalogue:
    """Denormalise the four dumps.

    Only the few per cent of them that concern movies are ever held. Nothing is judged here, only counted and located.

    Raises
    ------
    InputError
        A file is not whole, or its columns are not the dump's.
    """
    import polars as pl

    rejected = Rejected(dict.fromkeys([dump.file for dump in DUMPS], 0))
    ratings = read_ratings(dumps.ratings, rejected)
    titles, title_types, orphans = _titles(dumps.basics, ratings, rejected)
    titles = titles.with_columns(movie=pl.col("tconst").rle_id())
    ids = titles["tconst"].unique(maintain_order=True)
    credits, repeated_credits = _credits(dumps.principals, ids, rejected)
    person, nconst = _numbered(credits["nconst"])
    credits = credits.drop("nconst").with_columns(person=person)
    people = _people(dumps.names, nconst, rejected)
    duplicates = [
        _repeated(BASICS, titles, "tconst"),
        _repeated(RATINGS, ratings, "tconst"),
        _repeated(PRINCIPALS, repeated_credits, "tconst", "ordering"),
        _repeated(NAMES, people, "nconst"),
    ]
    known = people.sort("nconst", "name").unique("nconst", keep="first", maintain_order=True)
    people = nconst.to_frame().join(known.with_columns(known=True), on="nconst", how="left", maintain_order="left")
    unknown = credits.filter(people["known"].is_null().gather(credits["person"]))
    rated = titles.join(ratings, on="tconst", how="left", maintain_order="left")
    rated = rated.rename({"averageRating": "average_rating", "numVotes": "num_votes"})
    return Catalogue(
        movies=_with_credits(rated, credits, people),
        rejected=rejected.frame(),
        rejected_counts=rejected.counts,
        title_types=title_types,
        categories=_by_size(credits["category"].value_counts(name="credits").cast({"category": pl.String})),
        unknown_people=unknown.select(
            tconst=ids.gather(unknown["movie"]),
            nconst=nconst.gather(unknown["person"]),
            category=pl.col("category").cast(pl.String),
        ),
        duplicates=pl.concat(duplicates),
        orphan_ratings=len(orphans),
        orphan_ratings_sample=orphans.head(SAMPLE_ROWS),
    )


def check_movies(movies: pl.DataFrame, *, shown: str) -> Outcome:
    """Check ``movies`` against its schema; messages call its source ``shown``."""
    return check_table("movies_table", movies, movies_schema(), subject=shown, key="tconst")


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


def _titles(path: Path, ratings: pl.DataFrame, rejected: Rejected) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return the movies by their ids, how many titles of each type there are, and the ratings of no title."""
    import numpy as np
    import polars as pl

    rated = ratings["tconst"].unique().sort()
    orphan = np.ones(len(rated), dtype=bool)
    types, movies = [], []
    chosen = pl.col("titleType").is_in(TITLE_TYPES) | pl.any_horizontal(pl.all().is_null())
    for batch in read_batches(path, BASICS, rejected):
        titles = batch.peek("tconst", "titleType")
        types.append(titles.drop_nulls()["titleType"].value_counts(name="titles"))
        near = _span(rated, titles["tconst"])
        orphan[near] &= ~rated[near].is_in(titles["tconst"].implode()).to_numpy()
        movies.append(batch.rows(*_TITLE_COLUMNS, where=titles.select(chosen.fill_null(False)).to_series()))
    counts = pl.concat(types).group_by(title_type="titleType").agg(pl.col("titles").sum())
    frame = pl.concat(movies).select(
        "tconst",
        title="primaryTitle",
        original_title="originalTitle",
        title_type="titleType",
        is_adult=pl.col("isAdult").fill_null(False),
        release_year="startYear",
        runtime_minutes="runtimeMinutes",
        genres=pl.col("genres").str.split(","),
    )
    orphans = ratings.join(pl.DataFrame({"tconst": rated.filter(pl.Series(orphan))}), on="tconst", how="semi")
    return frame.sort("tconst"), _by_size(counts), orphans.sort("tconst")


def _credits(path: Path, movie_ids: pl.Series, rejected: Rejected) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the credits of movies in billing order, and tconst with ordering of those that share them with another.

    The credits: movie (UInt32, the place of its id in ``movie_ids``, which are in order), nconst (String), category
    (Categorical).
    """
    import numpy as np
    import polars as pl

    categories = pl.Categorical(pl.Categories.random())
    frames = []
    for batch in read_batches(path, PRINCIPALS, rejected, ids=movie_ids):
        rows = batch.rows("tconst", "ordering", "nconst", "category").cast({"category": categories})
        near = _span(movie_ids, rows["tconst"])
        places = pl.DataFrame({"tconst": movie_ids[near]}).with_row_index("movie", offset=near.start)
        frames.append(rows.join(places, on="tconst", how="left", maintain_order="left").drop("tconst"))
    credits = pl.concat(frames)
    # One number to sort by is much faster than four columns. They decide only among credits that share it.
    key = (credits["movie"].to_numpy().astype(np.int64) << 32) + credits["ordering"].to_numpy()
    order = np.argsort(key, kind="stable")
    same = np.diff(key[order]) == 0
    credits = credits[order]
    repeated = credits.filter(np.append(same, False) | np.append(False, same))
    if len(repeated):
        credits = credits.sort("movie", "ordering", pl.col("category").cast(pl.String), "nconst")
    repeated = repeated.select(tconst=movie_ids.gather(repeated["movie"]), ordering="ordering")
    return credits.drop("ordering"), repeated


def _numbered(ids: pl.Series) -> tuple[np.ndarray, pl.Series]:
    """Return for each id its place among the different ones (int64), and those, in order."""
    import numpy as np
    import polars as pl

    if (ids.str.starts_with("nm") & ids.str.len_bytes().is_between(9, 10)).all():
        # All that differs fits in one number of the same order: seven digits and a tab, or eight digits.
        keys = (ids + "\t").cast(pl.Binary).bin.slice(2, 8).bin.reinterpret(dtype=pl.UInt64, endianness="big")
    else:
        keys = ids.rank("dense")
    order = np.argsort(keys.to_numpy())
    ordered = keys.to_numpy()[order]
    first = np.append(True, ordered[1:] != ordered[:-1])[: len(ids)]
    places = np.empty(len(ids), dtype=np.int64)
    places[order] = np.cumsum(first) - 1
    return places, ids.gather(order[first])


def _people(path: Path, ids: pl.Series, rejected: Rejected) -> pl.DataFrame:
    """Return nconst, name (may be null) of those people."""
    import polars as pl

    batches = read_batches(path, NAMES, rejected, ids=ids)
    return pl.concat([batch.rows("nconst", "primaryName") for batch in batches]).rename({"primaryName": "name"})


def _with_credits(titles: pl.DataFrame, credits: pl.DataFrame, people: pl.DataFrame) -> pl.DataFrame:
    """Return titles with their credits in place of the number ``movie``; some at a time, because lists are copied."""
    import polars as pl

    credit = pl.Struct({"nconst": pl.String, "category": pl.String, "name": pl.String})
    parts = [titles.clear().drop("movie").with_columns(credits=pl.Series([], dtype=pl.List(credit)))]
    for rows in titles.iter_slices(_TITLES_AT_ONCE):
        first, last = (
            credits["movie"].search_sorted(rows["movie"][0]),
            credits["movie"].search_sorted(rows["movie"][-1], "right"),
        )
        some = credits[first:last]
        listed = (
            some.select(
                pl.col("movie").set_sorted(),  # so that a group is a slice
                nconst=people["nconst"].gather(some["person"]),
                category=pl.col("category").cast(pl.String),
                name=people["name"].gather(some["person"]),
            )
            .group_by("movie", maintain_order=True)
            .agg(credits=pl.struct("nconst", "category", "name"))
        )
        rows = rows.join(listed, on="movie", how="left", maintain_order="left").drop("movie")
        parts.append(rows.with_columns(pl.col("credits").fill_null([])))
    return pl.concat(parts)


def _by_size(counts: pl.DataFrame) -> pl.DataFrame:
    """Return a table of names and counts, the largest first."""
    name, count = counts.columns
    return counts.sort(count, name, descending=[True, False])


def _span(ids: pl.Series, some: pl.Series) -> slice:
    """Return where in ``ids``, which are in order, ``some`` can be: in few places, if these come in order too."""
    import polars as pl

    ends = pl.Series([some.min(), some.max()], dtype=pl.String)
    return slice(ids.search_sorted(ends, "left")[0], ids.search_sorted(ends, "right")[1])


def _repeated(dump: Dump, frame: pl.DataFrame, *key: str) -> pl.DataFrame:
    """Return file, key, rows of the keys that stand more than once."""
    import polars as pl

    rows = frame.group_by(key).agg(rows=pl.len()).filter(pl.col("rows") > 1)
    return rows.select(pl.lit(dump.file).alias("file"), pl.concat_str(key, separator=" ").alias("key"), "rows").sort(
        "key"
    )
