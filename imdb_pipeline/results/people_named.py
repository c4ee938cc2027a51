"""Who is meant by a name: the person with most such credits in the catalogue."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

PERSON_ID = re.compile(r"nm\d{7,9}")
_LISTED_OTHERS = 5


@dataclass(frozen=True)
class Asked:
    """A person that somebody named.

    Attributes
    ----------
    field
        Of the document, as ``directors``: where the person stands.
    person
        An IMDb id (``nm`` and digits) or a name.
    categories
        The credit categories that count: one, or ``actor`` and ``actress``.
    """

    field: str
    person: str
    categories: tuple[str, ...]


@dataclass(frozen=True)
class Meant:
    """Whom it meant.

    Attributes
    ----------
    nconst
        An id; ``unknown:`` and the name where nobody in the catalogue has that name, which no encoding matches.
    name
        As the catalogue spells it, or as it was asked; None for an id that the catalogue does not hold.
    category
        The one of the categories in which the person has most credits, else the first.
    credits
        How many they have in these categories.
    known
        Whether the catalogue holds them.
    same_name
        How many people the catalogue has by that name: 0 for an id.
    others
        The first of the other people of that name: nconst, credits.
    """

    asked: Asked
    nconst: str
    name: str | None
    category: str
    credits: int
    known: bool
    same_name: int
    others: list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class NamesHeld:
    """The names of a catalogue, for who looks people and genres up again and again.

    Attributes
    ----------
    people
        nconst, category, name, folded (the name in lower case), credits: a row per person, category and spelling.
    genres
        Genre by its lower case.
    categories
        Of the credits.
    """

    people: pl.DataFrame
    genres: dict[str, str]
    categories: frozenset[str]

    @classmethod
    def of(cls, movies: pl.DataFrame) -> NamesHeld:
        """Return the names in the table ``movies``: at least credits and genres."""
        people = _added_up(_credited(movies))
        return cls(people, genres_of(movies), frozenset(people["category"].unique()))


def genres_of(movies: pl.DataFrame | NamesHeld) -> dict[str, str]:
    """Return the genres of a catalogue by their lower case."""
    if isinstance(movies, NamesHeld):
        return movies.genres
    return {genre.lower(): genre for genre in movies["genres"].explode().drop_nulls().unique()}


def categories_of(movies: pl.DataFrame | NamesHeld) -> frozenset[str]:
    """Return the categories of credits that a catalogue has."""
    if isinstance(movies, NamesHeld):
        return movies.categories
    return frozenset(_credited(movies).select("category").unique().collect()["category"])


def find_people(asked: list[Asked], movies: pl.DataFrame | NamesHeld) -> list[Meant]:
    """Return whom each of ``asked`` means.

    A name means the person with most credits in the categories; equals by the lowest id; where nobody of that name has
    any, the one with most credits of all. Case counts only where it tells people apart: failing an exact name, one that
    differs in case will do.

    Parameters
    ----------
    movies
        The table ``movies``: at least ``credits``; or the names in it.
    """
    import polars as pl

    if not asked:
        return []
    wanted = pl.Series([each.person for each in asked], dtype=pl.String)
    people = movies.people.lazy() if isinstance(movies, NamesHeld) else _credited(movies)
    named = pl.col("folded").is_in(wanted.str.to_lowercase().implode()) | pl.col("nconst").is_in(wanted.implode())
    counted = _added_up(people.filter(named))
    return [_meant(each, counted) for each in asked]


def _credited(movies: pl.DataFrame) -> pl.LazyFrame:
    """Return nconst, category, name, folded, credits (1) of every credit."""
    import polars as pl

    person = pl.col("credits").struct
    return (
        movies.lazy()
        .select("credits")
        .explode("credits", empty_as_null=False)
        .select(nconst=person.field("nconst"), category=person.field("category"), name=person.field("name"))
        .with_columns(folded=pl.col("name").str.to_lowercase(), credits=pl.lit(1, pl.UInt32))
    )


def _added_up(people: pl.LazyFrame) -> pl.DataFrame:
    import polars as pl

    return people.group_by("nconst", "category", "name", "folded").agg(pl.col("credits").sum()).collect()


def _meant(asked: Asked, counted: pl.DataFrame) -> Meant:
    import polars as pl

    by_id = PERSON_ID.fullmatch(asked.person) is not None
    hits = counted.filter(pl.col("nconst" if by_id else "name") == asked.person)
    if hits.is_empty() and not by_id:
        hits = counted.filter(folded=pl.Series([asked.person]).str.to_lowercase()[0])
    if hits.is_empty():
        nconst, name = (asked.person, None) if by_id else (f"unknown:{asked.person}", asked.person)
        return Meant(asked, nconst, name, asked.categories[0], 0, False, 0, [])
    people: dict[str, dict[str, Any]] = {}
    in_order = pl.col("category").is_in(asked.categories), pl.col("credits")
    for row in hits.sort(*in_order, "category", descending=[True, True, False]).iter_rows(named=True):
        new = {"name": row["name"], "credits": 0, "all": 0, "category": row["category"]}
        person = people.setdefault(row["nconst"], new)
        person["all"] += row["credits"]
        if row["category"] in asked.categories:
            person["credits"] += row["credits"]
    counts = "credits" if any(person["credits"] for person in people.values()) else "all"
    first, *others = sorted(people, key=lambda nconst: (-people[nconst][counts], len(nconst), nconst))
    return Meant(
        asked,
        first,
        people[first]["name"],
        people[first]["category"] if people[first]["credits"] else asked.categories[0],
        people[first]["credits"],
        known=True,
        same_name=0 if by_id else len(people),
        others=[{"nconst": each, "credits": people[each]["credits"]} for each in others[:_LISTED_OTHERS]],
    )
