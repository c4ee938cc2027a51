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

FOLDS = 10
NO_FOLD = -1
"""In place of a fold: nothing is left out."""

HALF_WEIGHT_VOTES = 20.0
"""Votes with which a movie's rating weighs half as much as with very many."""


@dataclass(frozen=True, eq=False)
class Feed:
    """Rated movies that feed encodings.

    Attributes
    ----------
    movies
        Sorted by ``tconst``: ``tconst`` String, ``release_year`` Int32 (may be null), ``rating``, ``weight`` Float32,
        ``fold`` Int32. Votes are in the weight alone, and say nothing of the movie's own row.
    """

    movies: pl.DataFrame

    @classmethod
    def learn(cls, *rated: Rated, folds: int = FOLDS) -> tuple[Feed, pl.DataFrame]:
        """Return what feeds, and its inputs in the same order."""
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
        return cls(frame[order]), movies[order]

    def __len__(self) -> int:
        return len(self.movies)

    def folds_of(self, movies: pl.DataFrame) -> np.ndarray:
        """Return the fold of each movie that feeds, by its ``tconst``, ``NO_FOLD`` for others: int32, shape (n,)."""
        found = movies.select("tconst").join(self.movies, on="tconst", how="left", maintain_order="left")
        return found["fold"].fill_null(NO_FOLD).to_numpy()

    def without(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """Return weights, and weighted differences from the mean; 0 for movies of ``fold``: float32, shape (n,)."""
        import numpy as np

        weights = np.where(self.movies["fold"].to_numpy() != fold, self.movies["weight"].to_numpy(), 0)
        ratings = self.movies["rating"].to_numpy()
        total = weights.sum(dtype=np.float64)
        mean = float(weights.astype(np.float64) @ ratings / total) if total else 0.0
        return weights.astype(np.float32), (weights * (ratings - mean)).astype(np.float32)


def fold_of(tconst: str, folds: int) -> int:
    """Return the fold of a movie, from 0: by its id, so that it stays there from one day to the next."""
    return int(hashlib.sha256(f"fold {tconst}".encode()).hexdigest()[:8], 16) % folds
