"""What a movie is and how its title looks, as numbers for trees: no votes, no ratings, nobody's identity."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import PipelineError
from imdb_pipeline.models.credits import FIELDS, ROLE_OF
from imdb_pipeline.models.title_parts import WORD

if TYPE_CHECKING:
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


@dataclass(frozen=True)
class Features:
    """The vocabularies learned from training movies, which make the columns of the matrix.

    Attributes
    ----------
    genres, categories
        Genres and credit categories seen in training, sorted. Others are counted in the totals alone.
    """

    genres: tuple[str, ...]
    categories: tuple[str, ...]

    @classmethod
    def learn(cls, movies: pl.DataFrame) -> Features:
        """Learn the vocabularies from training movies with the columns ``INPUT_COLUMNS``."""

        genres = movies["genres"].explode().drop_nulls().unique().sort()
        categories = _credits(movies)["category"].drop_nulls().unique().sort()
        return cls(tuple(genres), tuple(categories))

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
        """Return the features of n movies: float32, shape (n, len(names)), NaN where year or runtime is unknown."""
        import numpy as np

        structure = _structure(movies).to_numpy().astype(np.float32)
        genres = movies.select("genres").with_row_index().explode("genres").drop_nulls()
        people = _credits(movies)
        parts = [
            structure,
            _counts(len(movies), genres["index"], genres["genres"], self.genres),
            _counts(len(movies), people["index"], people["category"], self.categories),
        ]
        return np.concatenate(parts, axis=1)

    def to_json(self) -> dict[str, Any]:
        """Return the vocabularies as JSON values."""
        return {key: list(value) for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, value: dict[str, Any], source: str) -> Features:
        """Read what ``to_json`` gave, or raise ``PipelineError`` naming ``source``."""
        lists = {key: value.get(key) for key in ("genres", "categories")}
        for key, items in lists.items():
            if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
                raise PipelineError(f"{source}: {key!r} is not a list of strings; fit the predictor again")
        return cls(**{key: tuple(items) for key, items in lists.items() if items is not None})


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
