"""The Python API: what the current release of a home holds, as polars frames and plain rows.

    from imdb_pipeline.api import load_movies, similar
    load_movies("data").head()

Every function takes the home (default: ``IMDB_PIPELINE_HOME``, else ``./data``) and reads what ``CURRENT`` names; those
that load a table take a day (YYYY-MM-DD) as well, and then read what that day holds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import InputError
from imdb_pipeline.settings import home_path
from imdb_pipeline.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from imdb_pipeline.store import Revision

CLOSE_TITLES = 3


def load_movies(home: str | Path | None = None, *, day: str | None = None) -> pl.DataFrame:
    """Return ``movies``: one row per movie, sorted by tconst; columns as in ``catalogue.movies.build_movies``.

    Raises
    ------
    NotPublishedError
        The home holds no release (so do all functions here), or not that day, or its files expired.
    """
    import polars as pl

    return pl.read_parquet(_revision(_store(home), "movies", day).file("movies.parquet"))


def load_documents(home: str | Path | None = None, *, day: str | None = None) -> pl.DataFrame:
    """Return tconst, document_hash, document: the JSON text of every movie that has one."""
    import polars as pl

    from imdb_pipeline.catalogue.documents import read_documents

    store = _store(home)
    documents = pl.read_parquet(_revision(store, "movie_documents", day).file("documents.parquet"))
    return read_documents(documents, store.pool("documents"))


def load_embeddings(home: str | Path | None = None, *, day: str | None = None) -> pl.DataFrame:
    """Return tconst and embedding (Array(Float32, dimension)): unit vectors, so that a dot product is the cosine."""
    from imdb_pipeline.embeddings.cache import load_embeddings as load

    store = _store(home)
    documents, vectors = load(_revision(store, "movie_embeddings", day), store)
    return documents.select("tconst").with_columns(embedding=vectors)  # pyright: ignore[reportArgumentType]


def load_map(home: str | Path | None = None, *, day: str | None = None) -> pl.DataFrame:
    """Return tconst, x, y (Float32): the movies on the map."""
    import polars as pl

    return pl.read_parquet(_revision(_store(home), "movie_map", day).file("map.parquet"))


def load_predictions(home: str | Path | None = None, *, day: str | None = None) -> pl.DataFrame:
    """Return tconst, prediction, low, high, split, average_rating, num_votes; no row where there is no champion."""
    import polars as pl

    return pl.read_parquet(_revision(_store(home), "rating_predictions", day).file("predictions.parquet"))


def leaderboard(home: str | Path | None = None) -> list[dict[str, Any]]:
    """Return one row per predictor, the best on validation first.

    Each has model, encoder, n_train, validation_mse, test_mse, test_mae, r2, r2_low, r2_high (95 % bootstrap interval),
    beats_mean (on validation, paired), fit_seconds and device. Empty where there are too few movies to learn from.
    """
    store = _store(home)
    board = json.loads(store.released("leaderboard").file("leaderboard.json").read_bytes())
    rows = []
    for row in board["rows"]:
        info = store.released(f"{row['model']}_predictor").manifest["info"]
        rows.append({**row, "fit_seconds": info["fit_seconds"], "device": info["device"]})
    return rows


def too_few_movies(home: str | Path | None = None) -> str | None:
    """Return why the predictors learnt nothing, or None where they did."""
    return json.loads(_store(home).released("leaderboard").file("leaderboard.json").read_bytes())["too_few"]


def similar(movie: str, *, k: int = 10, home: str | Path | None = None) -> list[dict[str, Any]]:
    """Return the k nearest movies by the cosine of their embeddings, nearest first, the movie itself not among them.

    Parameters
    ----------
    movie
        A tconst, or a title in any case.

    Returns
    -------
    list of dict
        tconst, title, release_year, average_rating, num_votes, cosine.

    Raises
    ------
    InputError
        No such movie, several of that title, or k is not positive.
    """
    import polars as pl

    if k < 1:
        raise InputError(f"k {k}: give a number of movies of at least 1")
    store = _store(home)
    neighbours = pl.read_parquet(store.released("movie_neighbours").file("neighbours.parquet"))
    movies = pl.read_parquet(
        store.released("movies").file("movies.parquet"),
        columns=["tconst", "title", "original_title", "release_year", "average_rating", "num_votes"],
    )
    embedded = neighbours.select("tconst").join(movies, on="tconst", how="left", maintain_order="left")
    row = _find(movie, embedded, movies)
    rows, cosines = neighbours["neighbours"][row].to_list(), neighbours["cosines"][row].to_list()
    if k > len(rows):
        rows, cosines = _all_neighbours(store, row)
    found = embedded[rows[:k]].drop("original_title").with_columns(cosine=pl.Series(cosines[:k], dtype=pl.Float64))
    return found.to_dicts()


def _revision(store: Store, asset: str, day: str | None) -> Revision:
    return store.released(asset) if day is None else store.get(asset, day)


def _store(home: str | Path | None) -> Store:
    return Store(home_path(home) / "store")


def _all_neighbours(store: Store, row: int) -> tuple[list[int], list[float]]:
    import numpy as np

    from imdb_pipeline.embeddings.cache import load_embeddings as load

    _, vectors = load(store.released("movie_embeddings"), store)
    cosines = vectors @ vectors[row]
    order = np.argsort(-cosines, kind="stable")
    order = order[order != row]
    return order.tolist(), cosines[order].tolist()


def _find(movie: str, embedded: pl.DataFrame, movies: pl.DataFrame) -> int:
    """Return the row of ``embedded`` that a tconst or a title names."""
    import polars as pl

    indexed = embedded.with_row_index("row")
    hits = indexed.filter(tconst=movie)
    if hits.is_empty():
        wanted = movie.strip().lower()
        hits = indexed.filter(pl.col("title").str.to_lowercase() == wanted)
    if hits.is_empty():
        hits = indexed.filter(pl.col("original_title").str.to_lowercase() == movie.strip().lower())
    if len(hits) == 1:
        return int(hits["row"][0])
    if len(hits) > 1:
        known = [f"{hit['tconst']} ({hit['release_year'] or 'no year'})" for hit in hits.head(8).to_dicts()]
        raise InputError(f"{len(hits)} movies are called {movie}: give one of {', '.join(known)}")
    other = movies.filter((pl.col("tconst") == movie) | (pl.col("title").str.to_lowercase() == movie.strip().lower()))
    if len(other):
        raise InputError(
            f"{movie} ({other['title'][0]}) has too few votes and is not recent, so it has no embedding; "
            "lower [catalogue] min_votes in settings.toml to include such movies"
        )
    close = _close_titles(movie.strip().lower(), embedded)
    hint = f"; did you mean {', '.join(repr(title) for title in close)}?" if close else ""
    raise InputError(f"no movie with the id or the title {movie!r} has an embedding{hint or '; check the spelling'}")


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
