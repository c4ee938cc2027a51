"""The movies whose ratings feed encodings, dealt into folds by their id so that none is told its own rating.

A movie of one of the folds is encoded as if no movie of that fold had a rating, in all steps from movie to person to
movie: no rating comes back to its own row, and the rows that a predictor learns from look like those it will meet. Any
other movie is encoded from all folds. (Target statistics: Micci-Barreca, SIGKDD Explorations 3(1), 2001; why a row's
own target must stay out: Prokhorenkova et al., "CatBoost: unbiased boosting with categorical features", 2018.)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imdb_pipeline.models.incidence import numbers_of

if TYPE_CHECKING:
    import lightgbm
    import numpy as np
    import polars as pl

    from imdb_pipeline.models.examples import Rated
    from imdb_pipeline.models.features import Features

FOLDS = 10
FEWEST_FOLDS = 5
"""Of years: with fewer, leaving one out leaves too little."""

NO_FOLD = -1
"""In place of a fold: nothing is left out."""

HALF_WEIGHT_VOTES = 20.0
"""Votes with which a movie's rating weighs half as much as with very many."""

EXPECTING_TREES = 150
THREADS = 4
SINGLE_THREAD_ROWS = 5_000


@dataclass(frozen=True, eq=False)
class Feed:
    """Rated movies that feed encodings.

    Attributes
    ----------
    movies
        Sorted by ``tconst``: ``tconst`` String, ``release_year`` Int32 (may be null), ``rating``, ``weight`` Float32,
        ``fold`` Int32. Votes are in the weight alone, and say nothing of the movie's own row.
    expected
        float32, shape (folds + 1, n): the rating of each to be expected without knowing its people, as a difference
        from the mean, from ratings outside a fold; the last row from all.
    expecting
        The trees that say so of a movie that does not feed.
    """

    movies: pl.DataFrame
    expected: np.ndarray
    expecting: lightgbm.Booster

    @classmethod
    def learn(cls, features: Features, *rated: Rated, by_year: bool, partition: int = 0) -> tuple[Feed, pl.DataFrame]:
        """Return what feeds, and its inputs in the same order.

        Parameters
        ----------
        features
            What a rating is expected from.
        by_year
            Whether a fold is of neighbouring years rather than drawn by id: a movie is then told nothing of its own
            years, as movies of years to come will not be.
        partition
            Another number draws other folds by id. What a movie outside all folds is told is the same in each.
        """
        import numpy as np
        import polars as pl

        movies = pl.concat([each.movies for each in rated])
        ratings, votes = (np.concatenate([getattr(each, name) for each in rated]) for name in ("ratings", "votes"))
        frame = movies.select("tconst", pl.col("release_year").cast(pl.Int32)).with_columns(
            rating=pl.Series(ratings, dtype=pl.Float32),
            weight=pl.Series(votes / (votes + HALF_WEIGHT_VOTES), dtype=pl.Float32),
            fold=_folds(movies, by_year=by_year, partition=partition),
        )
        order = frame["tconst"].arg_sort()
        frame, movies = frame[order], movies[order]
        return cls(frame, *_expected(features.matrix(movies), frame)), movies

    def __len__(self) -> int:
        return len(self.movies)

    @property
    def folds(self) -> list[int]:
        """The numbers of the folds, and ``NO_FOLD``."""
        return [*range(len(self.expected) - 1), NO_FOLD]

    def places_of(self, movies: pl.DataFrame) -> np.ndarray:
        """Return the row of each movie that feeds, by its ``tconst``, and -1 for others: int32, shape (n,)."""
        import numpy as np

        places = numbers_of(movies["tconst"], self.movies["tconst"])
        return np.where(places < len(self), places, -1)

    def folds_of(self, places: np.ndarray) -> np.ndarray:
        """Return the folds of movies from ``places_of``, ``NO_FOLD`` for those that do not feed: int32, shape (n,)."""
        import numpy as np

        return np.append(self.movies["fold"].to_numpy(), np.int32(NO_FOLD))[places]

    def expect(self, structure: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return the ratings to be expected, as differences from the mean: float32, shape (n,).

        Parameters
        ----------
        structure
            float32, shape (n, features): of ``Features``.
        places
            As from ``places_of``. Of a movie that feeds it is what was expected without its fold.
        """
        import numpy as np

        found = self.expected[self.folds_of(places), places]
        new = np.flatnonzero(places < 0)
        if len(new):
            predicted = self.expecting.predict(structure[new], num_threads=threads_for(len(new)))
            found[new] = np.asarray(predicted) - self._mean(self.movies["weight"].to_numpy())
        return found

    def _mean(self, weights: np.ndarray) -> float:
        """Return the weighted mean of the ratings that feed, 0 where nothing does."""
        import numpy as np

        weights, total = weights.astype(np.float64), weights.sum(dtype=np.float64)
        return float(weights @ self.movies["rating"].to_numpy() / total) if total else 0.0

    def without(self, fold: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what feeds where ``fold`` is left out: float32, shape (n,) each, 0 for the movies of ``fold``.

        These are the weights, and differences of the ratings, times the weight, from their mean and from ``expected``.
        """
        import numpy as np

        weights = np.where(self.movies["fold"].to_numpy() != fold, self.movies["weight"].to_numpy(), 0)
        ratings = self.movies["rating"].to_numpy()
        weighted = (weights * (ratings - self._mean(weights))).astype(np.float32)
        return weights.astype(np.float32), weighted, weighted - weights * self.expected[fold]


def _folds_by_id(ids: pl.Series, partition: int) -> pl.Series:
    """Return the fold of each movie, from 0, by its id alone: it stays there from one day to the next."""
    import polars as pl

    digests = (hashlib.sha256(f"fold {partition} {tconst}".encode()).hexdigest() for tconst in ids)
    return pl.Series([int(digest[:8], 16) % FOLDS for digest in digests], dtype=pl.Int32)


def _folds(movies: pl.DataFrame, *, by_year: bool, partition: int = 0) -> pl.Series:
    """Return the fold of each movie; by id all the same where the movies are of too few years."""
    by_years = _folds_by_year(movies["release_year"]) if by_year else None
    if by_years is not None and by_years.n_unique() >= FEWEST_FOLDS:
        return by_years
    return _folds_by_id(movies["tconst"], partition)


def _folds_by_year(years: pl.Series) -> pl.Series:
    """Return the fold of each movie, from 0: neighbouring years, about as many movies in each; no year is the first."""
    import polars as pl

    earlier = (years.fill_null(0).rank("min") - 1) / max(len(years), 1)
    return (earlier * FOLDS).floor().rank("dense").cast(pl.Int32) - 1


def _expected(matrix: np.ndarray, movies: pl.DataFrame) -> tuple[np.ndarray, lightgbm.Booster]:
    """Return ``Feed.expected`` and ``Feed.expecting``: small models, one for each fold left out, and one of all."""
    import lightgbm
    import numpy as np

    fold, rating, weight = (movies[name].to_numpy() for name in ("fold", "rating", "weight"))
    expected = []
    for left_out in [*range(int(fold.max()) + 1), NO_FOLD]:
        used = fold != left_out
        parameters = {
            "objective": "regression",
            "learning_rate": 0.1,
            "num_leaves": 15,
            "min_data_in_leaf": 30,
            "lambda_l2": 5.0,
            "feature_fraction": 0.3,
            "bagging_fraction": 0.7,
            "bagging_freq": 1,
            "max_bin": 63,
            "seed": 0,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": threads_for(len(movies)),
            "verbosity": -1,
        }
        data = lightgbm.Dataset(matrix[used], rating[used], weight=weight[used])
        trees = lightgbm.train(parameters, data, num_boost_round=EXPECTING_TREES)
        mean = np.average(rating[used].astype(np.float64), weights=weight[used])
        predicted = np.asarray(trees.predict(matrix, num_threads=threads_for(len(movies))))
        expected.append((predicted - mean).astype(np.float32))
    return np.stack(expected), trees


def threads_for(rows: int) -> int:
    """Return a number of threads that depends on nothing but the data; few rows are not worth the waiting."""
    return 1 if rows < SINGLE_THREAD_ROWS else THREADS
