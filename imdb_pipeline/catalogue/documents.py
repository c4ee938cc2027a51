"""``movie_documents``: the text that stands for a movie, as JSON in the study's form, kept once under its hash.

A day's documents are its list of (tconst, document_hash); the texts are in a pool that all days share.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from imdb_pipeline.gates import Outcome, check_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandera.polars as pa
    import polars as pl

    from imdb_pipeline.store import Pool

_FIELDS = ("title", "genres", "is_adult", "release_year", "runtime_minutes")
_LISTED = {
    "director": "directors",
    "writer": "writers",
    "producer": "producers",
    "actor": "actors",
    "actress": "actors",
}
_ROWS_AT_ONCE = 1000  # more, and Python's garbage collector visits many thousand dictionaries again and again
_ROWS_A_SHARD = 50_000


def document(movie: Mapping[str, Any]) -> str:
    """Return the document of a movie, a row of ``movies``.

    The form is the study's (M. Woolf, "Predicting Average IMDb Movie Ratings Using Text Embeddings of Movie Metadata",
    2025): 2-space indent, fields of variable length last, people by name in billing order. A person whose name is not
    known is left out, as the study's inner join does.
    """
    credits = [(credit["category"], credit["name"]) for credit in movie["credits"]]
    return _document([movie[field] for field in _FIELDS], credits).decode()


def documents_of(movies: pl.DataFrame) -> pl.Series:
    """Return the documents of many movies, as ``document`` makes them: a String per row.

    From columns, because a dictionary for every credit costs twice as much as all the rest; and some rows at a time.
    """
    import polars as pl

    texts = []
    for rows in movies.iter_slices(_ROWS_AT_ONCE):
        credits = rows["credits"].explode(empty_as_null=False).struct
        categories, names = credits.field("category").to_list(), credits.field("name").to_list()
        ends = rows["credits"].list.len().cum_sum().to_list()
        fields = zip(*(rows[field].to_list() for field in _FIELDS), strict=True)
        documents = [
            _document(values, zip(categories[start:end], names[start:end], strict=True))
            for values, start, end in zip(fields, [0, *ends], ends, strict=False)
        ]
        texts.append(pl.Series(documents, dtype=pl.Binary).cast(pl.String))
    return pl.concat(texts) if texts else pl.Series(dtype=pl.String)


def _document(values: Iterable[Any], credits: Iterable[tuple[str, str | None]]) -> bytes:
    """Return a document in UTF-8, of the values of ``_FIELDS`` and of categories with names."""
    import orjson

    people: dict[str, list[Any]] = {"directors": [], "writers": [], "producers": [], "actors": [], "principals": []}
    for category, name in credits:
        if name is None:
            continue
        field = _LISTED.get(category)
        if field is None:
            people["principals"].append({name: category})
        else:
            people[field].append(name)
    return orjson.dumps(dict(zip(_FIELDS, values, strict=True)) | people, option=orjson.OPT_INDENT_2)


def document_hash(text: str) -> str:
    """Return the hex sha256 of a document's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def last_year(movies: pl.DataFrame, *, min_votes: int, day_year: int) -> int:
    """Return the last year that counts as over: before the day's, and not after the newest rated movie's."""
    import polars as pl

    newest = movies.filter(pl.col("num_votes") >= min_votes)["release_year"].max()
    return day_year - 1 if newest is None else min(day_year - 1, int(newest))  # pyright: ignore[reportArgumentType]


def with_documents(movies: pl.DataFrame, *, min_votes: int, recent_years: int, day_year: int) -> pl.DataFrame:
    """Return the movies that get a document: enough votes, or of the last and coming years whatever their votes."""
    import polars as pl

    first_recent = last_year(movies, min_votes=min_votes, day_year=day_year) - recent_years + 1
    return movies.filter((pl.col("num_votes") >= min_votes).fill_null(False) | (pl.col("release_year") >= first_recent))


def build_documents(movies: pl.DataFrame, pool: Pool) -> tuple[pl.DataFrame, list[Outcome]]:
    """Write the documents that the pool does not hold yet, up to the first that fails its check; damaged shards are put
    aside before.

    Parameters
    ----------
    movies
        The rows of ``movies`` that get a document.

    Returns
    -------
    documents
        tconst, document_hash (String), one row per movie, in the order of ``movies``.
    outcomes
        Of the documents' schema.
    """
    import polars as pl

    name, listed = "documents_table", [pl.DataFrame(schema={"tconst": pl.String, "document_hash": pl.String})]
    pool.set_damaged_aside()
    held = held_hashes(pool)
    for rows in movies.iter_slices(_ROWS_A_SHARD):
        texts = documents_of(rows)
        hashes = pl.Series([document_hash(text) for text in texts], dtype=pl.String)
        frame = pl.DataFrame({"tconst": rows["tconst"], "document_hash": hashes, "document": texts})
        outcome = check_table(name, frame, documents_schema(), subject="movie_documents", key="tconst")
        listed.append(frame.select("tconst", "document_hash"))
        if not outcome.passed:
            return pl.concat(listed), [outcome]
        new = frame.select("document_hash", "document").unique("document_hash", keep="first", maintain_order=True)
        new = new.join(held, on="document_hash", how="anti", maintain_order="left")
        if len(new):
            pool.add(new)
            held = pl.concat([held, new.select("document_hash")])
    documents = pl.concat(listed)
    schema = documents_schema().remove_columns(["document"])
    return documents, [check_table(name, documents, schema, subject="movie_documents", key="tconst")]


def held_hashes(pool: Pool) -> pl.DataFrame:
    """Return the hashes that a pool holds: one String column, ``document_hash``."""
    import polars as pl

    return pool.read({"document_hash": pl.String})


def read_documents(documents: pl.DataFrame, pool: Pool) -> pl.DataFrame:
    """Return ``documents`` with its texts in a column ``document``, in the same order.

    Raises
    ------
    NotPublishedError
        The pool lacks one of them.
    """
    import polars as pl

    from imdb_pipeline.errors import NotPublishedError

    wanted = documents.select("document_hash").unique()
    texts = pool.read_matching({"document_hash": pl.String, "document": pl.String}, wanted).unique("document_hash")
    joined = documents.join(texts, on="document_hash", how="left", maintain_order="left")
    missing = joined["document"].null_count()
    if missing:
        raise NotPublishedError(f"{pool.root}: {missing} documents are missing; materialize movie_documents again")
    return joined


def documents_schema() -> pa.DataFrameSchema:
    """Return what the documents may hold."""
    import pandera.polars as pa
    import polars as pl

    return pa.DataFrameSchema(
        {
            "tconst": pa.Column(pl.String, unique=True),
            "document_hash": pa.Column(pl.String, pa.Check.str_matches(r"^[0-9a-f]{64}$")),
            "document": pa.Column(pl.String, pa.Check.str_matches(r'(?s)^\{\n  "title": ".*\n\}$')),
        },
        strict=True,
    )
