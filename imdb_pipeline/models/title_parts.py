"""What the ratings of other movies tell of the words and letters of a title: shrunken encodings, out of fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imdb_pipeline.models.incidence import Incidence, numbers_of

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from imdb_pipeline.models.feed import Feed

WORD = r"\p{L}+|\d+"
KINDS = {"title_word": "title", "original_word": "original_title", "letters": "original_title"}
"""Parts of titles, and the column that has them: words, and every three characters in a row (of most languages)."""

LETTERS = 3
MIN_MOVIES = 3
"""Movies that a part must stand in to be known."""

SHRINKAGE = 3.0
"""Weighted movies that a part's encoding counts the overall mean for."""


@dataclass(frozen=True, eq=False)
class TitleParts:
    """Known parts of titles with their encodings.

    Attributes
    ----------
    parts
        By kind: the known parts, in order, String.
    encodings
        By kind: float32, shape (folds + 1, parts + 1). The first rows leave a fold out, the last row none; an unknown
        part comes last and has 0.
    """

    parts: dict[str, pl.Series]
    encodings: dict[str, np.ndarray]

    @classmethod
    def learn(cls, feed: Feed, movies: pl.DataFrame) -> TitleParts:
        """Learn from the movies of ``feed``, whose inputs are ``movies``."""
        import numpy as np
        import polars as pl

        known, encodings = {}, {}
        for kind in KINDS:
            pairs = _pairs(movies, kind)
            counts = pairs.group_by("part").len().filter(pl.col("len") >= MIN_MOVIES)
            known[kind] = counts["part"].sort()
            of_parts = _incidence(movies, kind, known[kind]).matrix.T.tocsr()
            rows = []
            for fold in feed.folds:
                weights, weighted, _ = feed.without(fold)
                encoding = (of_parts @ weighted) / (of_parts @ weights + np.float32(SHRINKAGE))
                encoding[-1] = 0  # the unknown are many different parts
                rows.append(encoding)
            encodings[kind] = np.stack(rows)
        return cls(known, encodings)

    @property
    def names(self) -> list[str]:
        """The names of the features, in order."""
        return [f"{kind}_{statistic}" for kind in KINDS for statistic in ("mean", "most", "least")]

    @property
    def fields(self) -> list[str]:
        """The document's field that each feature comes from."""
        return ["title"] * len(self.names)

    def matrix(self, movies: pl.DataFrame, folds: np.ndarray) -> np.ndarray:
        """Return the features of n movies: float32, shape (n, len(names)), NaN where a title has no such part.

        Parameters
        ----------
        folds
            The fold of each, as from ``Feed.folds_of``.
        """
        import numpy as np

        matrix = np.empty((len(movies), len(self.names)), dtype=np.float32)
        incidences = [_incidence(movies, kind, self.parts[kind]) for kind in KINDS]
        for fold in np.unique(folds):
            rows = np.flatnonzero(folds == fold)
            columns = []
            for kind, incidence in zip(KINDS, incidences, strict=True):
                parts, values = incidence.take(rows), self.encodings[kind][fold]
                columns += [parts.mean(values), parts.most(values), parts.least(values)]
            matrix[rows] = np.stack(columns, axis=1)
        return matrix


def _incidence(movies: pl.DataFrame, kind: str, known: pl.Series) -> Incidence:
    pairs = _pairs(movies, kind)
    return Incidence.build(pairs["movie"].to_numpy(), numbers_of(pairs["part"], known), len(known), len(movies))


def _pairs(movies: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Return the different parts of each movie's title: ``movie``, its row, and ``part``."""
    import polars as pl

    title = pl.col(KINDS[kind]).fill_null("").str.to_lowercase()
    if kind == "letters":
        padded = pl.concat_str(pl.lit(" "), title, pl.lit(" "))
        places = pl.int_ranges(0, (padded.str.len_chars().cast(pl.Int64) - LETTERS + 1).clip(lower_bound=0))
        rows = movies.select(title=padded, place=places).with_row_index("movie").explode("place").drop_nulls()
        pairs = rows.select("movie", part=pl.col("title").str.slice(pl.col("place"), LETTERS))
    else:
        pairs = movies.select(part=title.str.extract_all(WORD)).with_row_index("movie").explode("part").drop_nulls()
    return pairs.unique(maintain_order=True)
