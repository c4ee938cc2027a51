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

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from imdb_pipeline.models.examples import Rated
    from imdb_pipeline.models.features import Features

FOLDS = 10
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
    """

    movies: pl.DataFrame
    expected: np.ndarray

    @classmethod
    def learn(cls, features: Features, *rated: Rated, folds: int = FOLDS) -> tuple[Feed, pl.DataFrame]:
        """Return what feeds, and its inputs in the same order; ``features`` are what a rating is expected from."""
        import numpy as np
        import polars as pl

        movies = pl.concat([each.movies for each in rated])
        ratings, votes = (np.concatenate([getattr(each, name) for each in rated]) for name in ("ratings", "votes"))
        frame = movies.select("tconst", pl.col("release_year").cast(pl.Int32)).with_columns(
            rating=pl.Series(ratings, dtype=pl.Float32),
            weight=pl.Series(votes / (votes + HALF_WEIGHT_VOTES), dtype=pl.Float32),
            fold=pl.Series([fold_of(tconst, folds) for tconst in movies["tconst"]], dtype=pl.Int32),
        )
        order = frame["tconst"].arg_sort()
        frame, movies = frame[order], movies[order]
        return cls(frame, _expected(features.matrix(movies), frame, folds)), movies

    def __len__(self) -> int:
        return len(self.movies)

    @property
    def folds(self) -> list[int]:
        """The numbers of the folds, and ``NO_FOLD``."""
        return [*range(len(self.expected) - 1), NO_FOLD]

    def places_of(self, movies: pl.DataFrame) -> np.ndarray:
        """Return the row of each movie that feeds, by its ``tconst``, and -1 for others: int64, shape (n,)."""
        rows = self.movies.select("tconst").with_row_index("row")
        found = movies.select("tconst").join(rows, on="tconst", how="left", maintain_order="left")
        return found["row"].cast(int).fill_null(-1).to_numpy()

    def folds_of(self, places: np.ndarray) -> np.ndarray:
        """Return the folds of movies from ``places_of``, ``NO_FOLD`` for those that do not feed: int32, shape (n,)."""
        import numpy as np

        return np.append(self.movies["fold"].to_numpy(), np.int32(NO_FOLD))[places]

    def without(self, fold: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what feeds where ``fold`` is left out: float32, shape (n,) each, 0 for the movies of ``fold``.

        These are the weights, and differences of the ratings, times the weight, from their mean and from ``expected``.
        """
        import numpy as np

        weights = np.where(self.movies["fold"].to_numpy() != fold, self.movies["weight"].to_numpy(), 0)
        ratings = self.movies["rating"].to_numpy()
        total = weights.sum(dtype=np.float64)
        mean = float(weights.astype(np.float64) @ ratings / total) if total else 0.0
        weighted = (weights * (ratings - mean)).astype(np.float32)
        return weights.astype(np.float32), weighted, weighted - weights * self.expected[fold]


def fold_of(tconst: str, folds: int) -> int:
    """Return the fold of a movie, from 0: by its id, so that it stays there from one day to the next."""
    return int(hashlib.sha256(f"fold {tconst}".encode()).hexdigest()[:8], 16) % folds


def _expected(matrix: np.ndarray, movies: pl.DataFrame, folds: int) -> np.ndarray:
    """Return ``Feed.expected``, from a small model for each fold that learns from all other folds."""
    import lightgbm
    import numpy as np

    fold, rating, weight = (movies[name].to_numpy() for name in ("fold", "rating", "weight"))
    expected = []
    for left_out in [*range(folds), NO_FOLD]:
        used = fold != left_out
        if not used.any():
            expected.append(np.zeros(len(movies), dtype=np.float32))
            continue
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
    return np.stack(expected)


def threads_for(rows: int) -> int:
    """Return a number of threads that depends on nothing but the data; few rows are not worth the waiting."""
    return 1 if rows < SINGLE_THREAD_ROWS else THREADS
