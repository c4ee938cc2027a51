"""A movie as it is not: without a field, without the cast, without a person, with another director."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import InputError
from imdb_pipeline.results.new_movie import PEOPLE, people_notes
from imdb_pipeline.results.people_named import Asked, NamesHeld, find_people

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

MAX_PEOPLE = 10
_NOTHING = {"genres": None, "is_adult": False, "release_year": None, "runtime_minutes": None}
_FIELD_OF = {category: field for field, categories in PEOPLE.items() for category in categories}


@dataclass(frozen=True, eq=False)
class Counterfactuals:
    """Changed movies.

    Attributes
    ----------
    changes
        What was changed, n of JSON values: ``change`` is ``field`` (with ``field``), ``person`` (with ``name``,
        ``nconst``, and all fields that the person is in as ``field``) or ``director`` (with ``name``, ``nconst``).
    movies
        n rows with the columns ``INPUT_COLUMNS``, all with the movie's own tconst: what a predictor leaves out of its
        encodings for the movie, it leaves out for these too.
    notes
        ``ambiguous`` and ``unknown`` of the directors that were asked for, as ``new_movie.people_notes`` gives them.
    """

    changes: list[dict[str, Any]]
    movies: pl.DataFrame
    notes: dict[str, Any]


def counterfactuals(
    movie: pl.DataFrame, *, catalogue: pl.DataFrame | NamesHeld | None = None, directors: Sequence[str] = ()
) -> Counterfactuals:
    """Return a movie changed in one thing at a time.

    Parameters
    ----------
    movie
        One row with the columns ``INPUT_COLUMNS``.
    catalogue
        The table ``movies``, among whose credits the names in ``directors`` are looked up; needed with them alone.
    directors
        Names or ids: the movie is shown with each of them in place of its own directors.

    Returns
    -------
    Counterfactuals
        Without each field of the document that says something (of ``actors``, that is the cast), without each of the
        first ``MAX_PEOPLE`` people in billing order, in whatever they are credited for, with each other director.
    """
    import polars as pl

    row = movie.row(0, named=True)
    changes: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []

    def add(change: dict[str, Any], **values: Any) -> None:
        changes.append(change)
        changed.append({**row, **values})

    credits = row["credits"]
    if row["title"]:
        add({"change": "field", "field": "title"}, title="", original_title="")
    for field, nothing in _NOTHING.items():
        if row[field] != nothing:
            add({"change": "field", "field": field}, **{field: nothing})
    for field in (*PEOPLE, "principals"):
        others = [credit for credit in credits if field_of(credit) != field]
        if len(others) < len(credits):
            add({"change": "field", "field": field}, credits=others)
    people: dict[str, list[dict[str, Any]]] = {}
    for credit in credits:
        people.setdefault(credit["nconst"], []).append(credit)
    for nconst, own in list(people.items())[:MAX_PEOPLE]:
        fields = list(dict.fromkeys(map(field_of, own)))
        change = {"change": "person", "field": ", ".join(fields), "name": own[0]["name"], "nconst": nconst}
        add(change, credits=[credit for credit in credits if credit["nconst"] != nconst])
    meant = []
    if directors:
        assert catalogue is not None, "names are looked up in a catalogue"
        if not all(person.strip() for person in directors):
            raise InputError("director: empty; give a name or an id")
        meant = find_people([Asked("directors", person, ("director",)) for person in directors], catalogue)
    for each in meant:
        credit = {"nconst": each.nconst, "category": "director", "name": each.name}
        add({"change": "director", "name": each.name, "nconst": each.nconst}, credits=_directed(credits, credit))
    return Counterfactuals(changes, pl.DataFrame(changed, schema=movie.schema), people_notes(meant))


def field_of(credit: dict[str, Any]) -> str:
    """Return the field of the document that a credit stands in."""
    return _FIELD_OF.get(credit["category"], "principals")


def _directed(credits: list[dict[str, Any]], director: dict[str, Any]) -> list[dict[str, Any]]:
    """Return credits with another director in place of the first; without one before, after the cast."""
    cast = [place + 1 for place, credit in enumerate(credits) if field_of(credit) == "actors"]
    place = next(
        (place for place, credit in enumerate(credits) if credit["category"] == "director"), max(cast, default=0)
    )
    with_new = [*credits[:place], director, *credits[place:]]
    return [credit for credit in with_new if credit is director or credit["category"] != "director"]
