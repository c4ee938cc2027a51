"""The Python API: what the current release of a home holds, as polars frames and plain rows.

    from imdb_pipeline.api import load_movies, similar
    load_movies("data").head()

Every function takes the home (default: ``IMDB_PIPELINE_HOME``, else ``./data``) and reads what ``CURRENT`` names; those
that load a table take a day (YYYY-MM-DD) as well, and then read what that day holds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imdb_pipeline.settings import home_path
from imdb_pipeline.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import polars as pl

    from imdb_pipeline.store import Revision


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


def leaderboard(home: str | Path | None = None) -> list[dict[str, Any]]:
    """Return one row per predictor, the best on validation first.

    Each has model, encoder, n_train, validation_mse, test_mse, test_mae, r2, r2_low, r2_high (95 % bootstrap interval),
    time_r2 (by time; None where the years do not allow it), beats_mean (on validation, paired), fit_seconds and device.
    Empty where there are too few movies to learn from.
    """
    from imdb_pipeline.released import Release
    from imdb_pipeline.serving import leaderboard_rows

    return leaderboard_rows(Release(_store(home)))


def too_few_movies(home: str | Path | None = None) -> str | None:
    """Return why the predictors learnt nothing, or None where they did."""
    return json.loads(_store(home).released("leaderboard").file("leaderboard.json").read_bytes())["too_few"]


def similar(
    movie: str,
    *,
    k: int = 10,
    mask_title: bool = False,
    years: tuple[int | None, int | None] | None = None,
    min_votes: int = 0,
    home: str | Path | None = None,
) -> list[dict[str, Any]]:
    """Return the k nearest movies by the cosine of their embeddings, nearest first, the movie itself not among them.

    They are the exact nearest of those that pass; there are fewer than k where fewer pass. Equal ones are in the order
    of their ids.

    Parameters
    ----------
    movie
        A tconst, a title in any case, or ``Title (2013)`` where several movies have that title.
    mask_title
        Count what a title says only as far as people or genres support it: ``embeddings.masking``. The cosines are then
        not those of the embeddings, and lower where nothing but the title was alike.
    years
        The first and the last release year that may be listed, None for an open end.
    min_votes
        List only movies with at least so many votes.

    Returns
    -------
    list of dict
        tconst, title, release_year, average_rating, num_votes, cosine.

    Raises
    ------
    InputError
        No such movie, several of that title, a value out of its range, or nothing passes the filter.
    NotPublishedError
        The home was made by a version that did not mask titles; the message says what to do.
    """
    from imdb_pipeline.released import Release
    from imdb_pipeline.similar import SimilarMovies, Wanted

    wanted = Wanted(k, *(years or (None, None)), min_votes=min_votes)
    return SimilarMovies(Release(_store(home))).to_movie(movie, wanted, mask_title=mask_title)


def predict(movie: str | Path | dict[str, Any], *, home: str | Path | None = None) -> dict[str, Any]:
    """Return the predicted rating of a movie with its 90 % interval.

    Parameters
    ----------
    movie
        A tconst, a title in any case, ``Title (2013)`` where several movies have that title, a JSON file (a ``Path``,
        or a text that ends in ``.json`` or names a file), or a dict; the latter two with some of the fields of a
        document: see ``results.new_movie.read_new_movie``.

    Returns
    -------
    dict
        JSON values: title, release_year, model (the champion) and model_id, prediction, low, high (1 to 10), basis.
        Of a movie of the catalogue besides tconst, split, average_rating, num_votes: its row in ``load_predictions``;
        one without a document is predicted now, by the model that serves. Of a movie from a file besides ambiguous,
        unknown, unknown_genres, missing: ``results.new_movie.NewMovie.notes``.

    Raises
    ------
    InputError
        No such movie, several of that title, or a field of the file is wrong; the message names it.
    PipelineError
        There is no champion, or a file of it is not the bytes that were published.
    """
    from imdb_pipeline.serving import ServedRelease

    return ServedRelease(_store(home)).predict(movie)


def explain(
    movie: str | Path | dict[str, Any], *, home: str | Path | None = None, directors: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what each field and each person of a movie adds to its predicted rating, or takes from it.

    Parameters
    ----------
    movie
        As ``predict`` takes it.
    directors
        Names or ids of directors to try in place of the movie's own.

    Returns
    -------
    dict
        JSON values: tconst (not of a movie from a file), title, release_year, prediction (of the model that serves,
        not of the predictions table), low, high, model, model_id, and what ``results.answers.explain_movie`` returns:
        fields, people, other_directors (each with prediction and effect, the largest first), contributions (what the
        trees add, where the champion has any; their sum is the trees' prediction), learned, says. Of a movie from a
        file besides what ``predict`` notes.

    Raises
    ------
    InputError, PipelineError
        As ``predict``.
    """
    from imdb_pipeline.serving import ServedRelease

    return ServedRelease(_store(home)).explain(movie, directors=directors)


def _revision(store: Store, asset: str, day: str | None) -> Revision:
    return store.released(asset) if day is None else store.get(asset, day)


def _store(home: str | Path | None) -> Store:
    return Store(home_path(home) / "store")
