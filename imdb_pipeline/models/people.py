"""What the ratings of their other movies tell of the people behind a movie: shrunken encodings, out of fold.

The movies that feed the encodings are dealt into folds by their id. A movie of one of the folds is encoded as if no
movie of that fold had a rating, in all steps from person to movie to person: so no rating comes back to its own row,
and the rows that a predictor learns from look like those it will meet. Any other movie is encoded from all folds.
(Target statistics with hold-out: Micci-Barreca, SIGKDD Explorations 3(1), 2001; the folds as in Prokhorenkova et al.,
"CatBoost", section 3.2, 2018.)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import PipelineError
from imdb_pipeline.models.credits import FIELDS, ROLES, Credits, credits_of, known_people
from imdb_pipeline.models.saved import read_arrays, write_arrays

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import polars as pl

    from imdb_pipeline.models.examples import Rated

FOLDS = 10
STEPS = 3
SHRINKAGE = 2.0
"""Weighted movies that a person's encoding counts the overall mean for."""

HALF_WEIGHT_VOTES = 20.0
"""Votes with which a movie's rating weighs half as much as with very many."""

MOVIES_FILE = "people_movies.parquet"
PEOPLE_FILE = "people.parquet"


@dataclass(frozen=True, eq=False)
class People:
    """The movies whose ratings feed the encodings, and who is credited in them.

    Attributes
    ----------
    movies
        One row per movie that feeds, sorted by ``tconst``: ``tconst`` String, ``release_year`` Int32 (may be null),
        ``rating``, ``weight`` Float32, ``fold`` Int32.
    ids
        The ids of known people, in order.
    credits
        By role: shape (movies, people).
    roles
        Those of ``ROLES`` that have people; the others have no features.
    """

    movies: pl.DataFrame
    ids: pl.Series
    credits: dict[str, Credits]

    @classmethod
    def learn(cls, *rated: Rated, folds: int = FOLDS) -> People:
        """Learn from rated movies. Votes say what a rating weighs, and stand in no feature."""
        import numpy as np
        import polars as pl

        movies = pl.concat(
            [
                each.movies.select("tconst", pl.col("release_year").cast(pl.Int32), "credits").with_columns(
                    rating=pl.Series(each.ratings, dtype=pl.Float32),
                    weight=pl.Series(each.votes / (each.votes + HALF_WEIGHT_VOTES), dtype=pl.Float32),
                )
                for each in rated
            ]
        ).sort("tconst")
        fold = np.array([fold_of(tconst, folds) for tconst in movies["tconst"]], dtype=np.int32)
        ids = known_people(movies)
        credits = credits_of(movies, ids)
        return cls(movies.drop("credits").with_columns(fold=fold), ids, credits)

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """The roles that anybody has: those of ``ROLES`` that have features."""
        return tuple(role for role in ROLES if len(self.credits[role].people))

    @property
    def names(self) -> list[str]:
        """The names of the features, in order."""
        return [name for name, _ in self._features()]

    @property
    def fields(self) -> list[str]:
        """The document's field that each feature comes from."""
        return [field for _, field in self._features()]

    def _features(self) -> list[tuple[str, str]]:
        features = []
        for role in self.roles:
            kinds = ["pooled", "mean", "most", "least", "rated_movies", "known_movies", "first_year_ago"]
            if role == "cast":
                kinds += ["billed", "first"]
            if role == "anyone":
                kinds += [f"step_{step}_{kind}" for step in range(2, STEPS + 1) for kind in ("mean", "most", "least")]
            features += [(f"{role}_{kind}", FIELDS[role]) for kind in kinds]
        return features

    def matrix(self, movies: pl.DataFrame) -> np.ndarray:
        """Return the features of n movies: float32, shape (n, len(names)), NaN where nobody has the role.

        Parameters
        ----------
        movies
            Rows with at least ``tconst``, ``release_year``, ``credits``. One that feeds (by its ``tconst``) is encoded
            without its fold.
        """
        import numpy as np
        import polars as pl

        places = self.movies.select("tconst", "fold").with_columns(known=1)
        found = movies.select("tconst").join(places, on="tconst", how="left", maintain_order="left")
        folds = found["fold"].fill_null(-1).to_numpy()
        itself = found["known"].fill_null(0).to_numpy().astype(np.float32)
        years = movies["release_year"].cast(pl.Float32).fill_null(np.nan).to_numpy()
        credits = credits_of(movies, self.ids)
        matrix = np.empty((len(movies), len(self.names)), dtype=np.float32)
        for fold in np.unique(folds):
            rows = np.flatnonzero(folds == fold)
            tables = self._without_any if fold == -1 else self._tables(int(fold))
            columns = []
            for role in self.roles:
                people, table = credits[role].take(rows), tables[role]
                columns += [
                    (people.matrix @ table["sum"]) / (people.matrix @ table["weight"] + np.float32(SHRINKAGE)),
                    people.mean(table["step_1"]),
                    people.most(table["step_1"]),
                    people.least(table["step_1"]),
                    people.most(table["rated_movies"]),
                    people.most(self._careers[role]["movies"]) - itself[rows],
                    np.maximum(years[rows] - people.least(self._careers[role]["first_year"]), 0),
                ]
                if role == "cast":
                    columns += [
                        (people.billed @ table["sum"]) / (people.billed @ table["weight"] + np.float32(SHRINKAGE)),
                        people.first(table["step_1"]),
                    ]
                if role == "anyone":
                    for step in range(2, STEPS + 1):
                        values = table[f"step_{step}"]
                        columns += [people.mean(values), people.most(values), people.least(values)]
            matrix[rows] = np.stack(columns, axis=1)
        return matrix

    @cached_property
    def _without_any(self) -> dict[str, dict[str, np.ndarray]]:
        """The tables for movies that do not feed: nothing is left out."""
        return self._tables(-1)

    def _tables(self, fold: int) -> dict[str, dict[str, np.ndarray]]:
        """Return numbers of each person, by role and name, as if the movies of ``fold`` had no rating.

        Each float32, shape (people + 1,); whoever is unknown comes last and has 0.
        """
        import numpy as np

        used = self.movies["fold"].to_numpy() != fold
        weight = np.where(used, self.movies["weight"].to_numpy(), 0).astype(np.float32)
        rating = self.movies["rating"].to_numpy()
        total = weight.sum(dtype=np.float64)
        mean = float(weight.astype(np.float64) @ rating / total) if total else 0.0
        weighted = weight * (rating - np.float32(mean))
        tables = {}
        for role in self.roles:
            of_people = self.credits[role].matrix.T
            summed, weights = of_people @ weighted, of_people @ weight
            tables[role] = {
                "sum": summed,
                "weight": weights,
                "step_1": summed / (weights + np.float32(SHRINKAGE)),
                "rated_movies": of_people @ used.astype(np.float32),
            }
        if "anyone" in tables:
            # A movie is worth what its rating says and, for one more vote's worth, what its people say;
            # a person what all their movies are worth, those without a rating included.
            people, values = self.credits["anyone"], tables["anyone"]["step_1"]
            of_people = people.matrix.T
            movies_of = of_people @ np.ones(len(people), dtype=np.float32)
            for step in range(2, STEPS + 1):
                said = (people.matrix @ values) / np.maximum(people.counts, 1)
                worth = (weighted + said) / (weight + 1)
                values = (of_people @ worth) / (movies_of + np.float32(SHRINKAGE))
                tables["anyone"][f"step_{step}"] = values
        return tables

    @cached_property
    def _careers(self) -> dict[str, dict[str, np.ndarray]]:
        """Return what is known of each person without any rating, by role: number of movies, year of the first."""
        import numpy as np
        import polars as pl

        years = self.movies["release_year"].cast(pl.Float32).fill_null(np.inf).to_numpy()
        careers = {}
        for role in self.roles:
            credits = self.credits[role]
            first = np.full(len(self.ids) + 1, np.inf, dtype=np.float32)
            np.minimum.at(first, credits.people, np.repeat(years, np.diff(credits.starts)))
            careers[role] = {
                "movies": np.bincount(credits.people, minlength=len(self.ids) + 1).astype(np.float32),
                "first_year": first,
            }
        return careers

    def save(self, folder: Path) -> None:
        """Write the movies, the people and their credits into ``folder``."""
        import polars as pl

        self.movies.write_parquet(folder / MOVIES_FILE)
        pl.DataFrame({"nconst": self.ids}).write_parquet(folder / PEOPLE_FILE)
        arrays = {}
        for role, credits in self.credits.items():
            arrays |= {f"{role}_starts": credits.starts, f"{role}_people": credits.people}
        write_arrays(folder, arrays)

    @classmethod
    def load(cls, folder: Path) -> People:
        """Read what ``save`` wrote. Raises ``PipelineError`` naming a bad file."""
        movies, people = _read(folder / MOVIES_FILE), _read(folder / PEOPLE_FILE)
        arrays = read_arrays(folder, {f"{role}_{kind}": 1 for role in ROLES for kind in ("starts", "people")})
        credits = {role: Credits(arrays[f"{role}_starts"], arrays[f"{role}_people"], len(people)) for role in ROLES}
        loaded = cls(movies, people["nconst"], credits)
        _ = loaded._without_any, loaded._careers  # so that the first prediction is as fast as the next
        return loaded


def fold_of(tconst: str, folds: int) -> int:
    """Return the fold of a movie, from 0: by its id, so that it stays there from one day to the next."""
    return int(hashlib.sha256(f"fold {tconst}".encode()).hexdigest()[:8], 16) % folds


def _read(path: Path) -> Any:
    """Read a Parquet file, or raise ``PipelineError`` naming it."""
    import polars as pl

    try:
        return pl.read_parquet(path)
    except FileNotFoundError:
        raise PipelineError(f"{path}: missing file of a saved predictor; fit it again") from None
    except pl.exceptions.PolarsError as error:
        raise PipelineError(f"{path}: not Parquet ({error}); fit the predictor again") from None
