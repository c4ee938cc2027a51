"""What a movie is and how its title looks, as numbers for trees: no votes, no ratings, nobody's identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import PipelineError
from imdb_pipeline.models.credits import FIELDS, ROLE_OF
from imdb_pipeline.models.saved import FIT_AGAIN
from imdb_pipeline.models.title_parts import WORD

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import polars as pl


STRUCTURE = (
    "release_year",
    "runtime_minutes",
    "is_adult",
    "is_tv_movie",
    "genre_count",
    "credit_count",
    "person_count",
    "title_characters",
    "title_words",
    "title_digits",
    "title_uppercase_share",
    "title_non_ascii",
    "title_punctuation",
    "title_has_colon",
    "title_ends_with_number",
    "original_title_differs",
    "original_title_characters",
    "original_title_non_ascii",
)

STRUCTURE_FIELDS = {
    "release_year": "release_year",
    "runtime_minutes": "runtime_minutes",
    "is_adult": "is_adult",
    "is_tv_movie": "title_type",
    "genre_count": "genres",
    "credit_count": "credits",
    "person_count": "credits",
}
"""The document's field that a column of ``STRUCTURE`` comes from; the rest comes from the title."""

MAY_BE_UNKNOWN = ("release_year", "runtime_minutes")
FEWEST_UNKNOWN = 30
"""Training movies that must lack a value for trees to learn what its absence says: as many as a leaf holds at least.

Without any, LightGBM takes an unknown value for 0, the oldest or the shortest of all movies; after a few, chance says
what it takes it for.
"""


@dataclass(frozen=True)
class Features:
    """What is learned from training movies: the vocabularies, which make the columns of the matrix, and medians.

    Attributes
    ----------
    genres, categories
        Genres and credit categories seen in training, sorted. Others are counted in the totals alone.
    medians
        By column of ``MAY_BE_UNKNOWN``: in years and minutes; None where no training movie had a value.
    lacked
        Columns that ``FEWEST_UNKNOWN`` training movies or more lacked. In others the median stands for what is unknown.
    """

    genres: tuple[str, ...]
    categories: tuple[str, ...]
    medians: dict[str, int | None]
    lacked: tuple[str, ...]

    @classmethod
    def learn(cls, movies: pl.DataFrame) -> Features:
        """Learn from training movies with the columns ``INPUT_COLUMNS``."""
        import polars as pl

        genres = movies["genres"].explode().drop_nulls().unique().sort()
        categories = _credits(movies)["category"].drop_nulls().unique().sort()
        medians = movies.select(pl.col(name).median().floor().cast(pl.Int64) for name in MAY_BE_UNKNOWN)
        lacked = tuple(name for name in MAY_BE_UNKNOWN if movies[name].null_count() >= FEWEST_UNKNOWN)
        return cls(tuple(genres), tuple(categories), medians.row(0, named=True), lacked)

    @property
    def names(self) -> list[str]:
        """The names of the matrix's columns, in order."""
        return [
            *STRUCTURE,
            *(f"genre_{genre}" for genre in self.genres),
            *(f"credits_{category}" for category in self.categories),
        ]

    @property
    def fields(self) -> list[str]:
        """The document's field that each column comes from; ``title_type`` and ``credits`` (all people) besides."""
        return [
            *(STRUCTURE_FIELDS.get(name, "title") for name in STRUCTURE),
            *("genres" for _ in self.genres),
            *(FIELDS[ROLE_OF.get(category, "crew")] for category in self.categories),
        ]

    def matrix(self, movies: pl.DataFrame) -> np.ndarray:
        """Return the features of n movies: float32, shape (n, len(names)).

        An unknown year or runtime is the median of training, or NaN where training lacked enough of them.
        """
        import numpy as np

        filled = self.filled(movies, [name for name in MAY_BE_UNKNOWN if name not in self.lacked])
        structure = _structure(filled).to_numpy().astype(np.float32)
        genres = movies.select("genres").with_row_index().explode("genres").drop_nulls()
        people = _credits(movies)
        parts = [
            structure,
            _counts(len(movies), genres["index"], genres["genres"], self.genres),
            _counts(len(movies), people["index"], people["category"], self.categories),
        ]
        return np.concatenate(parts, axis=1)

    def filled(self, movies: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
        """Return movies with the medians in place of what is null in some columns of ``MAY_BE_UNKNOWN``."""
        import polars as pl

        medians = {name: self.medians[name] for name in columns if self.medians[name] is not None}
        return movies.with_columns(pl.col(name).fill_null(median) for name, median in medians.items())

    def to_json(self) -> dict[str, Any]:
        """Return what was learned as JSON values."""
        lists = {"genres": self.genres, "categories": self.categories, "lacked": self.lacked}
        return {**{key: list(value) for key, value in lists.items()}, "medians": self.medians}

    @classmethod
    def from_json(cls, value: dict[str, Any], source: str) -> Features:
        """Read what ``to_json`` gave, or raise ``PipelineError`` naming ``source``."""
        lists = {key: value.get(key) for key in ("genres", "categories", "lacked")}
        for key, items in lists.items():
            if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
                raise PipelineError(f"{source}: {key!r} is not a list of strings; {FIT_AGAIN}")
        medians = value.get("medians")
        if not isinstance(medians, dict) or set(medians) != set(MAY_BE_UNKNOWN):
            raise PipelineError(f"{source}: 'medians' is not an object of {', '.join(MAY_BE_UNKNOWN)}; {FIT_AGAIN}")
        if not all(median is None or type(median) is int for median in medians.values()):
            raise PipelineError(f"{source}: 'medians' holds something other than whole numbers; {FIT_AGAIN}")
        return cls(medians=medians, **{key: tuple(items) for key, items in lists.items() if items is not None})


def _structure(movies: pl.DataFrame) -> pl.DataFrame:
    """Return the columns ``STRUCTURE``, Float32."""
    import polars as pl

    title, original = pl.col("title").fill_null(""), pl.col("original_title").fill_null("")
    people = pl.col("credits").list.eval(pl.element().struct.field("nconst"))
    columns = {
        "release_year": pl.col("release_year"),
        "runtime_minutes": pl.col("runtime_minutes"),
        "is_adult": pl.col("is_adult"),
        "is_tv_movie": pl.col("title_type") == "tvMovie",
        "genre_count": pl.col("genres").list.len().fill_null(0),
        "credit_count": pl.col("credits").list.len().fill_null(0),
        "person_count": people.list.n_unique().fill_null(0),
        "title_characters": title.str.len_chars(),
        "title_words": title.str.count_matches(WORD),
        "title_digits": title.str.count_matches(r"\d"),
        "title_uppercase_share": title.str.count_matches(r"\p{Lu}") / pl.max_horizontal(title.str.len_chars(), 1),
        "title_non_ascii": title.str.count_matches(r"[^\x00-\x7F]"),
        "title_punctuation": title.str.count_matches(r"[^\p{L}\p{N}\s]"),
        "title_has_colon": title.str.contains(":", literal=True),
        "title_ends_with_number": title.str.contains(r"(\d|\b[IVX]+)$"),
        "original_title_differs": title != original,
        "original_title_characters": original.str.len_chars(),
        "original_title_non_ascii": original.str.count_matches(r"[^\x00-\x7F]"),
    }
    return movies.select(columns[name].cast(pl.Float32).alias(name) for name in STRUCTURE)


def _credits(movies: pl.DataFrame) -> pl.DataFrame:
    """Return one row a credit: ``index`` of the movie, ``category``."""
    import polars as pl

    return (
        movies.select("credits")
        .with_row_index()
        .explode("credits")
        .drop_nulls()
        .select("index", category=pl.col("credits").struct.field("category"))
    )


def _counts(rows: int, index: pl.Series, values: pl.Series, vocabulary: tuple[str, ...]) -> np.ndarray:
    """Count each of ``vocabulary`` by row: float32, shape (rows, len(vocabulary))."""
    import numpy as np
    import polars as pl

    counts = np.zeros((rows, len(vocabulary)), dtype=np.float32)
    known = pl.DataFrame(
        {"value": vocabulary, "column": range(len(vocabulary))}, schema={"value": pl.String, "column": pl.Int64}
    )
    found = pl.DataFrame({"index": index, "value": values}).join(known, on="value", how="inner")
    np.add.at(counts, (found["index"].to_numpy(), found["column"].to_numpy()), 1.0)
    return counts
