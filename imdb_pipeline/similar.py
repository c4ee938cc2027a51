"""Which movies are like a given one: who is meant, who may be listed, and the exact nearest among these."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import InputError, NotPublishedError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from imdb_pipeline.store import Store

CLOSE_TITLES = 3
LISTED_TITLES = 8
_SHOWN = ["tconst", "title", "release_year", "average_rating", "num_votes"]


def similar_movies(
    store: Store,
    movie: str,
    *,
    k: int,
    mask_title: bool = False,
    years: tuple[int | None, int | None] | None = None,
    min_votes: int = 0,
) -> list[dict[str, Any]]:
    """Return the k nearest movies of the release: see ``api.similar``; without ``asked``."""
    import polars as pl

    first, last = years or (None, None)
    if k < 1:
        raise InputError(f"k {k}: give a number of movies of at least 1")
    if first is not None and last is not None and first > last:
        raise InputError(f"from year {first} to year {last}: the first is after the last; exchange them")
    if min_votes < 0:
        raise InputError(f"min votes {min_votes}: give a number of votes of at least 0")
    neighbours = store.released("movie_neighbours").file("neighbours.parquet")
    movies_file = store.released("movies").file("movies.parquet")
    movies = pl.read_parquet(movies_file, columns=[*_SHOWN, "original_title"])
    tconst = pl.read_parquet(neighbours, columns=["tconst"])
    embedded = tconst.join(movies, on="tconst", how="left", maintain_order="left")
    row = find_movie(movie, embedded, movies)
    allowed = _passing(embedded, row, first, last, min_votes)
    stored = pl.scan_parquet(neighbours).slice(row, 1).collect()
    rows, cosines = stored["neighbours"][0].to_list(), stored["cosines"][0].to_list()
    if mask_title or len(allowed) < len(embedded) - 1 or k > len(rows):
        scores = _masked_cosines(store, row) if mask_title else _cosines(store, row)
        rows, cosines = _nearest(scores, allowed, k)
    return embedded[rows[:k]].select(_SHOWN).with_columns(cosine=pl.Series(cosines[:k], dtype=pl.Float64)).to_dicts()


def find_movie(movie: str, embedded: pl.DataFrame, movies: pl.DataFrame) -> int:
    """Return the row of ``embedded`` that a tconst, a title, or a title with its year in brackets names.

    Raises
    ------
    InputError
        There is none or more than one; the message lists what might be meant.
    """
    import polars as pl

    wanted = movie.strip()
    row = named_row(wanted, embedded)
    if row is not None:
        return row
    other = movies.filter((pl.col("tconst") == wanted) | (pl.col("title").str.to_lowercase() == wanted.lower()))
    if len(other):
        raise InputError(
            f"{wanted} ({other['title'][0]}) has too few votes and is not recent, so it has no embedding; "
            "lower [catalogue] min_votes in settings.toml to include such movies"
        )
    raise InputError(
        f"no movie with the id or the title {wanted!r} has an embedding; {spelling_hint(wanted, embedded)}"
    )


def named_row(wanted: str, movies: pl.DataFrame) -> int | None:
    """Return the row that a tconst, a title, or a title with its year in brackets names; None where there is none.

    Parameters
    ----------
    movies
        At least tconst, title, original_title, release_year, num_votes.

    Raises
    ------
    InputError
        There is more than one; the message lists them.
    """
    indexed = movies.with_row_index("row")
    hits = indexed.filter(tconst=wanted)
    if hits.is_empty():
        hits = _titled(wanted, indexed)
    if len(hits) <= 1:
        return int(hits["row"][0]) if len(hits) else None
    known = hits.sort("num_votes", "tconst", descending=[True, False], nulls_last=True).head(LISTED_TITLES)
    years = [f"{hit['tconst']} ({hit['release_year'] or 'no year'})" for hit in known.sort("tconst").to_dicts()]
    more = f" and {len(hits) - len(years)} with fewer votes" if len(hits) > len(years) else ""
    raise InputError(
        f"{len(hits)} movies are called {wanted}: give one of {', '.join(years)}{more}, "
        "or the year in brackets after the title"
    )


def spelling_hint(wanted: str, movies: pl.DataFrame) -> str:
    """Return what to do about a title that none of the movies (title, num_votes) has, naming those that are close."""
    close = _close_titles(wanted.lower(), movies)
    return f"did you mean {', '.join(repr(title) for title in close)}?" if close else "check the spelling"


def _titled(wanted: str, indexed: pl.DataFrame) -> pl.DataFrame:
    """Return the movies of a title, of an original title, or of either with a year in brackets; case is ignored."""
    import polars as pl

    dated = re.fullmatch(r"(.*\S)\s*\((\d{4})\)", wanted)
    for text, year in [(wanted, None), *([(dated[1], int(dated[2]))] if dated else [])]:
        candidates = indexed if year is None else indexed.filter(release_year=year)
        for column in ("title", "original_title"):
            hits = candidates.filter(pl.col(column).str.to_lowercase() == text.lower())
            if len(hits):
                return hits
    return indexed.clear()


def _close_titles(wanted: str, embedded: pl.DataFrame) -> list[str]:
    """Return titles that hold what was typed, the most voted first; failing that, those spelt like it."""
    import difflib

    import polars as pl

    lower = pl.col("title").str.to_lowercase()
    holding = embedded.filter(lower.str.contains(wanted, literal=True)).sort(
        "num_votes", descending=True, nulls_last=True
    )
    if len(wanted) > 2 and len(holding):
        return holding["title"].unique(maintain_order=True).head(CLOSE_TITLES).to_list()
    titles = {title.lower(): title for title in embedded["title"].unique(maintain_order=True)}
    return [titles[each] for each in difflib.get_close_matches(wanted, titles, n=CLOSE_TITLES, cutoff=0.7)]


def _passing(embedded: pl.DataFrame, row: int, first: int | None, last: int | None, min_votes: int) -> np.ndarray:
    """Return the rows that may be listed, in order: all that pass the filter but the movie itself."""
    import polars as pl

    kept = embedded.select("release_year", "num_votes").with_row_index("row").filter(pl.col("row") != row)
    filters = []
    if first is not None:
        kept, filters = kept.filter(pl.col("release_year") >= first), [f"from {first}"]
    if last is not None:
        kept, filters = kept.filter(pl.col("release_year") <= last), [*filters, f"up to {last}"]
    if min_votes:
        kept, filters = kept.filter(pl.col("num_votes") >= min_votes), [*filters, f"with {min_votes:,} votes or more"]
    if filters and kept.is_empty():
        raise InputError(f"no other movie {' '.join(filters)} has an embedding; widen the years or ask for fewer votes")
    return kept["row"].to_numpy()


def _nearest(scores: np.ndarray, allowed: np.ndarray, k: int) -> tuple[list[int], list[float]]:
    from imdb_pipeline.embeddings.neighbours import nearest_first, on_grid

    cosines = on_grid(scores[allowed])
    order = nearest_first(cosines)[:k]
    return allowed[order].tolist(), cosines[order].tolist()


def _cosines(store: Store, row: int) -> np.ndarray:
    from imdb_pipeline.embeddings.cache import load_embeddings

    _, vectors = load_embeddings(store.released("movie_embeddings"), store)
    return vectors @ vectors[row]


def _masked_cosines(store: Store, row: int) -> np.ndarray:
    import json

    import polars as pl

    from imdb_pipeline.embeddings.cache import load_embeddings, read_embeddings
    from imdb_pipeline.embeddings.masking import MaskedTitles

    revision = store.released("movie_embeddings")
    if "titles.parquet" not in revision.manifest["files"]:
        raise NotPublishedError(
            f"movie_embeddings of {revision.day} has no vectors of the titles, which masking them takes: an older "
            "version made it; `imdb-pipeline run` on this home adds them, and embeds nothing else again"
        )
    documents, vectors = load_embeddings(revision, store)
    listed = pl.read_parquet(revision.file("titles.parquet"))
    pool = store.pool(json.loads(revision.file("encoder.json").read_bytes())["pool"])
    titles = read_embeddings(listed["document_hash"], pool)
    movies = pl.scan_parquet(store.released("movies").file("movies.parquet")).select("tconst", "genres", "credits")
    known = documents.lazy().select("tconst").join(movies, on="tconst", how="left", maintain_order="left").collect()
    return MaskedTitles(vectors, titles, known).cosines(row)
