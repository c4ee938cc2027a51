"""Which movies are like a given one: who is meant, who may be listed, and the exact nearest among these."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import InputError, NotPublishedError
from imdb_pipeline.released import Release

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from imdb_pipeline.embeddings.masking import MaskedTitles
    from imdb_pipeline.store import Store

CLOSE_TITLES = 3
LISTED_TITLES = 8
_SHOWN = ["tconst", "title", "release_year", "average_rating", "num_votes"]
_LONGEST_MISSPELLING = 80
"""Letters that are compared: each pair of them is looked for in every title."""
_ENOUGH_LIKE_IT = 2_000
"""So many titles of those that share most pairs of letters are compared letter by letter."""


class UnknownMovieError(InputError):
    """No movie has the id or the title."""


class SeveralMoviesError(InputError):
    """More than one movie has the title.

    Attributes
    ----------
    movies
        The most voted of them: tconst, title, release_year.
    """

    def __init__(self, message: str, movies: list[dict[str, Any]]) -> None:
        super().__init__(message)
        self.movies = movies


@dataclass(frozen=True)
class Wanted:
    """How many movies are to be listed, and which may be.

    Raises
    ------
    InputError
        A value is out of its range.
    """

    k: int
    first_year: int | None = None
    last_year: int | None = None
    min_votes: int = 0

    def __post_init__(self) -> None:
        first, last = self.first_year, self.last_year
        if self.k < 1:
            raise InputError(f"k {self.k}: give a number of movies of at least 1")
        if first is not None and last is not None and first > last:
            raise InputError(f"from year {first} to year {last}: the first is after the last; exchange them")
        if self.min_votes < 0:
            raise InputError(f"min votes {self.min_votes}: give a number of votes of at least 0")

    def passing(self, years: np.ndarray, votes: np.ndarray) -> np.ndarray:
        """Return which of n movies pass: bool, shape (n,), from their years and votes, NaN where not known."""
        import numpy as np

        passing = np.ones(len(years), dtype=bool)
        if self.first_year is not None:
            passing &= years >= self.first_year
        if self.last_year is not None:
            passing &= years <= self.last_year
        if self.min_votes:
            passing &= votes >= self.min_votes
        return passing

    @property
    def filters(self) -> list[str]:
        """What is asked of a movie, in words."""
        first, last, votes = self.first_year, self.last_year, self.min_votes
        return [
            *([f"from {first}"] if first is not None else []),
            *([f"up to {last}"] if last is not None else []),
            *([f"with {votes:,} votes or more"] if votes else []),
        ]


def similar_movies(
    store: Store,
    movie: str,
    *,
    k: int,
    mask_title: bool = False,
    years: tuple[int | None, int | None] | None = None,
    min_votes: int = 0,
) -> list[dict[str, Any]]:
    """Return the k nearest movies of the current release: see ``api.similar``; without ``asked``."""
    wanted = Wanted(k, *(years or (None, None)), min_votes=min_votes)
    return SimilarMovies(Release(store)).to_movie(movie, wanted, mask_title=mask_title)


class SimilarMovies:
    """The movies of a release by the cosine of their embeddings.

    What it has read it keeps; of the 100 stored neighbours of a movie, a release that is not held reads those alone.
    """

    def __init__(self, release: Release) -> None:
        self._release = release

    def to_movie(self, movie: str, wanted: Wanted, *, mask_title: bool = False) -> list[dict[str, Any]]:
        """Return the nearest movies of one that an id or a title names: see ``api.similar``."""
        row = self._row_of.get(movie.strip()) if self._release.held else None
        if row is None:
            row = find_movie(movie, self._embedded, self._movies)
        found = None if mask_title else self._among_stored(row, wanted)
        if found is None:
            scores = self._masked.cosines(row) if mask_title else self._vectors @ self._vectors[row]
            found = self._among_all(scores, wanted, row)
        return self._shown(*found)

    def at_once(self, tconst: str, wanted: Wanted) -> list[dict[str, Any]] | None:
        """Return what ``to_movie`` does of an id, where the stored neighbours of a held release tell it; else None.

        Raises
        ------
        UnknownMovieError
            No movie with an embedding has the id.
        """
        row = self._row_of.get(tconst)
        if row is None:
            reason = _no_embedding(tconst, self._movies.filter(tconst=tconst))
            raise UnknownMovieError(reason or f"no movie of the catalogue has the id {tconst!r}")
        found = self._among_stored(row, wanted)
        return None if found is None else self._shown(*found)

    def to_vector(self, vector: np.ndarray, wanted: Wanted) -> list[dict[str, Any]]:
        """Return the nearest movies of a unit vector of the release's encoder: float32, shape (dimension,)."""
        return self._shown(*self._among_all(self._vectors @ vector, wanted, None))

    def hold(self, *, masked: bool = False) -> None:
        """Read now what answers are made from; with ``masked``, also what answers without titles are made from."""
        _ = self._row_of, self._stored, self._numbers, self._movies, self._vectors
        if masked:
            _ = self._masked

    @property
    def masks_titles(self) -> bool:
        """Whether what masking titles takes has been read."""
        return "_masked" in vars(self)

    def _among_stored(self, row: int, wanted: Wanted) -> tuple[np.ndarray, np.ndarray] | None:
        """Return rows and cosines from the stored neighbours; None where these are too few to tell."""
        rows, cosines = self._stored[0][row], self._stored[1][row]
        whole = len(rows) == len(self._embedded) - 1
        if wanted.filters:
            years, votes = self._numbers
            passing = wanted.passing(years[rows], votes[rows])
            rows, cosines = rows[passing], cosines[passing]
        if len(rows) < wanted.k and not (whole and (len(rows) or not wanted.filters)):
            return None
        return rows[: wanted.k], cosines[: wanted.k]

    def _among_all(self, scores: np.ndarray, wanted: Wanted, itself: int | None) -> tuple[np.ndarray, np.ndarray]:
        import numpy as np

        from imdb_pipeline.embeddings.neighbours import nearest_first, on_grid

        passing = wanted.passing(*self._numbers)
        if itself is not None:
            passing[itself] = False
        rows = np.flatnonzero(passing)
        if wanted.filters and not len(rows):
            asked = " ".join(wanted.filters)
            raise InputError(f"no other movie {asked} has an embedding; widen the years or ask for fewer votes")
        cosines = on_grid(scores[rows])
        if len(rows) > 2 * wanted.k:  # all that are not below the k-th nearest, equal ones too
            least = np.partition(cosines, len(rows) - wanted.k)[len(rows) - wanted.k]
            rows, cosines = rows[cosines >= least], cosines[cosines >= least]
        order = nearest_first(cosines)[: wanted.k]
        return rows[order], cosines[order]

    def _shown(self, rows: np.ndarray, cosines: np.ndarray) -> list[dict[str, Any]]:
        shown = self._columns[rows].to_dicts()
        for movie, cosine in zip(shown, cosines.tolist(), strict=True):
            movie["cosine"] = cosine
        return shown

    @cached_property
    def _movies(self) -> pl.DataFrame:
        """All movies, to look one up and to show it."""
        return self._release.table("movies", "movies.parquet").select(*_SHOWN, "original_title").collect()

    @cached_property
    def _embedded(self) -> pl.DataFrame:
        """Those with an embedding, in the order of its rows."""
        tconst = self._release.table("movie_neighbours", "neighbours.parquet").select("tconst").collect()
        return tconst.join(self._movies, on="tconst", how="left", maintain_order="left")

    @cached_property
    def _columns(self) -> pl.DataFrame:
        return self._embedded.select(_SHOWN)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {tconst: row for row, tconst in enumerate(self._embedded["tconst"])}

    @cached_property
    def _numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """Release years and votes: float64, shape (n,), NaN where not known."""
        import polars as pl

        years, votes = self._embedded["release_year"], self._embedded["num_votes"]
        return years.cast(pl.Float64).to_numpy(), votes.cast(pl.Float64).to_numpy()

    @cached_property
    def _stored(self) -> tuple[Any, Any]:
        """Rows and cosines of the stored neighbours, by row: uint32 and float32, shape (n, k)."""
        neighbours = self._release.table("movie_neighbours", "neighbours.parquet")
        if not self._release.held:
            return _Scanned(neighbours, "neighbours"), _Scanned(neighbours, "cosines")
        lists = neighbours.select("neighbours", "cosines").collect()
        rows, cosines = (lists[name].explode(empty_as_null=False).to_numpy() for name in ("neighbours", "cosines"))
        return rows.reshape(len(lists), -1), cosines.reshape(len(lists), -1)

    @cached_property
    def _vectors(self) -> np.ndarray:
        from imdb_pipeline.embeddings.cache import load_embeddings

        return load_embeddings(self._release.revision("movie_embeddings"), self._release.store)[1]

    @cached_property
    def _masked(self) -> MaskedTitles:
        import json

        import polars as pl

        from imdb_pipeline.embeddings.cache import read_embeddings
        from imdb_pipeline.embeddings.masking import MaskedTitles

        revision = self._release.revision("movie_embeddings")
        if "titles.parquet" not in revision.manifest["files"]:
            raise NotPublishedError(
                f"movie_embeddings of {revision.day} has no vectors of the titles, which masking them takes: an older "
                "version made it; `imdb-pipeline run` on this home adds them, and embeds nothing else again"
            )
        listed = pl.read_parquet(revision.file("titles.parquet"))
        pool = self._release.store.pool(json.loads(revision.file("encoder.json").read_bytes())["pool"])
        titles = read_embeddings(listed["document_hash"], pool)
        movies = self._release.table("movies", "movies.parquet").select("tconst", "genres", "credits")
        tconst = self._embedded.lazy().select("tconst")
        known = tconst.join(movies, on="tconst", how="left", maintain_order="left").collect()
        return MaskedTitles(self._vectors, titles, known)


class _Scanned:
    """A column of lists of a table on disk, of which a row is read when it is asked for."""

    def __init__(self, table: pl.LazyFrame, name: str) -> None:
        self._column = table.select(name)

    def __getitem__(self, row: int) -> np.ndarray:
        return self._column.slice(row, 1).collect().to_series()[0].to_numpy()


def find_movie(movie: str, embedded: pl.DataFrame, movies: pl.DataFrame) -> int:
    """Return the row of ``embedded`` that a tconst, a title, or a title with its year in brackets names.

    Raises
    ------
    UnknownMovieError, SeveralMoviesError
        There is none or more than one; the message lists what might be meant.
    """
    import polars as pl

    wanted = movie.strip()
    row = named_row(wanted, embedded)
    if row is not None:
        return row
    named = (pl.col("tconst") == wanted) | (pl.col("title").str.to_lowercase() == wanted.lower())
    reason = _no_embedding(wanted, movies.filter(named))
    raise UnknownMovieError(
        reason or f"no movie with the id or the title {wanted!r} has an embedding; {spelling_hint(wanted, embedded)}"
    )


def _no_embedding(wanted: str, named: pl.DataFrame) -> str | None:
    """Return why movies of the catalogue cannot be compared; None where there are none."""
    if named.is_empty():
        return None
    return (
        f"{wanted} ({named['title'][0]}) has too few votes and is not recent, so it has no embedding; "
        "lower [catalogue] min_votes in settings.toml to include such movies"
    )


def named_row(wanted: str, movies: pl.DataFrame) -> int | None:
    """Return the row that a tconst, a title, or a title with its year in brackets names; None where there is none.

    Parameters
    ----------
    movies
        At least tconst, title, original_title, release_year, num_votes.

    Raises
    ------
    SeveralMoviesError
        There is more than one; the message lists them.
    """
    indexed = movies.with_row_index("row")
    hits = indexed.filter(tconst=wanted)
    if hits.is_empty():
        hits = _titled(wanted, indexed)
    if len(hits) <= 1:
        return int(hits["row"][0]) if len(hits) else None
    known = hits.sort("num_votes", "tconst", descending=[True, False], nulls_last=True).head(LISTED_TITLES)
    listed = known.sort("tconst").select("tconst", "title", "release_year").to_dicts()
    years = [f"{hit['tconst']} ({hit['release_year'] or 'no year'})" for hit in listed]
    more = f" and {len(hits) - len(years)} with fewer votes" if len(hits) > len(years) else ""
    raise SeveralMoviesError(
        f"{len(hits)} movies are called {wanted}: give one of {', '.join(years)}{more}, "
        "or the year in brackets after the title",
        listed,
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

    wanted = wanted[:_LONGEST_MISSPELLING]
    lower = pl.col("title").str.to_lowercase()
    holding = embedded.filter(lower.str.contains(wanted, literal=True)).sort(
        "num_votes", descending=True, nulls_last=True
    )
    if len(wanted) > 2 and len(holding):
        return holding["title"].unique(maintain_order=True).head(CLOSE_TITLES).to_list()
    pairs = {wanted[place : place + 2] for place in range(len(wanted) - 1)}
    shared = pl.sum_horizontal(
        [pl.lit(0, pl.Int32), *(lower.str.contains(pair, literal=True) for pair in sorted(pairs))]
    )
    alike = embedded.select("title", shared=shared).unique("title", maintain_order=True)
    alike = alike.sort("shared", descending=True, maintain_order=True).head(_ENOUGH_LIKE_IT)
    titles = {title.lower(): title for title in alike["title"]}
    return [titles[each] for each in difflib.get_close_matches(wanted, titles, n=CLOSE_TITLES, cutoff=0.7)]
