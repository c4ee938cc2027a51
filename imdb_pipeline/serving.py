"""What the current release answers ``predict`` and ``explain`` with: its champion, loaded when it is first needed."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imdb_pipeline.champions import CHAMPION, FEW_VOTES, INTERVALS, MODEL, UNSEEN
from imdb_pipeline.errors import InputError, PipelineError
from imdb_pipeline.released import Release
from imdb_pipeline.results.answers import LEARNED_A_LITTLE, Served, explain_movie, predict_movie, predict_new
from imdb_pipeline.similar import UnknownMovieError, named_row, spelling_hint

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import polars as pl

    from imdb_pipeline.compute import Compute
    from imdb_pipeline.embeddings.encoder import Encoder
    from imdb_pipeline.results.new_movie import NewMovie
    from imdb_pipeline.results.people_named import NamesHeld
    from imdb_pipeline.store import Revision, Store

_TABLES = (
    ("movies", "movies.parquet"),
    ("rating_predictions", "predictions.parquet"),
    ("champion", UNSEEN),
    ("champion", FEW_VOTES),
)
_LOOKED_UP = ["tconst", "title", "original_title", "release_year", "num_votes"]


class DocumentEncoder:
    """The encoder that a release's embeddings were made with, loaded when it is first called."""

    def __init__(self, release: Release) -> None:
        self._release = release

    def __call__(self, documents: Sequence[str]) -> np.ndarray:
        """Return the unit vectors of n documents: float32, shape (n, dimension).

        Raises
        ------
        InputError
            The encoder is not there any more, or another.
        """
        return self._encoder.encode(self._encoder.tokenize(documents))()

    @cached_property
    def _encoder(self) -> Encoder:
        from imdb_pipeline.embeddings.encoder import Encoder
        from imdb_pipeline.embeddings.model_files import choose_encoder

        device = released_compute(self._release).device
        held = json.loads(self._release.revision("movie_embeddings").file("encoder.json").read_bytes())
        # On a CPU half the precision takes longer than the whole.
        dtype = held["dtype"] if device == "cuda" else "float32"
        return Encoder(choose_encoder(held["name"], held["revision"]), device=device, dtype=dtype)


class ServedRelease:
    """A release that answers; what it has read it keeps, so that the next answer is faster.

    A movie is a tconst, a title, ``Title (2013)``, a JSON file (a ``Path``, a text that ends in ``.json`` or names a
    file), or a dict in the document's own fields.

    Parameters
    ----------
    store
        Where it lies.
    release
        The one that answers, also after it has been replaced; None: the one that is current now.
    encode, names
        Its encoder, and the names in its catalogue, where somebody has them already.

    Raises
    ------
    PipelineError
        There is no release, it has no champion, or one of an older version; the message says what to do.
    """

    def __init__(
        self,
        store: Store,
        release: Release | None = None,
        encode: DocumentEncoder | None = None,
        names: NamesHeld | None = None,
    ) -> None:
        self._store = store
        self._known_names = names
        self._release = Release(store) if release is None else release
        self._encode = DocumentEncoder(self._release) if encode is None else encode
        self._champion = self._release.revision("champion")
        content = _champion_content(self._champion)
        self._names = {"model": content["model"], "model_id": content["id"]}

    def predict(self, movie: str | Path | dict[str, Any]) -> dict[str, Any]:
        """Return the predicted rating of a movie with its 90 % interval: see ``api.predict``."""
        new = self._new(movie)
        if new is not None:
            return {**predict_new(new, self.served), **self._names}
        found = self._found(str(movie))
        return self._from_table(found) or self._predicted_now(found)

    def predict_listed(self, tconst: str) -> dict[str, Any] | None:
        """Return what ``predict`` does of an id, from the predictions table alone; None of a movie without a document.

        Raises
        ------
        UnknownMovieError
            The catalogue has no such id.
        """
        return self._from_table(self.row(tconst))

    def predict_unlisted(self, tconst: str) -> dict[str, Any]:
        """Return what ``predict`` does of the id of a movie without a document."""
        return self._predicted_now(self.row(tconst))

    def hold(self) -> None:
        """Read the tables that answers are made from now."""
        for asset, name in _TABLES:
            self._release.table(asset, name)

    def row(self, tconst: str) -> pl.DataFrame:
        """Return the row of ``movies`` of an id.

        Raises
        ------
        UnknownMovieError
            There is none.
        """
        import polars as pl

        found = self._movies.filter(pl.col("tconst") == tconst).collect()
        if found.is_empty():
            raise UnknownMovieError(f"no movie of the catalogue has the id {tconst!r}")
        return found

    def _from_table(self, found: pl.DataFrame) -> dict[str, Any] | None:
        import polars as pl

        row = found.row(0, named=True)
        table = self._release.table("rating_predictions", "predictions.parquet")
        held = table.filter(pl.col("tconst") == row["tconst"]).collect()
        return {**_known(row), **self._names, **held.row(0, named=True)} if len(held) else None

    def _predicted_now(self, found: pl.DataFrame) -> dict[str, Any]:
        import polars as pl

        from imdb_pipeline.catalogue.documents import document
        from imdb_pipeline.models.examples import INPUT_COLUMNS

        row = found.row(0, named=True)
        answer = predict_movie(found.select(INPUT_COLUMNS), document(row), self.served)
        rated = {"split": None, "average_rating": row["average_rating"], "num_votes": row["num_votes"]}
        unseen = self._release.table("champion", UNSEEN).filter(pl.col("tconst") == row["tconst"]).collect()
        if len(unseen):  # it had a document when the champion was trained: a model that did not see it answers
            was = unseen.row(0, named=True)
            told = {name: was[name] for name in ("prediction", "low", "high", "basis", "split")}
            return {**_known(row), **answer, **self._names, **rated, **told}
        basis = "few_votes" if self._learnt_from(FEW_VOTES, row["tconst"]) else "future"
        return {**_known(row), **answer, **self._names, **rated, "basis": basis}

    def held_predictions(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return what ``predict`` does of those ids that the predictions table has, by id."""
        import polars as pl

        table = self._release.table("rating_predictions", "predictions.parquet")
        held = table.filter(pl.col("tconst").is_in(list(ids))).collect()
        titled = held.join(self._listed.select("tconst", "title", "release_year"), on="tconst", how="left")
        return {row["tconst"]: {**row, **self._names} for row in titled.to_dicts()}

    def explain(self, movie: str | Path | dict[str, Any], *, directors: Sequence[str] = ()) -> dict[str, Any]:
        """Return what each field and each person adds to a movie's predicted rating: see ``api.explain``."""
        new = self._new(movie)
        return self._explained(self._found(str(movie)) if new is None else new, directors)

    def explain_id(self, tconst: str, *, directors: Sequence[str] = ()) -> dict[str, Any]:
        """Return what ``explain`` does of an id.

        Raises
        ------
        UnknownMovieError
            The catalogue has no such id.
        """
        return self._explained(self.row(tconst), directors)

    def _explained(self, movie: pl.DataFrame | NewMovie, directors: Sequence[str]) -> dict[str, Any]:
        from imdb_pipeline.models.examples import INPUT_COLUMNS
        from imdb_pipeline.results.new_movie import NewMovie

        new = movie if isinstance(movie, NewMovie) else None
        frame = movie.movie if isinstance(movie, NewMovie) else movie.select(INPUT_COLUMNS)
        served = self.served
        answer = explain_movie(
            frame,
            served,
            learned=self._learnt_from(UNSEEN, frame["tconst"][0]),
            catalogue=self._people if directors else None,
            directors=directors,
        )
        if self._learnt_from(FEW_VOTES, frame["tconst"][0]):
            answer["says"] = f"{LEARNED_A_LITTLE} {answer['says']}"
        if new is not None:
            del answer["tconst"]
            people = {name: [*new.notes[name], *answer[name]] for name in ("ambiguous", "unknown")}
            answer |= new.notes | people
        return {**answer, **self._names}

    @cached_property
    def served(self) -> Served:
        """The champion as it serves.

        Raises
        ------
        PipelineError
            A file of it is not the bytes that were published, or another version wrote it.
        InputError
            The home's encoder is not there any more, or another.
        """
        from imdb_pipeline.models.conformal import Intervals
        from imdb_pipeline.models.fitting import PREDICTORS, load_predictor

        for revision in (self._champion, self._release.revision("movie_embeddings")):
            self._store.verify(revision)
        compute = released_compute(self._release)
        folder, name = self._champion.folder, self._names["model"]
        try:
            model = load_predictor(name, folder / MODEL, device=compute.device)
            intervals = Intervals.load(folder / INTERVALS)
        except PipelineError as error:  # its bytes are right, so another version wrote them
            raise PipelineError(
                f"champion of {self._champion.day}: this version cannot read its model ({error})"
            ) from None
        reads = any(PREDICTORS[each].reads_embeddings for each in (name, *getattr(model, "members", {})))
        return Served(name, model, intervals, self._encode if reads else None)

    def _learnt_from(self, name: str, tconst: str) -> bool:
        """Return whether a movie is in a file of the champion that lists what it learnt from."""
        import polars as pl

        listed = self._release.table("champion", name).filter(pl.col("tconst") == tconst)
        return len(listed.collect()) > 0

    def _new(self, movie: str | Path | dict[str, Any]) -> NewMovie | None:
        """Return the movie of a file or a dict; None for an id or a title."""
        from imdb_pipeline.results.new_movie import new_movie, read_new_movie

        if isinstance(movie, dict):
            try:
                value = json.loads(json.dumps(movie))
            except (TypeError, ValueError, RecursionError) as error:
                raise InputError(f"the movie: not in JSON's own values ({error}); give texts, numbers, lists") from None
            return new_movie(value, self._people, source="the movie")
        if isinstance(movie, Path) or movie.endswith(".json") or _is_file(movie):
            return read_new_movie(Path(movie), self._people)
        return None

    def _found(self, movie: str) -> pl.DataFrame:
        """Return the row of ``movies`` that an id or a title names; titles of movies with a document come first."""
        import polars as pl

        wanted = movie.strip()
        for candidates in (self._predicted, self._listed):
            row = named_row(wanted, candidates)
            if row is not None:
                return self._movies.filter(pl.col("tconst") == candidates["tconst"][row]).collect()
        hint = spelling_hint(wanted, self._predicted)
        raise UnknownMovieError(f"no movie of the catalogue has the id or the title {wanted!r}; {hint}")

    @property
    def _movies(self) -> pl.LazyFrame:
        return self._release.table("movies", "movies.parquet")

    @cached_property
    def _listed(self) -> pl.DataFrame:
        """All movies, to look one up."""
        return self._movies.select(_LOOKED_UP).collect()

    @cached_property
    def _predicted(self) -> pl.DataFrame:
        """Those that have a document."""
        predicted = self._release.table("rating_predictions", "predictions.parquet").select("tconst").collect()
        return self._listed.join(predicted, on="tconst", how="semi", maintain_order="left")

    @cached_property
    def _people(self) -> pl.DataFrame | NamesHeld:
        """All credits, to look people up; and the genres, to know how they are spelt."""
        return self._known_names or self._movies.select("credits", "genres").collect()


def released_compute(release: Release) -> Compute:
    """Return what the home of a release computes on, by its settings."""
    from imdb_pipeline.compute import choose_compute
    from imdb_pipeline.settings import load_settings

    return choose_compute(device=load_settings(release.store.root.parent).device)


def _known(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("tconst", "title", "release_year")}


def _champion_content(revision: Revision) -> dict[str, Any]:
    """Return ``champion.json``, or raise ``PipelineError`` where nothing serves."""
    from imdb_pipeline.models.saved import read_json

    content = read_json(revision.file(CHAMPION), dict)
    if content.get("model") is None:
        raise PipelineError(
            f"nothing to predict with, there is no champion: {content.get('reason')}; make a home of more rated movies "
            "with `imdb-pipeline run --home DIR`"
        )
    if "id" not in content:
        raise PipelineError(
            f"champion of {revision.day}: an older version made it, which kept no model to serve; "
            "`imdb-pipeline run` on this home makes it again"
        )
    return content


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # longer than a path may be, or with what none may hold
        return False
