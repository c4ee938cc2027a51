"""What the ratings of their other movies tell of the people behind a movie: shrunken encodings, out of fold.

Which ratings a row may be told is decided in ``feed``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from imdb_pipeline.models.credits import FIELDS, ROLES, credits_of, known_people
from imdb_pipeline.models.feed import NO_FOLD
from imdb_pipeline.models.incidence import Incidence

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from imdb_pipeline.models.feed import Feed

STEPS = 3
SHRINKAGE = 2.0
"""Weighted movies that a person's encoding counts the overall mean for."""

UNEXPECTED_SHRINKAGE = 1.5
NEAR_YEARS = 2.0
"""Years over which a movie's say on a person's movies of other years falls to 1/e."""

FARTHEST_YEARS = 8
NEAR_SHRINKAGE = 1.0
YEARS = 4096
"""More than any year: a person's number times this, plus a year, is the number of a person in that year."""


@dataclass(frozen=True, eq=False)
class People:
    """Who is credited in the movies that feed.

    Attributes
    ----------
    ids
        The ids of known people, in order.
    credits
        By role: shape (movies of ``feed``, people).
    """

    feed: Feed
    ids: pl.Series
    credits: dict[str, Incidence]

    @classmethod
    def learn(cls, feed: Feed, movies: pl.DataFrame) -> People:
        """Learn from the movies of ``feed``, whose inputs are ``movies``."""
        ids = known_people(movies)
        return cls(feed, ids, credits_of(movies, ids))

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """The roles that anybody has, of ``ROLES``; the others have no features."""
        return tuple(role for role in ROLES if len(self.credits[role].keys))

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
                kinds += ["near_pooled", "near_most", "others_expected"]
                kinds += [f"unexpected_{kind}" for kind in ("pooled", "mean", "most", "least")]
            features += [(f"{role}_{kind}", FIELDS[role]) for kind in kinds]
        return features

    def matrix(self, movies: pl.DataFrame, places: np.ndarray, years: np.ndarray) -> np.ndarray:
        """Return the features of n movies: float32, shape (n, len(names)), NaN where nobody has the role.

        Parameters
        ----------
        movies
            Rows with at least ``credits``.
        places
            Where each stands in the feed, as from ``Feed.places_of``.
        years
            float32, shape (n,): when each was released, as ``Features`` has it; NaN where that is unknown.
        """
        import numpy as np

        folds = self.feed.folds_of(places)
        itself = (places >= 0).astype(np.float32)
        credits = credits_of(movies, self.ids)
        matrix = np.empty((len(movies), len(self.names)), dtype=np.float32)
        for fold in np.unique(folds):
            rows = np.flatnonzero(folds == fold)
            tables = self._without_none if fold == NO_FOLD else self._tables(int(fold))
            columns = []
            for role in self.roles:
                people, table = credits[role].take(rows), tables[role]
                known = people.most(self._careers[role]["movies"]) - itself[rows]
                since = np.maximum(years[rows] - people.least(self._careers[role]["first_year"]), 0)
                columns += [
                    (people.matrix @ table["sum"]) / (people.matrix @ table["weight"] + np.float32(SHRINKAGE)),
                    *_statistics(people, table["step_1"]),
                    people.most(table["rated_movies"]),
                    known,
                    since,
                ]
                if role == "cast":
                    billed = people.billed
                    columns.append((billed @ table["sum"]) / (billed @ table["weight"] + np.float32(SHRINKAGE)))
                    columns.append(people.first(table["step_1"]))
                if role == "anyone":
                    for step in range(2, STEPS + 1):
                        columns += _statistics(people, table[f"step_{step}"])
                    columns += self._near(people, years[rows], table)
                    columns.append(self._others_expected(people, places[rows], int(fold), table))
                    weight = people.matrix @ table["weight"] + np.float32(UNEXPECTED_SHRINKAGE)
                    columns.append((people.matrix @ table["unexpected_sum"]) / weight)
                    columns += _statistics(people, table["unexpected"])
            matrix[rows] = np.stack(columns, axis=1)
        return matrix

    def _near(self, people: Incidence, years: np.ndarray, table: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Return what the people's movies of near years say, pooled and of the best of them: float32, shape (n,)."""
        import numpy as np

        year = np.repeat(years, np.diff(people.starts))
        known = np.isfinite(year) & (people.keys < people.n_keys)
        wanted = people.keys.astype(np.int64) * YEARS + np.where(known, year, 0).astype(np.int64)
        total, weight = (np.zeros(len(wanted), dtype=np.float32) for _ in range(2))
        numbers = self._person_years
        if len(numbers):
            says = np.append(np.exp(-np.arange(FARTHEST_YEARS + 1) / NEAR_YEARS), 0).astype(np.float32)
            # A person's years stand side by side: one search finds the first that is near, the others follow it.
            first = np.searchsorted(numbers, wanted - FARTHEST_YEARS)
            for step in range(2 * FARTHEST_YEARS + 1):
                places = np.minimum(first + step, len(numbers) - 1)
                years_off = np.minimum(np.abs(numbers[places] - wanted), FARTHEST_YEARS + 1)
                years_off[~known | (first + step >= len(numbers))] = FARTHEST_YEARS + 1
                total += says[years_off] * table["year_sum"][places]
                weight += says[years_off] * table["year_weight"][places]
        pooled = people.total_of(total) / (people.total_of(weight) + np.float32(NEAR_SHRINKAGE))
        return [pooled, people.most_of(total / (weight + np.float32(NEAR_SHRINKAGE)))]

    def _others_expected(
        self, people: Incidence, places: np.ndarray, fold: int, table: dict[str, np.ndarray]
    ) -> np.ndarray:
        """Return the mean rating to be expected of the people's other movies: float32, NaN where there are none."""
        import numpy as np

        feeds = places >= 0
        itself = np.where(feeds, self.feed.expected[fold][places], 0) * people.counts
        count = people.matrix @ self._careers["anyone"]["movies"] - feeds * people.counts
        total = people.matrix @ table["expected_sum"] - itself
        return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)

    @cached_property
    def _without_none(self) -> dict[str, dict[str, np.ndarray]]:
        """The tables for movies that do not feed."""
        return self._tables(NO_FOLD)

    def _tables(self, fold: int) -> dict[str, dict[str, np.ndarray]]:
        """Return numbers of each person, by role and name, as if the movies of ``fold`` had no rating.

        Each float32, shape (people + 1,); whoever is unknown comes last and has 0. Those of a person in a year are in
        the order of ``_person_years``.
        """
        import numpy as np

        weights, weighted, unexpected = self.feed.without(fold)
        tables = {}
        for role in self.roles:
            of_people = self.credits[role].matrix.T
            summed, weight = of_people @ weighted, of_people @ weights
            tables[role] = {
                "sum": summed,
                "weight": weight,
                "step_1": summed / (weight + np.float32(SHRINKAGE)),
                "rated_movies": of_people @ (weights > 0).astype(np.float32),
            }
        if "anyone" in tables:
            # A movie is worth what its rating says and, weighing as much as a whole rating, what its people say;
            # a person what all their movies are worth, those whose rating is left out among them.
            people, values = self.credits["anyone"], tables["anyone"]["step_1"]
            of_people = people.matrix.T
            movies_of = of_people @ np.ones(len(people), dtype=np.float32)
            for step in range(2, STEPS + 1):
                said = (people.matrix @ values) / np.maximum(people.counts, 1)
                worth = (weighted + said) / (weights + 1)
                values = (of_people @ worth) / (movies_of + np.float32(SHRINKAGE))
                tables["anyone"][f"step_{step}"] = values
            of_anyone = tables["anyone"]
            of_anyone["expected_sum"] = of_people @ self.feed.expected[fold]
            of_anyone["unexpected_sum"] = of_people @ unexpected
            of_anyone["unexpected"] = of_anyone["unexpected_sum"] / (
                of_anyone["weight"] + np.float32(UNEXPECTED_SHRINKAGE)
            )
            numbers, places, movies = self._in_years
            for name, of_movie in (("year_sum", weighted), ("year_weight", weights)):
                added = np.bincount(places, weights=of_movie[movies], minlength=len(numbers))
                tables["anyone"][name] = added.astype(np.float32)
        return tables

    @property
    def _person_years(self) -> np.ndarray:
        """The numbers of people in years that have a movie, in order: int64."""
        return self._in_years[0]

    @cached_property
    def _in_years(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ``_person_years``, and for every credit in a movie with a year its place there and its movie."""
        import numpy as np

        credits = self.credits["anyone"]
        movies = np.repeat(np.arange(len(credits)), np.diff(credits.starts))
        years = self.feed.movies["release_year"].fill_null(0).to_numpy().astype(np.int64)[movies]
        with_year = years > 0
        numbers, places = np.unique(
            credits.keys[with_year].astype(np.int64) * YEARS + years[with_year], return_inverse=True
        )
        return numbers, places, movies[with_year]

    @cached_property
    def _careers(self) -> dict[str, dict[str, np.ndarray]]:
        """Return what is known of each person without any rating, by role: number of movies, year of the first."""
        import numpy as np
        import polars as pl

        years = self.feed.movies["release_year"].cast(pl.Float32).fill_null(np.inf).to_numpy()
        careers = {}
        for role in self.roles:
            credits = self.credits[role]
            first = np.full(len(self.ids) + 1, np.inf, dtype=np.float32)
            np.minimum.at(first, credits.keys, np.repeat(years, np.diff(credits.starts)))
            careers[role] = {
                "movies": np.bincount(credits.keys, minlength=len(self.ids) + 1).astype(np.float32),
                "first_year": first,
            }
        return careers

    def prepare(self) -> None:
        """Compute what every prediction needs, so that the first is as fast as the next."""
        _ = self._without_none, self._careers


def _statistics(people: Incidence, values: np.ndarray) -> list[np.ndarray]:
    return [people.mean(values), people.most(values), people.least(values)]
