"""A release in memory: all that the service answers from.

Nothing of it is read from disk later, so that it may expire while it answers; but for the files of the encoder and the
champion, which ``warm`` reads.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import InputError, NotPublishedError, PipelineError
from imdb_pipeline.freshness import freshness
from imdb_pipeline.released import Release
from imdb_pipeline.results.people_named import NamesHeld
from imdb_pipeline.serving import DocumentEncoder, ServedRelease
from imdb_pipeline.similar import SimilarMovies, UnknownMovieError
from imdb_pipeline.standings import read_leaderboard

if TYPE_CHECKING:
    import numpy as np

    from imdb_pipeline.store import Store

PAGES = {"report": "report.html", "map_page": "map.html", "model_card": "model_card.html"}
"""The file of each asset that is a page."""
_TABLES = ("movies", "movie_neighbours", "movie_embeddings", "champion", "rating_predictions")
_SHOWN = ("tconst", "title", "release_year", "average_rating", "num_votes")
_BUT_FIRST = 5


class LoadedRelease:
    """The release that is current now, read whole and verified.

    Parameters
    ----------
    masked
        Read also what masking titles takes, which is otherwise read by the first who asks for it.

    Attributes
    ----------
    release
        Which it is.
    id
        Day and a hash of the revisions: another release, another id.
    similar
        Movies by their embeddings.
    most_voted
        Some movies that everybody knows: tconst, title, release_year.

    Raises
    ------
    PipelineError
        There is none, a file is missing or not what was published, or the release holds no movies or neighbours.
    """

    def __init__(self, store: Store, *, masked: bool = False) -> None:
        import polars as pl

        self.release = release = Release(store, held=True)
        references = json.dumps(release.content["assets"], sort_keys=True)
        self.id = f"{release.day}-{hashlib.sha256(references.encode()).hexdigest()[:8]}"
        for asset in (*_TABLES, *PAGES):
            if release.has(asset):
                store.verify(release.revision(asset))
        self._fresh = freshness(store)
        self._movies = release.table("movies", "movies.parquet").collect()
        self.similar = SimilarMovies(release)
        self.similar.hold(masked=masked)
        self._encode = DocumentEncoder(release)
        self._names = NamesHeld.of(self._movies)
        self._pages = {asset: release.revision(asset).file(name).read_bytes() for asset, name in self._there(PAGES)}
        self._leaderboard = read_leaderboard(store, release.content) if release.has("leaderboard") else None
        self._no_champion = f"the release of {release.day} holds no champion"
        self._served = self._load_served()
        voted = self._movies.select(_SHOWN).sort("num_votes", "tconst", descending=[True, False], nulls_last=True)
        self.most_voted = voted.filter(pl.col("title") != "").head(_BUT_FIRST).to_dicts()

    def movie(self, tconst: str) -> dict[str, Any]:
        """Return a row of ``movies``; it holds lists and dicts where the table does.

        Raises
        ------
        UnknownMovieError
            There is none of that id.
        """
        ids = self._movies["tconst"]  # in order
        place = int(ids.search_sorted(tconst))
        if place == len(ids) or ids[place] != tconst:
            raise UnknownMovieError(f"no movie of the catalogue has the id {tconst!r}")
        return self._movies.row(place, named=True)

    def titled(self, text: str, *, limit: int) -> list[dict[str, Any]]:
        """Return the movies that have a text in their title, in any case: those of just that title, then by votes."""
        import polars as pl

        lower = pl.col("title").str.to_lowercase()
        found = self._movies.lazy().filter(lower.str.contains(text.lower(), literal=True)).select(_SHOWN)
        order = [lower == text.lower(), "num_votes", "tconst"]
        found = found.sort(order, descending=[True, True, False], nulls_last=True)
        return found.head(limit).collect().to_dicts()

    def vector(self, text: str) -> np.ndarray:
        """Return the unit vector of a text by the home's encoder: float32, shape (dimension,)."""
        try:
            return self._encode([text])[0]
        except InputError as error:
            raise PipelineError(f"the home's encoder cannot be used ({error})") from None

    def described(self, value: Any) -> str:
        """Return the document of a movie in JSON's values: see ``results.new_movie.read_new_movie``.

        Raises
        ------
        InputError
            A field is unknown or of a wrong type; the message names it.
        """
        from imdb_pipeline.results.new_movie import new_movie

        return new_movie(value, self._names, source="the movie").document

    def predictor(self) -> ServedRelease:
        """Return what predicts.

        Raises
        ------
        PipelineError
            There is no champion.
        """
        if self._served is None:
            raise PipelineError(self._no_champion)
        return self._served

    def with_model(self) -> ServedRelease:
        """Return what predicts, its model loaded.

        Raises
        ------
        PipelineError
            There is no champion, or it cannot be loaded.
        """
        served = self.predictor()
        try:
            _ = served.served
        except InputError as error:
            raise PipelineError(f"the champion cannot be loaded ({error})") from None
        return served

    def leaderboard(self) -> list[dict[str, Any]]:
        """Return what ``api.leaderboard`` does.

        Raises
        ------
        NotPublishedError
            The release has none.
        """
        if self._leaderboard is None:
            raise NotPublishedError(f"the release of {self.release.day} holds no leaderboard; run `imdb-pipeline run`")
        return self._leaderboard

    def page(self, asset: str) -> bytes:
        """Return the HTML of an asset that is a page.

        Raises
        ------
        NotPublishedError
            The release has no such asset.
        """
        if asset not in self._pages:
            raise NotPublishedError(f"the release of {self.release.day} holds no {asset}; run `imdb-pipeline run`")
        return self._pages[asset]

    def has_page(self, asset: str) -> bool:
        return asset in self._pages

    def age_hours(self) -> float | None:
        """Return the hours since the source published what is released; None where it is not dated."""
        return round(self._fresh.age_hours(datetime.now(UTC)), 1) if self._fresh else None

    def warm(self) -> None:
        """Load the model and the encoder now, so that the first who asks does not wait for them."""
        example = {"title": "A", "genres": ["Drama"], "directors": ["B"]}
        self.vector(self.described(example))
        if self._served is not None:
            self.with_model().explain(example)

    def _there(self, names: dict[str, str]) -> list[tuple[str, str]]:
        return [(asset, name) for asset, name in names.items() if self.release.has(asset)]

    def _load_served(self) -> ServedRelease | None:
        """Return what predicts, with its tables held; None where there is no champion that can serve."""
        if not self.release.has("champion"):
            return None
        try:
            served = ServedRelease(self.release.store, self.release, self._encode, self._names)
            served.hold()
        except PipelineError as error:
            self._no_champion = str(error)
            return None
        return served
