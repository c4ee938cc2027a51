"""The synthetic sample catalogue: four dumps in IMDb's own format, made up from a seed, with no row of IMDb's.

Here stands how much of what is written, and the writing. Who the people are is in ``sample_people``, what movies are
called in ``sample_lexicon``, what the titles are and how they are rated in ``sample_titles``, the words in
``sample_words``. Reading dumps is not done here.
"""

from __future__ import annotations

import gzip
import math
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from imdb_pipeline.dumps.sample_lexicon import Franchises, Lexicon
from imdb_pipeline.dumps.sample_people import People, id_numbers, id_texts
from imdb_pipeline.dumps.sample_titles import KINDS, Titles
from imdb_pipeline.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import polars as pl

SAMPLE_VERSION = "1"
"""Part of the cache key of what is made from a sample; raised when the same arguments write other bytes."""

IMDB_RATED_MOVIES = 242_552
"""Movies with 30 votes or more in IMDb's dumps of May 2025: ``scale=1.0``."""

COLUMNS = {
    "title.basics.tsv.gz": "tconst titleType primaryTitle originalTitle isAdult "
    "startYear endYear runtimeMinutes genres",
    "title.ratings.tsv.gz": "tconst averageRating numVotes",
    "title.principals.tsv.gz": "tconst ordering nconst category job characters",
    "name.basics.tsv.gz": "nconst primaryName birthYear deathYear primaryProfession knownForTitles",
}

_MIN_MOVIES = 20
_MAX_SCALE = 4.0
_CHUNK = 200_000  # rows in memory at once; the bytes depend on it
_OTHER_SHARES = (0.825, 0.099, 0.029, 0.026, 0.006, 0.005, 0.004, 0.001, 0.0)  # of KINDS[3:]


@dataclass(frozen=True)
class _Plan:
    """How many rows of what."""

    seed: int
    movies: int
    titles: int
    people: int
    movie_richness: float  # multiplies the mean number of credits
    other_richness: float

    @classmethod
    def of(cls, movies: int, seed: int, scale: float | None) -> _Plan:
        asked = f"movies={movies}"
        if scale is not None:
            if not (math.isfinite(scale) and 0 < scale <= _MAX_SCALE):
                raise InputError(f"scale must be above 0 and at most {_MAX_SCALE:g}, not {scale}")
            movies = round(IMDB_RATED_MOVIES * scale)
            asked = f"scale={scale}, which is {movies} rated movies"
        if not _MIN_MOVIES <= movies <= IMDB_RATED_MOVIES * _MAX_SCALE:
            raise InputError(f"a sample has {_MIN_MOVIES} to {IMDB_RATED_MOVIES * _MAX_SCALE:.0f} movies, not {asked}")
        if seed < 0:
            raise InputError(f"seed must be 0 or more, not {seed}")
        if scale is None:
            return cls(seed, movies, movies * 35, movies * 30, 1.0, 1.0)
        return cls(seed, movies, round(movies * 47.99), round(movies * 58.96), 1.9, 2.75)

    def rng(self, *stage: int) -> np.random.Generator:
        import numpy as np

        return np.random.default_rng([self.seed, *stage])


def write_sample(folder: Path, *, movies: int = 3000, seed: int = 0, scale: float | None = None) -> dict[str, int]:
    """Write a synthetic catalogue as the four dumps that IMDb publishes; the same arguments give the same bytes.

    Parameters
    ----------
    folder
        Where the four ``.tsv.gz`` files go; created if missing. A file appears under its name once all are complete.
    movies
        Movies (titleType movie or tvMovie) with 30 votes or more: exactly so many. About 35 titles of all kinds each.
    seed
        0 or more.
    scale
        Takes the place of ``movies``: 1.0 is the size of the real dumps in every file.

    Returns
    -------
    dict
        Rows by file name.

    Raises
    ------
    InputError
        If so many movies cannot be made, or the seed is negative.
    """
    plan = _Plan.of(movies, seed, scale)
    folder.mkdir(parents=True, exist_ok=True)
    parts = {name: folder / f".{name}.part" for name in COLUMNS}
    try:
        with _Files(parts) as files:
            _write(plan, files)
        for name, part in parts.items():
            part.replace(folder / name)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    return files.rows


class _Files:
    """The four files while they are written, and their rows so far."""

    def __init__(self, paths: dict[str, Path]) -> None:
        self.rows = dict.fromkeys(paths, 0)
        self._paths = paths
        self._stack = ExitStack()
        self._streams: dict[str, gzip.GzipFile] = {}

    def __enter__(self) -> _Files:
        for name, path in self._paths.items():
            raw = self._stack.enter_context(path.open("wb"))
            self._streams[name] = self._stack.enter_context(gzip.GzipFile("", "wb", 1, raw, mtime=0))
            self._streams[name].write(COLUMNS[name].replace(" ", "\t").encode() + b"\n")
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def add(self, name: str, frame: pl.DataFrame) -> None:
        buffer = BytesIO()
        frame.select(COLUMNS[name].split(" ")).write_csv(
            buffer, include_header=False, separator="\t", quote_style="never", null_value="\\N"
        )
        self._streams[name].write(buffer.getbuffer())
        self.rows[name] += len(frame)


def _write(plan: _Plan, files: _Files) -> None:
    import numpy as np

    rng = plan.rng(0)
    kinds = _draw_kinds(rng, plan)
    numbers = id_numbers(rng, plan.titles)
    people = People(rng, plan.movies, plan.people)
    lexicon = Lexicon()
    franchises = Franchises(rng, people, lexicon, rated=np.flatnonzero(kinds == 0))
    for start in range(0, plan.titles, _CHUNK):
        span = slice(start, start + _CHUNK)
        richness = np.where(kinds[span] < 3, plan.movie_richness, plan.other_richness)
        titles = Titles(plan.rng(1, start), start, kinds[span], richness, people, lexicon, franchises)
        tconst = id_texts("tt", numbers[span])
        files.add("title.basics.tsv.gz", titles.basics(tconst))
        files.add("title.ratings.tsv.gz", titles.ratings(tconst))
        files.add("title.principals.tsv.gz", titles.principals(tconst))
    for start in range(0, len(people.in_order), _CHUNK):
        span = slice(start, start + _CHUNK)
        files.add("name.basics.tsv.gz", people.basics(plan.rng(2, start), span, numbers))


def _draw_kinds(rng: np.random.Generator, plan: _Plan) -> np.ndarray:
    """An index into ``KINDS`` per title; at least one of each, and exactly ``plan.movies`` of the first."""
    import numpy as np

    few, unrated = round(plan.movies * 0.6), round(plan.movies * 1.97)
    rest = plan.titles - plan.movies - few - unrated
    others = np.maximum(1, np.floor(np.array(_OTHER_SHARES) * rest)).astype(int)
    others[0] += rest - others.sum()
    kinds = np.repeat(np.arange(len(KINDS), dtype=np.uint8), [plan.movies, few, unrated, *others])
    rng.shuffle(kinds)
    return kinds
