"""What a predictor sees of a movie, and the rating it learns from. No votes and no ratings among the inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

INPUT_COLUMNS = (
    "tconst",
    "title",
    "original_title",
    "title_type",
    "is_adult",
    "release_year",
    "runtime_minutes",
    "genres",
    "credits",
)
"""The columns of ``movies`` that a predictor may read: all but ``average_rating`` and ``num_votes``."""


@dataclass(frozen=True)
class Inputs:
    """Movies as a predictor sees them, row by row.

    Attributes
    ----------
    movies
        n rows with the columns ``INPUT_COLUMNS``.
    embeddings
        float32, shape (n, dimension), unit rows, in the order of ``movies``.
    """

    movies: pl.DataFrame
    embeddings: np.ndarray

    def __post_init__(self) -> None:
        extra = set(self.movies.columns) - set(INPUT_COLUMNS)
        if extra:
            raise ValueError(f"not inputs of a predictor: {sorted(extra)}")
        if len(self.movies) != len(self.embeddings):
            raise ValueError(f"{len(self.movies)} movies, {len(self.embeddings)} embeddings")

    def __len__(self) -> int:
        return len(self.movies)


@dataclass(frozen=True)
class Examples:
    """Inputs with the ratings to learn from: float32, shape (n,), on IMDb's scale of 1 to 10."""

    inputs: Inputs
    ratings: np.ndarray

    def __len__(self) -> int:
        return len(self.inputs)
