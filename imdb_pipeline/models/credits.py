"""Who is credited with what in each movie, as sparse matrices: one for each role, movies by people.

Nothing here knows of ratings; what they tell of people is in ``people``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    import scipy.sparse

CATEGORIES = {
    "director": ("director",),
    "writer": ("writer",),
    "producer": ("producer",),
    "cast": ("actor", "actress"),
}
"""The categories of a role, as the document lists them."""

ROLE_OF = {category: role for role, categories in CATEGORIES.items() for category in categories}

ROLES = (*CATEGORIES, "crew", "anyone")
"""``crew`` are all other categories; every credit is of ``anyone`` besides its own role."""

FIELDS = {
    "director": "directors",
    "writer": "writers",
    "producer": "producers",
    "cast": "actors",
    "crew": "principals",
    "anyone": "credits",
}
"""The field of the document that names a role's people; ``credits`` stands for all of these fields together."""


@dataclass(frozen=True, eq=False)
class Credits:
    """The different people of n movies in one role, movie after movie and in billing order.

    Attributes
    ----------
    starts
        int64, shape (n + 1,): where the people of each movie begin; the last is the number of all.
    people
        int32: the number of each of them. Someone unknown has the number ``n_people``.
    n_people
        How many are known.
    """

    starts: np.ndarray
    people: np.ndarray
    n_people: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    @cached_property
    def counts(self) -> np.ndarray:
        """How many people each movie has: float32, shape (n,)."""
        import numpy as np

        return np.diff(self.starts).astype(np.float32)

    @cached_property
    def matrix(self) -> scipy.sparse.csr_array:
        """Ones, float32, shape (n, n_people + 1)."""
        import numpy as np

        return self._sparse(np.ones(len(self.people), dtype=np.float32))

    @cached_property
    def billed(self) -> scipy.sparse.csr_array:
        """The same with 1 for who stands first, 1/2 for the second, 1/3 for the third."""
        import numpy as np

        places = np.arange(len(self.people)) - np.repeat(self.starts[:-1], np.diff(self.starts))
        return self._sparse((1 / (places + 1)).astype(np.float32))

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return the mean of a value over the people of each movie: float32, NaN where there are none."""
        import numpy as np

        with np.errstate(invalid="ignore"):
            return self.matrix @ values / self.counts

    def most(self, values: np.ndarray) -> np.ndarray:
        """Return the largest value among the people of each movie: float32, NaN where there are none."""
        import numpy as np

        largest = np.full(len(self), np.nan, dtype=np.float32)
        some = self.starts[1:] > self.starts[:-1]
        if some.any():
            largest[some] = np.maximum.reduceat(values[self.people], self.starts[:-1][some])
        return largest

    def least(self, values: np.ndarray) -> np.ndarray:
        """Return the smallest value among the people of each movie: float32, NaN where there are none."""
        return -self.most(-values)

    def first(self, values: np.ndarray) -> np.ndarray:
        """Return the value of who stands first in each movie: float32, NaN where there is nobody."""
        import numpy as np

        found = np.full(len(self), np.nan, dtype=np.float32)
        some = self.starts[1:] > self.starts[:-1]
        found[some] = values[self.people[self.starts[:-1][some]]]
        return found

    def take(self, rows: np.ndarray) -> Credits:
        """Return the credits of some of the movies, by their numbers."""
        import numpy as np

        lengths = np.diff(self.starts)[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(starts[-1]) - np.repeat(starts[:-1] - self.starts[rows], lengths)
        return Credits(starts, self.people[places], self.n_people)

    def _sparse(self, values: np.ndarray) -> scipy.sparse.csr_array:
        import scipy.sparse

        shape = (len(self), self.n_people + 1)
        return scipy.sparse.csr_array((values, self.people, self.starts), shape=shape)


def known_people(movies: pl.DataFrame) -> pl.Series:
    """Return the ids of all who are credited, in order: String."""
    return movies["credits"].explode().drop_nulls().struct.field("nconst").drop_nulls().unique().sort().alias("nconst")


def credits_of(movies: pl.DataFrame, people: pl.Series) -> dict[str, Credits]:
    """Return the credits of n movies by role, those of ``ROLES``.

    Parameters
    ----------
    movies
        n rows with the column ``credits``.
    people
        The ids of known people, in order; the number of each is its place. Names play no part.
    """
    import numpy as np
    import polars as pl

    listed = (
        movies.select("credits")
        .with_row_index("movie")
        .explode("credits")
        .drop_nulls()
        .unnest("credits")
        .join(
            pl.DataFrame({"nconst": people}).with_row_index("person"),
            on="nconst",
            how="left",
            maintain_order="left",
        )
        .with_columns(role=pl.col("category").replace_strict(ROLE_OF, default="crew"))
    )
    found = {}
    for role in ROLES:
        rows = listed if role == "anyone" else listed.filter(pl.col("role") == role)
        rows = rows.unique(["movie", "nconst"], keep="first", maintain_order=True)
        counts = np.bincount(rows["movie"].to_numpy(), minlength=len(movies))
        numbers = rows["person"].fill_null(len(people)).to_numpy().astype(np.int32)
        found[role] = Credits(np.concatenate([[0], np.cumsum(counts)]), numbers, len(people))
    return found
