"""``catalogue_changes``: what a day changed against the previous good day, in the catalogue and in its documents.

Which day is the previous one is for the caller to say, and how a document is made belongs to ``documents``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from imdb_pipeline.store import Pool

MOVERS = 50
"""How many of the largest moves of a rating are kept."""
_BATCH = 20_000
"""Pairs of documents compared at a time: about 50 MB of text."""
_FRAMES = ("changes", "crossed", "movers")
_COMPARED = ("title", "release_year", "average_rating", "num_votes")


@dataclass(frozen=True)
class Day:
    """A day's catalogue.

    Attributes
    ----------
    day
        YYYY-MM-DD.
    movies
        Columns as ``build_movies`` gives them. Given lazily, only those that are compared are read.
    movie_documents
        tconst, document_hash (String), one row per movie that has a document.
    """

    day: str
    movies: pl.DataFrame | pl.LazyFrame
    movie_documents: pl.DataFrame | pl.LazyFrame


@dataclass(frozen=True)
class Changes:
    """What changed; on the first day nothing did, and ``counts["previous_day"]`` is None.

    Attributes
    ----------
    day
        The later of the two days, YYYY-MM-DD.
    min_votes
        Votes that are enough, for ``crossed`` and ``movers``.
    changes
        One row per movie that is new in the catalogue, no longer in it, or has another document on both days, sorted by
        change, then tconst: tconst, title (String), release_year (Int32), num_votes (Int64; of the day before for one
        that is gone), change (String: added, removed, changed), fields (List(String)). ``fields`` names what differs
        between the two documents, in the document's order; null for added and removed movies, and where a text is lost.
    crossed
        Movies with enough votes on one of the days only, up before down, most votes first: tconst, title (String),
        release_year (Int32), average_rating (Float64), num_votes, num_votes_before (Int64), direction (String: up,
        down). What a movie lacks on a day is null.
    movers
        The largest moves of the average rating among movies with enough votes on both days: tconst, title (String),
        release_year (Int32), before, after, move (Float64, stars), num_votes (Int64). At most ``MOVERS`` rows, largest
        absolute move first, then most votes, then tconst.
    new_categories, gone_categories
        Credits of each category that only today, or only the day before, has.
    new_genres, gone_genres, new_title_types, gone_title_types
        Movies of each genre and title type likewise.
    counts
        previous_day (None: there was none), movies_today, movies_before, documents_today, added, removed, changed,
        ratings_changed, votes_changed (movies of both days), crossed_up, crossed_down, share_changed (``changed`` out
        of ``documents_today``).
    """

    day: str
    min_votes: int
    changes: pl.DataFrame
    crossed: pl.DataFrame
    movers: pl.DataFrame
    new_categories: dict[str, int]
    gone_categories: dict[str, int]
    new_genres: dict[str, int]
    gone_genres: dict[str, int]
    new_title_types: dict[str, int]
    gone_title_types: dict[str, int]
    counts: dict[str, Any]


def find_changes(today: Day, previous: Day | None, pool: Pool, *, min_votes: int) -> Changes:
    """Compare a day with the previous good one.

    Parameters
    ----------
    previous
        None on the first day.
    pool
        Of the documents' texts; read only for those whose hash differs.
    min_votes
        Votes that are enough to learn from a movie's rating.
    """
    import polars as pl

    # On the first day a day is compared with itself: the frames are empty and have their columns.
    before = previous or today
    movies = _both_days(before, today)
    here, was = pl.col("here").is_not_null(), pl.col("here_before").is_not_null()
    enough, was_enough = ((pl.col(votes) >= min_votes).fill_null(False) for votes in ("num_votes", "num_votes_before"))
    stayed = movies.filter(here & was)
    added, removed = movies.filter(~was), movies.filter(~here)
    changes = _changes(added, removed, stayed, _changed_documents(before, today, pool))
    crossed = (
        movies.filter(enough != was_enough)
        .select(
            "tconst",
            title=pl.coalesce("title", "title_before"),
            release_year=pl.when(here).then("release_year").otherwise("release_year_before"),
            average_rating="average_rating",
            num_votes="num_votes",
            num_votes_before="num_votes_before",
            direction=pl.when(enough).then(pl.lit("up")).otherwise(pl.lit("down")),
        )
        .sort("direction", "num_votes", "tconst", descending=[True, True, False], nulls_last=True)
    )
    categories = pl.col("credits").explode(keep_nulls=False).struct.field("category")
    genres = pl.col("genres").explode(keep_nulls=False)
    new_categories, gone_categories = _new_and_gone(before, today, categories)
    new_genres, gone_genres = _new_and_gone(before, today, genres)
    new_title_types, gone_title_types = _new_and_gone(before, today, pl.col("title_type"))
    documents = today.movie_documents.lazy().select(pl.len()).collect().item()
    by_change = dict(changes["change"].value_counts().iter_rows())
    return Changes(
        day=today.day,
        min_votes=min_votes,
        changes=changes,
        crossed=crossed,
        movers=_movers(stayed.filter(enough & was_enough)),
        new_categories=new_categories,
        gone_categories=gone_categories,
        new_genres=new_genres,
        gone_genres=gone_genres,
        new_title_types=new_title_types,
        gone_title_types=gone_title_types,
        counts={
            "previous_day": previous.day if previous else None,
            "movies_today": len(stayed) + len(added),
            "movies_before": len(stayed) + len(removed) if previous else 0,
            "documents_today": documents,
            "added": by_change.get("added", 0),
            "removed": by_change.get("removed", 0),
            "changed": by_change.get("changed", 0),
            "ratings_changed": len(stayed.filter(pl.col("average_rating").ne_missing(pl.col("average_rating_before")))),
            "votes_changed": len(stayed.filter(pl.col("num_votes").ne_missing(pl.col("num_votes_before")))),
            "crossed_up": len(crossed.filter(pl.col("direction") == "up")),
            "crossed_down": len(crossed.filter(pl.col("direction") == "down")),
            "share_changed": by_change.get("changed", 0) / documents if documents else 0.0,
        },
    )


def write_changes(folder: Path, changes: Changes) -> None:
    """Write changes.parquet, crossed.parquet, movers.parquet and summary.json."""
    values = dict(vars(changes))
    for name in _FRAMES:
        values.pop(name).write_parquet(folder / f"{name}.parquet", compression="zstd")
    (folder / "summary.json").write_text(json.dumps(values, indent=2, ensure_ascii=False), encoding="utf-8")


def read_changes(folder: Path) -> Changes:
    """Read what ``write_changes`` wrote."""
    import polars as pl

    frames = {name: pl.read_parquet(folder / f"{name}.parquet") for name in _FRAMES}
    summary = json.loads((folder / "summary.json").read_bytes())
    return Changes(**{**summary, **frames})


def _both_days(before: Day, today: Day) -> pl.DataFrame:
    """Return one row per movie of either day; what the day before had is suffixed ``_before``."""
    import polars as pl

    columns = [pl.col("tconst", *_COMPARED), pl.lit(True).alias("here")]
    return (
        today.movies.lazy()
        .select(columns)
        .join(before.movies.lazy().select(columns), on="tconst", how="full", coalesce=True, suffix="_before")
        .sort("tconst")
        .collect()
    )


def _changes(added: pl.DataFrame, removed: pl.DataFrame, stayed: pl.DataFrame, documents: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    fields = pl.List(pl.String)
    gone = removed.select("tconst", *(pl.col(f"{name}_before").alias(name) for name in _COMPARED))
    parts = {
        "added": added.with_columns(fields=pl.lit(None, dtype=fields)),
        "removed": gone.with_columns(fields=pl.lit(None, dtype=fields)),
        "changed": stayed.join(documents, on="tconst", how="inner"),
    }
    return pl.concat(
        frame.select("tconst", "title", "release_year", "num_votes", pl.lit(change).alias("change"), "fields")
        for change, frame in parts.items()
    ).sort("change", "tconst")


def _movers(movies: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return (
        movies.select(
            "tconst",
            "title",
            "release_year",
            before="average_rating_before",
            after="average_rating",
            # Ratings have one decimal; binary rounding must not order moves that are equal.
            move=(pl.col("average_rating") - pl.col("average_rating_before")).round(6),
            num_votes="num_votes",
        )
        .filter(pl.col("move") != 0)
        .sort(pl.col("move").abs(), "num_votes", "tconst", descending=[True, True, False])
        .head(MOVERS)
    )


def _changed_documents(before: Day, today: Day, pool: Pool) -> pl.DataFrame:
    """Return tconst and fields, a row per movie whose document has another hash than the day before."""
    import polars as pl

    pairs = (
        today.movie_documents.lazy()
        .join(before.movie_documents.lazy(), on="tconst", how="inner", suffix="_before")
        .filter(pl.col("document_hash") != pl.col("document_hash_before"))
        .collect()
    )
    empty = pl.Series("fields", [], dtype=pl.List(pl.String))
    fields = (
        pl.Series("fields", _differing_fields(batch, pool), dtype=pl.List(pl.String))
        for batch in pairs.iter_slices(_BATCH)
    )
    return pairs.select("tconst").with_columns(pl.concat([empty, *fields]))


def _differing_fields(pairs: pl.DataFrame, pool: Pool) -> list[list[str] | None]:
    """Return the names of the differing fields of each pair; None where the pool lacks a text."""
    import orjson

    texts = _texts(pairs, pool)
    found: list[list[str] | None] = []
    for old_hash, new_hash in pairs.select("document_hash_before", "document_hash").iter_rows():
        if old_hash in texts and new_hash in texts:
            old, new = orjson.loads(texts[old_hash]), orjson.loads(texts[new_hash])
            names = [*new, *(name for name in old if name not in new)]
            found.append([name for name in names if name not in old or name not in new or old[name] != new[name]])
        else:
            found.append(None)
    return found


def _texts(pairs: pl.DataFrame, pool: Pool) -> dict[str, str]:
    import polars as pl

    shards = pool.shards()
    if not shards:
        return {}
    wanted = pl.concat([pairs["document_hash"], pairs["document_hash_before"]]).unique().to_frame()
    found = (
        pl.scan_parquet(shards)
        .select("document_hash", "document")
        .join(wanted.lazy(), on="document_hash", how="semi")
        .collect(engine="streaming")
    )
    return dict(found.iter_rows())


def _new_and_gone(before: Day, today: Day, values: pl.Expr) -> tuple[dict[str, int], dict[str, int]]:
    """Return the values that only today has and those that only the day before has, most frequent first."""
    first, second = (
        dict(
            day.movies.lazy()
            .select(value=values)
            .drop_nulls()
            .group_by("value")
            .len()
            .sort("len", "value", descending=[True, False])
            .collect(engine="streaming")
            .iter_rows()
        )
        for day in (before, today)
    )
    new = {value: count for value, count in second.items() if value not in first}
    gone = {value: count for value, count in first.items() if value not in second}
    return new, gone
