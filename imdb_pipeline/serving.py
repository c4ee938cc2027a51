"""What the current release answers ``predict`` and ``explain`` with: its champion, loaded when it is first needed."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imdb_pipeline.champions import CHAMPION, FEW_VOTES, INTERVALS, MODEL, UNSEEN
from imdb_pipeline.errors import InputError, PipelineError
from imdb_pipeline.results.answers import LEARNED_A_LITTLE, Served, explain_movie, predict_movie, predict_new

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import polars as pl

    from imdb_pipeline.compute import Compute
    from imdb_pipeline.results.new_movie import NewMovie
    from imdb_pipeline.store import Revision, Store

_LOOKED_UP = ["tconst", "title", "original_title", "release_year", "num_votes"]


class ServedRelease:
    """A release that answers; what it has read it keeps, so that the next answer is faster.

    A movie is a tconst, a title, ``Title (2013)``, a JSON file (a ``Path``, a text that ends in ``.json`` or names a
    file), or a dict in the document's own fields.

    Parameters
    ----------
    store
        The release that is current now answers, also after it has been replaced.

    Raises
    ------
    PipelineError
        There is no release, it has no champion, or one of an older version; the message says what to do.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        names = ("champion", "movies", "movie_embeddings", "rating_predictions")
        self._champion, self._movies, self._embeddings, self._predictions = map(store.released, names)
        content = _champion_content(self._champion)
        self._names = {"model": content["model"], "model_id": content["id"]}

    def predict(self, movie: str | Path | dict[str, Any]) -> dict[str, Any]:
        """Return the predicted rating of a movie with its 90 % interval: see ``api.predict``."""
        import polars as pl

        from imdb_pipeline.catalogue.documents import document
        from imdb_pipeline.models.examples import INPUT_COLUMNS

        new = self._new(movie)
        if new is not None:
            return {**predict_new(new, self.served), **self._names}
        found = self._found(str(movie))
        row = found.row(0, named=True)
        known = {"tconst": row["tconst"], "title": row["title"], "release_year": row["release_year"]}
        table = pl.scan_parquet(self._predictions.file("predictions.parquet"))
        held = table.filter(pl.col("tconst") == row["tconst"]).collect()
        if len(held):
            return {**known, **self._names, **held.row(0, named=True)}
        answer = predict_movie(found.select(INPUT_COLUMNS), document(row), self.served)
        rated = {"split": None, "average_rating": row["average_rating"], "num_votes": row["num_votes"]}
        unseen = pl.scan_parquet(self._champion.file(UNSEEN)).filter(pl.col("tconst") == row["tconst"]).collect()
        if len(unseen):  # it had a document when the champion was trained: a model that did not see it answers
            was = unseen.row(0, named=True)
            told = {name: was[name] for name in ("prediction", "low", "high", "basis", "split")}
            return {**known, **answer, **self._names, **rated, **told}
        basis = "few_votes" if self._learnt_from(FEW_VOTES, row["tconst"]) else "future"
        return {**known, **answer, **self._names, **rated, "basis": basis}

    def held_predictions(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return what ``predict`` does of those ids that the predictions table has, by id."""
        import polars as pl

        table = pl.scan_parquet(self._predictions.file("predictions.parquet")).filter(pl.col("tconst").is_in(list(ids)))
        held = table.collect().join(self._listed.select("tconst", "title", "release_year"), on="tconst", how="left")
        return {row["tconst"]: {**row, **self._names} for row in held.to_dicts()}

    def explain(self, movie: str | Path | dict[str, Any], *, directors: Sequence[str] = ()) -> dict[str, Any]:
        """Return what each field and each person adds to a movie's predicted rating: see ``api.explain``."""
        from imdb_pipeline.models.examples import INPUT_COLUMNS

        new = self._new(movie)
        frame = self._found(str(movie)).select(INPUT_COLUMNS) if new is None else new.movie
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
        from imdb_pipeline.compute import choose_compute
        from imdb_pipeline.models.conformal import Intervals
        from imdb_pipeline.models.fitting import PREDICTORS, load_predictor
        from imdb_pipeline.settings import load_settings

        for revision in (self._champion, self._embeddings):
            self._store.verify(revision)
        compute = choose_compute(device=load_settings(self._store.root.parent).device)
        folder, name = self._champion.folder, self._names["model"]
        try:
            model = load_predictor(name, folder / MODEL, device=compute.device)
        except PipelineError as error:  # its bytes are right, so another version wrote them
            raise PipelineError(
                f"champion of {self._champion.day}: this version cannot read its model ({error}); "
                "`imdb-pipeline run --force` on this home trains it again"
            ) from None
        reads = any(PREDICTORS[each].reads_embeddings for each in (name, *getattr(model, "members", {})))
        encode = self._encode_with(compute) if reads else None
        return Served(name, model, Intervals.load(folder / INTERVALS), encode)

    def _learnt_from(self, name: str, tconst: str) -> bool:
        """Return whether a movie is in a file of the champion that lists what it learnt from."""
        import polars as pl

        listed = pl.scan_parquet(self._champion.file(name)).filter(pl.col("tconst") == tconst)
        return len(listed.collect()) > 0

    def _encode_with(self, compute: Compute) -> Callable[[Sequence[str]], np.ndarray]:
        """Return the encoder that the release's embeddings were made with."""
        from imdb_pipeline.embeddings.encoder import Encoder
        from imdb_pipeline.embeddings.model_files import choose_encoder

        held = json.loads(self._embeddings.file("encoder.json").read_bytes())
        # On a CPU half the precision takes longer than the whole.
        dtype = held["dtype"] if compute.device == "cuda" else "float32"
        encoder = Encoder(choose_encoder(held["name"], held["revision"]), device=compute.device, dtype=dtype)
        return lambda documents: encoder.encode(encoder.tokenize(documents))()

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

        from imdb_pipeline.similar import named_row, spelling_hint

        wanted = movie.strip()
        for candidates in (self._predicted, self._listed):
            row = named_row(wanted, candidates)
            if row is not None:
                movies = pl.scan_parquet(self._movies.file("movies.parquet"))
                return movies.filter(pl.col("tconst") == candidates["tconst"][row]).collect()
        hint = spelling_hint(wanted, self._predicted)
        raise InputError(f"no movie of the catalogue has the id or the title {wanted!r}; {hint}")

    @cached_property
    def _listed(self) -> pl.DataFrame:
        """All movies, to look one up."""
        import polars as pl

        return pl.read_parquet(self._movies.file("movies.parquet"), columns=_LOOKED_UP)

    @cached_property
    def _predicted(self) -> pl.DataFrame:
        """Those that have a document."""
        import polars as pl

        predicted = pl.read_parquet(self._predictions.file("predictions.parquet"), columns=["tconst"])
        return self._listed.join(predicted, on="tconst", how="semi", maintain_order="left")

    @cached_property
    def _people(self) -> pl.DataFrame:
        """All credits, to look people up; and the genres, to know how they are spelt."""
        import polars as pl

        return pl.read_parquet(self._movies.file("movies.parquet"), columns=["credits", "genres"])


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
