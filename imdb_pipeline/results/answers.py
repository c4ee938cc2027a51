"""``predict`` and ``explain`` with the model that serves: rows of numbers and names, to be shown or sent as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.features import MAY_BE_UNKNOWN, Features
from imdb_pipeline.results.explain import explain, field_contributions
from imdb_pipeline.results.new_movie import TCONST

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import polars as pl

    from imdb_pipeline.models.conformal import Intervals
    from imdb_pipeline.models.examples import Inputs
    from imdb_pipeline.models.fitting import Model
    from imdb_pipeline.results.new_movie import NewMovie
    from imdb_pipeline.results.people_named import NamesHeld

LEARNED = (
    "The model learnt from this movie's own rating, so this prediction is nearer to it than those of movies that are "
    "new to it; the predictions table holds one by a model that did not see it."
)

LEARNED_A_LITTLE = "The model learnt a little from this movie's own rating of few votes."


@dataclass(frozen=True, eq=False)
class Served:
    """What answers.

    Attributes
    ----------
    name
        Of the champion.
    model
        The champion, fitted on all rated movies.
    intervals
        Of its predictions.
    encode
        The home's encoder: n documents to unit vectors, float32, shape (n, dimension). None where the model reads none.
    """

    name: str
    model: Model
    intervals: Intervals
    encode: Callable[[Sequence[str]], np.ndarray] | None

    def inputs(self, movies: pl.DataFrame, documents: pl.Series) -> Inputs:
        """Return movies (``INPUT_COLUMNS``) with their documents as the model reads them."""
        import numpy as np

        from imdb_pipeline.models.examples import Inputs

        none = np.empty((len(movies), 0), dtype=np.float32)
        return Inputs(movies, none if self.encode is None else self.encode(documents.to_list()), documents)

    def inputs_told(self, movies: pl.DataFrame, documents: pl.Series) -> Inputs:
        """Return ``inputs`` of what ``told`` returns, with the documents that say the same."""
        from imdb_pipeline.catalogue.documents import documents_of

        told = self.told(movies)
        return self.inputs(told, documents if told.equals(movies) else documents_of(told))

    def told(self, movies: pl.DataFrame) -> pl.DataFrame:
        """Return a movie and changes of it with training's median for a year or a runtime that nobody told.

        What IMDb itself lacks of the movie, the first row, stays unknown: few movies get votes without a year, and they
        are not like others. That a description or a change leaves it out says nothing of the kind.
        """
        fitted = (self.model, *getattr(self.model, "members", {}).values(), self.intervals)
        learned = [known for each in fitted if isinstance(known := getattr(each, "features", None), Features)]
        first = movies.row(0, named=True)
        untold = [name for name in MAY_BE_UNKNOWN if first["tconst"] == TCONST or first[name] is not None]
        return learned[0].filled(movies, untold) if learned else movies


def predict_new(new: NewMovie, served: Served) -> dict[str, Any]:
    """Return what ``predict_movie`` does of a movie from a file, and ``NewMovie.notes``."""
    return {**predict_movie(new.movie, new.document, served), **new.notes}


def predict_movie(movie: pl.DataFrame, document: str, served: Served) -> dict[str, Any]:
    """Return the predicted rating of a movie that the model was not fitted on.

    Parameters
    ----------
    movie
        One row with the columns ``INPUT_COLUMNS``.
    document
        Its document.

    Returns
    -------
    dict
        JSON values: title, release_year, model, prediction, low, high, basis (``future``).
    """
    import numpy as np
    import polars as pl

    told = served.told(movie)
    prediction = np.asarray(served.model.predict(served.inputs_told(movie, pl.Series([document]))))
    low, high = served.intervals.bounds(told, prediction)
    row = movie.row(0, named=True)
    return {
        **{name: row[name] for name in ("title", "release_year")},
        "model": served.name,
        "prediction": float(prediction[0]),
        "low": float(low[0]),
        "high": float(high[0]),
        "basis": "future",
    }


def explain_movie(
    movie: pl.DataFrame,
    served: Served,
    *,
    learned: bool,
    catalogue: pl.DataFrame | NamesHeld | None = None,
    directors: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what each field and each person adds to the predicted rating of a movie.

    Parameters
    ----------
    movie
        One row with the columns ``INPUT_COLUMNS``.
    learned
        Whether the model was fitted on the movie's own rating: then the answer says so.
    catalogue, directors
        As ``explain`` takes them.

    Returns
    -------
    dict
        What ``explain`` returns, with model, low, high, learned, and ``contributions`` where the model is made of trees
        or has such a member: what ``field_contributions`` returns, with ``model``, whose trees they are.
    """
    import numpy as np

    inputs: list[Inputs] = []

    def predict(movies: pl.DataFrame, documents: pl.Series) -> np.ndarray:
        inputs.append(served.inputs_told(movies, documents))
        return served.model.predict(inputs[0])

    answer = explain(movie, predict, catalogue=catalogue, directors=directors)
    low, high = served.intervals.bounds(served.told(movie), np.array([answer["prediction"]]))
    answer |= {"model": served.name, "low": float(low[0]), "high": float(high[0]), "learned": learned}
    if learned:
        answer["says"] = f"{LEARNED} {answer['says']}"
    members = {served.name: served.model, **getattr(served.model, "members", {})}
    for name, member in members.items():
        if hasattr(member, "contributions"):
            own: Any = member
            contributions = own.contributions(inputs[0].take(np.array([0])))[0]
            answer["contributions"] = {"model": name, **field_contributions(contributions, own.fields)}
            break
    return answer
