"""All that ratings of other movies tell of a movie, by its people and the parts of its title, as features and files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import PipelineError
from imdb_pipeline.models.credits import ROLES
from imdb_pipeline.models.features import STRUCTURE
from imdb_pipeline.models.feed import Feed
from imdb_pipeline.models.incidence import Incidence
from imdb_pipeline.models.people import People
from imdb_pipeline.models.saved import FIT_AGAIN, read_arrays, write_arrays
from imdb_pipeline.models.title_parts import KINDS, TitleParts

if TYPE_CHECKING:
    from pathlib import Path

    import lightgbm
    import numpy as np
    import polars as pl

    from imdb_pipeline.models.examples import Rated
    from imdb_pipeline.models.features import Features

MOVIES_FILE = "feed.parquet"
PEOPLE_FILE = "people.parquet"
PARTS_FILE = "title_parts.parquet"
EXPECTING_FILE = "expecting_trees.txt"
UNEXPECTED = "anyone_unexpected_pooled"
EXPECTED = {"expected": "title", "expected_of_people": "credits"}
"""The last features, of what is expected of the movie itself, alone and with what its people add; and their fields."""


@dataclass(frozen=True, eq=False)
class Encodings:
    """The movies that feed, and what they tell of people and of the parts of titles."""

    feed: Feed
    people: People
    title_parts: TitleParts

    @classmethod
    def learn(cls, features: Features, *rated: Rated, by_year: bool, partition: int = 0) -> Encodings:
        """Learn from rated movies, as ``Feed.learn`` does. Votes say what a rating weighs, and stand in no feature."""
        feed, movies = Feed.learn(features, *rated, by_year=by_year, partition=partition)
        return cls(feed, People.learn(feed, movies), TitleParts.learn(feed, movies))

    @property
    def names(self) -> list[str]:
        """The names of the features, in order."""
        return [*self.people.names, *self.title_parts.names, *EXPECTED]

    @property
    def fields(self) -> list[str]:
        """The document's field that each feature comes from."""
        return [*self.people.fields, *self.title_parts.fields, *EXPECTED.values()]

    def matrix(self, movies: pl.DataFrame, structure: np.ndarray) -> np.ndarray:
        """Return the features of n movies: float32, shape (n, len(names)), NaN where there is nothing to go by.

        Parameters
        ----------
        movies
            With the columns ``INPUT_COLUMNS``. One that feeds, by its ``tconst``, is encoded without its fold.
        structure
            float32, shape (n, features): the features of ``Features``.
        """
        import numpy as np

        places = self.feed.places_of(movies)
        people = self.people.matrix(movies, places, structure[:, STRUCTURE.index("release_year")])
        expected = self.feed.expect(structure, places)
        unexpected = people[:, self.people.names.index(UNEXPECTED)] if UNEXPECTED in self.people.names else 0
        both = np.stack([expected, expected + unexpected], axis=1)
        return np.concatenate([people, self.title_parts.matrix(movies, self.feed.folds_of(places)), both], axis=1)

    def save(self, folder: Path) -> None:
        """Write all of it into ``folder``: Parquet, ``arrays.safetensors``, LightGBM's text."""
        import polars as pl

        self.feed.movies.write_parquet(folder / MOVIES_FILE)
        pl.DataFrame({"nconst": self.people.ids}).write_parquet(folder / PEOPLE_FILE)
        parts = [pl.DataFrame({"part": known}).select(kind=pl.lit(kind), part="part") for kind, known in self._parts]
        pl.concat(parts).write_parquet(folder / PARTS_FILE)
        arrays = {f"title_{kind}": encodings for kind, encodings in self.title_parts.encodings.items()}
        arrays["expected"] = self.feed.expected
        for role, credits in self.people.credits.items():
            arrays |= {f"{role}_starts": credits.starts, f"{role}_people": credits.keys}
        write_arrays(folder, arrays)
        (folder / EXPECTING_FILE).write_text(self.feed.expecting.model_to_string(), encoding="utf-8")

    @property
    def _parts(self) -> list[tuple[str, pl.Series]]:
        return list(self.title_parts.parts.items())

    @classmethod
    def load(cls, folder: Path, features: Features) -> Encodings:
        """Read what ``save`` wrote. Raises ``PipelineError`` naming a bad file."""
        import polars as pl

        movies, ids, parts = (_read(folder / name) for name in (MOVIES_FILE, PEOPLE_FILE, PARTS_FILE))
        wanted = {f"{role}_{kind}": 1 for role in ROLES for kind in ("starts", "people")}
        arrays = read_arrays(folder, wanted | {f"title_{kind}": 2 for kind in KINDS} | {"expected": 2})
        feed = Feed(movies, arrays["expected"], read_trees(folder / EXPECTING_FILE, len(features.names)))
        credits = {role: Incidence(arrays[f"{role}_starts"], arrays[f"{role}_people"], len(ids)) for role in ROLES}
        people = People(feed, ids["nconst"], credits)
        people.prepare()
        known = {kind: parts.filter(pl.col("kind") == kind)["part"] for kind in KINDS}
        return cls(feed, people, TitleParts(known, {kind: arrays[f"title_{kind}"] for kind in KINDS}))


def read_trees(path: Path, features: int) -> lightgbm.Booster:
    """Read LightGBM's text, of trees of so many features, or raise ``PipelineError`` naming the file."""
    import lightgbm

    if not path.is_file():
        raise PipelineError(f"{path}: missing file of a saved predictor; {FIT_AGAIN}")
    try:
        trees = lightgbm.Booster(model_file=path)
    except lightgbm.basic.LightGBMError as error:
        raise PipelineError(f"{path}: not a LightGBM model ({error}); {FIT_AGAIN}") from None
    if trees.num_feature() != features:
        raise PipelineError(f"{path}: {trees.num_feature()} features, the other files have {features}; {FIT_AGAIN}")
    return trees


def _read(path: Path) -> Any:
    """Read a Parquet file, or raise ``PipelineError`` naming it."""
    import polars as pl

    try:
        return pl.read_parquet(path)
    except FileNotFoundError:
        raise PipelineError(f"{path}: missing file of a saved predictor; {FIT_AGAIN}") from None
    except pl.exceptions.PolarsError as error:
        raise PipelineError(f"{path}: not Parquet ({error}); {FIT_AGAIN}") from None
