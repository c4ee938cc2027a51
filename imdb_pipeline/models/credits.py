"""Who is credited with what in each movie, by role. Nothing here knows of ratings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imdb_pipeline.models.incidence import Incidence, numbers_of

if TYPE_CHECKING:
    import polars as pl

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


def known_people(movies: pl.DataFrame) -> pl.Series:
    """Return the ids of all who are credited, in order: String."""
    return movies["credits"].explode().drop_nulls().struct.field("nconst").drop_nulls().unique().sort().alias("nconst")


def credits_of(movies: pl.DataFrame, people: pl.Series) -> dict[str, Incidence]:
    """Return who is credited in n movies, by role, those of ``ROLES``; who has several credits in a role counts once.

    Parameters
    ----------
    movies
        n rows with the column ``credits``, in billing order.
    people
        The ids of known people, in order; the number of each is its place. Names play no part.
    """
    import polars as pl

    listed = (
        movies.select("credits")
        .with_row_index("movie")
        .explode("credits")
        .drop_nulls()
        .unnest("credits")
        .with_columns(role=pl.col("category").replace_strict(ROLE_OF, default="crew"))
    )
    listed = listed.with_columns(person=pl.Series(numbers_of(listed["nconst"], people), dtype=pl.Int32))
    found = {}
    for role in ROLES:
        rows = listed if role == "anyone" else listed.filter(pl.col("role") == role)
        rows = rows.unique(["movie", "nconst"], keep="first", maintain_order=True)
        found[role] = Incidence.build(rows["movie"].to_numpy(), rows["person"].to_numpy(), len(people), len(movies))
    return found
