"""Which keys (people, words) stand in which movies, as a sparse matrix with sums, means and extremes over a movie's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    import scipy.sparse


@dataclass(frozen=True, eq=False)
class Incidence:
    """The different keys of each of n movies, movie after movie and in their order there.

    Attributes
    ----------
    starts
        int64, shape (n + 1,): where the keys of each movie begin; the last is the number of all.
    keys
        int32: the number of each of them. One that is unknown has the number ``n_keys``.
    n_keys
        How many are known.
    """

    starts: np.ndarray
    keys: np.ndarray
    n_keys: int

    @classmethod
    def build(cls, rows: np.ndarray, keys: np.ndarray, n_keys: int, count: int) -> Incidence:
        """Build it from pairs.

        Parameters
        ----------
        rows
            The movie of each pair, from 0, never falling.
        keys
            The key of each pair: int32, as from ``numbers_of``. No known key comes twice in a movie.
        n_keys
            How many keys are known.
        count
            How many movies there are.
        """
        import numpy as np

        return cls(np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))]), keys, n_keys)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @cached_property
    def counts(self) -> np.ndarray:
        """How many keys each movie has: float32, shape (n,)."""
        import numpy as np

        return np.diff(self.starts).astype(np.float32)

    @cached_property
    def matrix(self) -> scipy.sparse.csr_array:
        """Ones, float32, shape (n, n_keys + 1)."""
        import numpy as np

        return self.weighted(np.ones(len(self.keys), dtype=np.float32))

    @property
    def billed(self) -> scipy.sparse.csr_array:
        """The same with 1 for the key that stands first in its movie, 1/2 for the second, 1/3 for the third."""
        import numpy as np

        places = np.arange(len(self.keys)) - np.repeat(self.starts[:-1], np.diff(self.starts))
        return self.weighted((1 / (places + 1)).astype(np.float32))

    def weighted(self, values: np.ndarray) -> scipy.sparse.csr_array:
        """Return the matrix with ``values``, float32, one for each of ``keys``."""
        import scipy.sparse

        return scipy.sparse.csr_array((values, self.keys, self.starts), shape=(len(self), self.n_keys + 1))

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return the mean of a value over the keys of each movie: float32, NaN where there are none."""
        import numpy as np

        with np.errstate(invalid="ignore"):
            return self.matrix @ values / self.counts

    def most(self, values: np.ndarray) -> np.ndarray:
        """Return the largest value among the keys of each movie: float32, NaN where there are none."""
        return self.most_of(values[self.keys])

    def least(self, values: np.ndarray) -> np.ndarray:
        """Return the smallest value among the keys of each movie: float32, NaN where there are none."""
        return -self.most(-values)

    def most_of(self, values: np.ndarray) -> np.ndarray:
        """Return each movie's largest of ``values``, one for each of ``keys``: float32, NaN where there is none."""
        import numpy as np

        largest = np.full(len(self), np.nan, dtype=np.float32)
        some = self.starts[1:] > self.starts[:-1]
        if some.any():
            largest[some] = np.maximum.reduceat(values, self.starts[:-1][some])
        return largest

    def total_of(self, values: np.ndarray) -> np.ndarray:
        """Return the sum in each movie of ``values``, one for each of ``keys``: float32."""
        import numpy as np

        total = np.zeros(len(self), dtype=np.float32)
        some = self.starts[1:] > self.starts[:-1]
        if some.any():
            total[some] = np.add.reduceat(values, self.starts[:-1][some])
        return total

    def first(self, values: np.ndarray) -> np.ndarray:
        """Return the value of the key that stands first in each movie: float32, NaN where there is none."""
        import numpy as np

        found = np.full(len(self), np.nan, dtype=np.float32)
        some = self.starts[1:] > self.starts[:-1]
        found[some] = values[self.keys[self.starts[:-1][some]]]
        return found

    def take(self, rows: np.ndarray) -> Incidence:
        """Return the keys of some of the movies, by their numbers."""
        import numpy as np

        lengths = np.diff(self.starts)[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(starts[-1]) - np.repeat(starts[:-1] - self.starts[rows], lengths)
        return Incidence(starts, self.keys[places], self.n_keys)


def numbers_of(keys: pl.Series, known: pl.Series) -> np.ndarray:
    """Return the place of each key among the known ones, which are in order; their number for others: int32.

    Few keys are looked up one by one, because a join would first make a table of all that are known.
    """
    import numpy as np
    import polars as pl

    if len(keys) * 100 > len(known):
        places = pl.DataFrame({"key": known}).with_row_index("place")
        found = pl.DataFrame({"key": keys}).join(places, on="key", how="left", maintain_order="left")
        return found["place"].fill_null(len(known)).to_numpy().astype(np.int32)
    places = known.search_sorted(keys).to_numpy().astype(np.int32)
    inside = np.minimum(places, len(known) - 1)
    return np.where((known.gather(inside) == keys).to_numpy(), inside, len(known)).astype(np.int32)
