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
    documents
        String, length n: the JSON documents; None where the predictor does not read them.
    """

    movies: pl.DataFrame
    embeddings: np.ndarray
    documents: pl.Series | None = None

    def __post_init__(self) -> None:
        _require_inputs(self.movies)
        if len(self.movies) != len(self.embeddings):
            raise ValueError(f"{len(self.movies)} movies, {len(self.embeddings)} embeddings")
        if self.documents is not None and len(self.documents) != len(self.movies):
            raise ValueError(f"{len(self.movies)} movies, {len(self.documents)} documents")

    def __len__(self) -> int:
        return len(self.movies)

    def take(self, rows: np.ndarray) -> Inputs:
        """Return some of the rows, by their numbers."""
        documents = None if self.documents is None else self.documents[rows]
        return Inputs(self.movies[rows], self.embeddings[rows], documents)


@dataclass(frozen=True)
class Rated:
    """Movies with ratings that no predictor is judged by, nor predicts: they may tell of the people in others.

    Attributes
    ----------
    movies
        n rows with the columns ``INPUT_COLUMNS``.
    ratings
        float32, shape (n,), on IMDb's scale of 1 to 10.
    votes
        int64, shape (n,).
    """

    movies: pl.DataFrame
    ratings: np.ndarray
    votes: np.ndarray

    def __post_init__(self) -> None:
        _require_inputs(self.movies)

    def __len__(self) -> int:
        return len(self.movies)


@dataclass(frozen=True)
class Examples:
    """Inputs with the ratings to learn from.

    Attributes
    ----------
    ratings
        float32, shape (n,), on IMDb's scale of 1 to 10.
    votes
        int64, shape (n,): may weight a movie in training, or its rating in what is said of its people; never a feature.
    few_votes
        Of training examples: movies with too few votes to be judged by, which may still tell of people, or weigh a
        little in training.
    """

    inputs: Inputs
    ratings: np.ndarray
    votes: np.ndarray
    few_votes: Rated | None = None

    def __post_init__(self) -> None:
        if not len(self.inputs) == len(self.ratings) == len(self.votes):
            raise ValueError(f"{len(self.inputs)} movies, {len(self.ratings)} ratings, {len(self.votes)} votes")

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: np.ndarray) -> Examples:
        """Return some of the rows, by their numbers, with the same ``few_votes``."""
        return Examples(self.inputs.take(rows), self.ratings[rows], self.votes[rows], self.few_votes)


@dataclass(frozen=True)
class Parts:
    """What a predictor is fitted on, chosen with and judged by."""

    train: Examples
    validation: Examples
    test: Examples


def build_parts(
    split: pl.DataFrame,
    movies: pl.DataFrame,
    listed: pl.DataFrame,
    embeddings: np.ndarray,
    documents: pl.Series | None = None,
    *,
    by: str = "split",
) -> Parts:
    """Return the examples of a split.

    Parameters
    ----------
    split
        As from ``build_split``.
    movies
        The table ``movies``.
    listed
        ``tconst``, in the order of ``embeddings`` and ``documents``: the movies that have them.
    by
        ``"split"``, or ``"split_by_time"``: of the movies with few votes, only those up to the last training year then
        tell of people.
    """
    import polars as pl

    split = split.filter(pl.col(by).is_not_null())
    few = movies.join(split, on="tconst", how="anti").filter(pl.col("average_rating").is_not_null())
    if by == "split_by_time":
        years = movies.join(split.filter(pl.col(by) == "train"), on="tconst", how="semi")["release_year"]
        few = few.filter(pl.col("release_year") <= years.max())
    # A movie that is predicted shall not have been learnt from; one with votes enough that is in no part, as of a year
    # that is not over, tells nothing.
    few = few.join(listed, on="tconst", how="anti")
    fewest = movies.join(split, on="tconst", how="semi")["num_votes"].min()
    few = few.filter(pl.col("num_votes") < fewest).sort("tconst")
    rows = listed.with_row_index("row").select("tconst", "row")
    joined = (
        split.select("tconst", by)
        .join(rows, on="tconst", how="inner")
        .join(movies, on="tconst", how="inner", maintain_order="left")
    )

    def part(name: str, few_votes: Rated | None = None) -> Examples:
        frame = joined.filter(pl.col(by) == name).sort("tconst")
        places = frame["row"].to_numpy()
        inputs = Inputs(
            frame.select(INPUT_COLUMNS), embeddings[places], None if documents is None else documents[places]
        )
        return Examples(inputs, _ratings(frame), _votes(frame), few_votes)

    few_votes = Rated(few.select(INPUT_COLUMNS), _ratings(few), _votes(few))
    return Parts(part("train", few_votes), part("validation"), part("test"))


def join_examples(*some: Examples) -> Examples:
    """Return the examples one after another, with the ``few_votes`` of the first."""
    import numpy as np
    import polars as pl

    documents = [each.inputs.documents for each in some]
    together = (
        None if any(each is None for each in documents) else pl.concat([each for each in documents if each is not None])
    )
    inputs = Inputs(
        pl.concat([each.inputs.movies for each in some]),
        np.concatenate([each.inputs.embeddings for each in some]),
        together,
    )
    ratings, votes = (np.concatenate([getattr(each, name) for each in some]) for name in ("ratings", "votes"))
    return Examples(inputs, ratings, votes, some[0].few_votes)


def _ratings(frame: pl.DataFrame) -> np.ndarray:
    import numpy as np

    return frame["average_rating"].to_numpy().astype(np.float32)


def _votes(frame: pl.DataFrame) -> np.ndarray:
    import numpy as np

    return frame["num_votes"].to_numpy().astype(np.int64)


def _require_inputs(movies: pl.DataFrame) -> None:
    extra = set(movies.columns) - set(INPUT_COLUMNS)
    if extra:
        raise ValueError(f"not inputs of a predictor: {sorted(extra)}")
