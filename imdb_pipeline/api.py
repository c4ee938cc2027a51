"""The Python API: what the current release of a home holds and answers, as polars frames.

    from imdb_pipeline.api import load_movies, predict, similar
    best = load_movies("data").sort("num_votes", nulls_last=True).tail()
    predict(best, home="data")

Every function takes the home (default: ``IMDB_PIPELINE_HOME``, else ``./data``) and reads what ``CURRENT`` names; those
that load a table take a day (YYYY-MM-DD) as well, and then read what that day holds. Those that answer take one movie
or many: an id, a title, a list or a Series of them, or a frame with a column ``tconst``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from imdb_pipeline.errors import InputError
from imdb_pipeline.settings import home_path
from imdb_pipeline.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from imdb_pipeline.store import Revision

    Named: TypeAlias = str | Sequence[str] | pl.Series | pl.DataFrame
    Described: TypeAlias = str | Path | dict[str, Any]
    Movies: TypeAlias = Described | Sequence[Described] | pl.Series | pl.DataFrame

__all__ = [
    "explain",
    "leaderboard",
    "load_documents",
    "load_embeddings",
    "load_map",
    "load_movies",
    "load_predictions",
    "predict",
    "similar",
]


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
    """Return a row per movie with a document; no row where there is no champion.

    tconst, prediction, low, high (Float64, the 90 % interval), basis, split (train, validation, test, or null),
    average_rating, num_votes. ``basis`` says who predicted: models fitted without the movie (``out_of_fold``), the
    model that it was held out from (``held_out``), or the one that serves, for movies whose rating it never saw
    (``future``) or from which it learnt a little while they had few votes (``few_votes``).
    """
    import polars as pl

    return pl.read_parquet(_revision(_store(home), "rating_predictions", day).file("predictions.parquet"))


def leaderboard(home: str | Path | None = None) -> pl.DataFrame:
    """Return one row per predictor, the best on validation first.

    Each has model, encoder, n_train, validation_mse, test_mse, test_mae, r2, r2_low, r2_high (95 % bootstrap interval),
    time_r2 (by time; null where the years do not allow it), beats_mean (on validation, paired), fit_seconds and device.
    No row where there are too few movies to learn from.
    """
    import polars as pl

    from imdb_pipeline.standings import read_leaderboard

    figures = ("validation_mse", "test_mse", "r2", "r2_low", "r2_high", "time_r2", "fit_seconds")
    first = {"model": pl.String, **dict.fromkeys(figures, pl.Float64), "device": pl.String}
    rows = read_leaderboard(_store(home))
    if not rows:
        return pl.DataFrame(schema=first)
    return pl.DataFrame(rows, schema_overrides=first, infer_schema_length=None).select(*first, pl.exclude(*first))


def similar(
    movies: Named,
    *,
    k: int = 10,
    mask_title: bool = False,
    years: tuple[int | None, int | None] | None = None,
    min_votes: int = 0,
    home: str | Path | None = None,
) -> pl.DataFrame:
    """Return the k nearest movies by the cosine of their embeddings, nearest first, the movie itself not among them.

    They are the exact nearest of those that pass; there are fewer than k where fewer pass. Equal ones are in the order
    of their ids.

    Parameters
    ----------
    movies
        A tconst, a title in any case, or ``Title (2013)`` where several movies have that title; or many of them.
    mask_title
        Count what a title says only as far as people or genres support it: ``embeddings.masking``. The cosines are then
        not those of the embeddings, and lower where nothing but the title was alike.
    years
        The first and the last release year that may be listed, None for an open end.
    min_votes
        List only movies with at least so many votes.

    Returns
    -------
    pl.DataFrame
        asked (String: as it was asked for), tconst, title (String), release_year (Int32), average_rating (Float64),
        num_votes (Int64), cosine (Float64).

    Raises
    ------
    InputError
        No such movie, several of that title, a value out of its range, or nothing passes the filter.
    NotPublishedError
        The home was made by a version that did not mask titles; the message says what to do.
    """
    import polars as pl

    from imdb_pipeline.released import Release
    from imdb_pipeline.similar import SimilarMovies, Wanted

    wanted = Wanted(k, *(years or (None, None)), min_votes=min_votes)
    release = SimilarMovies(Release(_store(home)))
    found = {asked: release.to_movie(asked, wanted, mask_title=mask_title) for asked in _named(movies)}
    rows = [{"asked": asked, **row} for asked in _named(movies) for row in found[asked]]
    return pl.DataFrame(
        rows,
        schema={
            "asked": pl.String,
            "tconst": pl.String,
            "title": pl.String,
            "release_year": pl.Int32,
            "average_rating": pl.Float64,
            "num_votes": pl.Int64,
            "cosine": pl.Float64,
        },
    )


def predict(movies: Movies, *, home: str | Path | None = None) -> pl.DataFrame:
    """Return the predicted ratings of movies with their 90 % intervals, one row each, in the order asked for.

    Parameters
    ----------
    movies
        A tconst, a title in any case, ``Title (2013)`` where several movies have that title, a JSON file (a ``Path``,
        or a text that ends in ``.json`` or names a file), or a dict with some of the fields of a document (see
        ``results.new_movie.read_new_movie``); a list or a Series of them; a frame with a column ``tconst``, or, where
        it has none, with some of the fields of a document as columns.

    Returns
    -------
    pl.DataFrame
        tconst (null of a movie from a file, a dict or a frame of fields), title, release_year (Int32); prediction, low,
        high (Float64, 1 to 10); basis, split, average_rating, num_votes as in ``load_predictions``, which has the row
        of every movie with a document: one without is predicted now, by the model that serves; model (the champion)
        and model_id; of a movie that is not in the catalogue ambiguous, unknown, unknown_genres, unknown_categories,
        repeated, missing, lists as in ``results.new_movie.NewMovie.notes``, null otherwise.

    Raises
    ------
    InputError
        No such movie, several of that title, or a field of the movie is wrong; the message names it.
    PipelineError
        There is no champion, or a file of it is not the bytes that were published.
    """
    import polars as pl

    from imdb_pipeline.serving import ServedRelease

    text, number = pl.String, pl.Float64
    counted = {"nconst": text, "credits": pl.Int64}
    person = {"field": text, "name": text, "people_of_that_name": pl.Int64, **counted}
    schema = {
        "tconst": text,
        "title": text,
        "release_year": pl.Int32,
        "prediction": number,
        "low": number,
        "high": number,
        "basis": text,
        "split": text,
        "average_rating": number,
        "num_votes": pl.Int64,
        "model": text,
        "model_id": text,
        "ambiguous": pl.List(pl.Struct({**person, "others": pl.List(pl.Struct(counted))})),
        "unknown": pl.List(pl.Struct({"field": text, "person": text})),
        "unknown_genres": pl.List(text),
        "unknown_categories": pl.List(text),
        "repeated": pl.List(pl.Struct({"field": text, "value": text})),
        "missing": pl.List(text),
    }
    release = ServedRelease(_store(home))
    asked = _described(movies)
    held = release.held_predictions([each for each in asked if isinstance(each, str)])
    rows = [held.get(each) if isinstance(each, str) else None for each in asked]
    answers = [row or release.predict(each) for row, each in zip(rows, asked, strict=True)]
    return pl.DataFrame([{name: answer.get(name) for name in schema} for answer in answers], schema=schema)


def explain(movie: Described, *, home: str | Path | None = None, directors: Sequence[str] = ()) -> pl.DataFrame:
    """Return what each field and each person of a movie adds to its predicted rating, or takes from it.

    Parameters
    ----------
    movie
        One, as ``predict`` takes it.
    directors
        Names or ids of directors to try in place of the movie's own.

    Returns
    -------
    pl.DataFrame
        A row per change; ``change`` says of what kind. ``field``: the movie without that field; ``person``: without
        that person in whatever they are credited for; ``director``: with that director in place of its own; ``trees``:
        no change, but what the trees of the champion, where it has any, add for the field to their mean prediction,
        which is the row of the field ``base``; these sum to the trees' prediction.
        Columns: change, field, name, nconst (String); effect (Float64): what the field or person adds, or the director
        would add; changed (Float64): the prediction of the changed movie, null for ``trees``; prediction, low, high
        (Float64): of the movie as it is, by the model that serves, not of the predictions table; learned (Boolean):
        whether that model was fitted on this movie's own rating. Within a kind the largest effects come first.

    Raises
    ------
    InputError, PipelineError
        As ``predict``.
    """
    import polars as pl

    from imdb_pipeline.serving import ServedRelease

    answer = ServedRelease(_store(home)).explain(movie, directors=directors)
    kinds = {"field": answer["fields"], "person": answer["people"], "director": answer["other_directors"]}
    rows = [{"change": kind, **row, "changed": row["prediction"]} for kind, listed in kinds.items() for row in listed]
    trees = answer.get("contributions")
    if trees:
        base = {"field": "base", "effect": trees["base"]}
        rows += [{"change": "trees", **row} for row in (base, *trees["fields"])]
    own = {name: answer[name] for name in ("prediction", "low", "high", "learned")}
    texts = dict.fromkeys(("change", "field", "name", "nconst"), pl.String)
    numbers = dict.fromkeys(("effect", "changed", "prediction", "low", "high"), pl.Float64)
    schema = {**texts, **numbers, "learned": pl.Boolean}
    return pl.DataFrame([{name: (row | own).get(name) for name in schema} for row in rows], schema=schema)


def _named(movies: Named) -> list[str]:
    """Return the ids or titles that are asked for."""
    named = _described(movies)
    if not all(isinstance(each, str) for each in named):
        raise InputError("movies: give ids or titles, or a frame with a column tconst")
    return [str(each) for each in named]


def _described(movies: Movies) -> list[Described]:
    import polars as pl

    if isinstance(movies, str | Path | dict):
        return [movies]
    if isinstance(movies, pl.DataFrame) and "tconst" not in movies.columns:
        return [{name: value for name, value in row.items() if value is not None} for row in movies.to_dicts()]
    listed = list(movies["tconst"] if isinstance(movies, pl.DataFrame) else movies)
    for each in listed:
        if not isinstance(each, str | Path | dict):
            raise InputError(f"movies: expected an id, a title, a file or a dict, found {each!r}")
    return listed


def _revision(store: Store, asset: str, day: str | None) -> Revision:
    return store.released(asset) if day is None else store.get(asset, day)


def _store(home: str | Path | None) -> Store:
    return Store(home_path(home) / "store")
