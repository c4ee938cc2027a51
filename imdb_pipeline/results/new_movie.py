"""A movie that does not exist, read from a JSON file in the document's own fields: what ``predict`` predicts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import InputError
from imdb_pipeline.results.people_named import PERSON_ID, Asked, Meant, NamesHeld, categories_of, find_people, genres_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import polars as pl

TCONST = "new"
"""In place of an id: no movie has it."""

MAX_BYTES = 1_000_000
PEOPLE = {
    "actors": ("actor", "actress"),
    "directors": ("director",),
    "writers": ("writer",),
    "producers": ("producer",),
}
"""The document's lists of people, in the usual order of billing, and the categories in each; others: principals."""

FIELDS = (
    *("title", "genres", "is_adult", "release_year", "runtime_minutes"),
    *("directors", "writers", "producers", "actors", "principals"),
)
"""Of the document."""

DESCRIBED = ("title", "title_type", *FIELDS[1:])
"""All that may be said of a movie: ``title_type`` stands in no document."""

TITLE_TYPES = ("movie", "tvMovie")
"""The first is meant where none is given."""

_YEARS = (1870, 2200)
_MAX_MINUTES = 100_000
_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, eq=False)
class NewMovie:
    """A movie from a file.

    Attributes
    ----------
    movie
        One row with the columns ``INPUT_COLUMNS``; its tconst is ``TCONST``. People whom the catalogue does not hold
        have an id that no other movie has.
    document
        Its document.
    notes
        JSON values. ``ambiguous``: field, name, people_of_that_name, nconst and credits of the one who was meant, and
        the same of some ``others``; ``unknown``: field and person of those not in the catalogue; ``unknown_genres``,
        ``unknown_categories`` (in principals): what the catalogue does not have; ``repeated``: field and value of the
        people and genres that the field gives more than once, and which count once; ``missing``: the fields of the
        document that the file does not give.
    """

    movie: pl.DataFrame
    document: str
    notes: dict[str, Any]


def read_new_movie(path: Path, movies: pl.DataFrame | NamesHeld) -> NewMovie:
    """Read a movie from a JSON file; a field that is not there or null is not known.

    Parameters
    ----------
    path
        A JSON object with some of ``DESCRIBED``. A person is a name, an id, or ``{"nconst": "nm0000001"}``; in
        ``principals`` an object of a name or an id with the category.
    movies
        The home's movies, among whose credits a name is looked up: see ``find_people``.

    Raises
    ------
    InputError
        The file cannot be read, is too large or no JSON, or a field is unknown or of a wrong type; it names the field.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a JSON file of a movie") from None
    if len(content) > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES:,} bytes; give the JSON of one movie")
    return new_movie(parse_json(content, source=str(path)), movies, source=str(path))


def parse_json(content: bytes, *, source: str) -> Any:
    """Return a JSON value; messages call it ``source``.

    Raises
    ------
    InputError
        It is no JSON, a name stands twice in one object, or it is nested too deep.
    """
    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else error
        raise InputError(f"{source}: not a movie in JSON ({reason}); correct it") from None


def new_movie(value: Any, movies: pl.DataFrame | NamesHeld, *, source: str) -> NewMovie:
    """Return the movie of a JSON value, as ``read_new_movie`` does; messages call it ``source``."""
    import polars as pl

    from imdb_pipeline.catalogue.documents import document
    from imdb_pipeline.models.examples import INPUT_COLUMNS

    fields = _checked(value, source)
    meant, repeated_people = _once(find_people(fields["people"], movies))
    genres, unknown_genres, repeated_genres = _spelt(fields["genres"], movies)
    categories = dict.fromkeys(each.category for each in meant if each.asked.field == "principals")
    known = categories_of(movies) if categories else frozenset()
    row = {
        "tconst": TCONST,
        "title": fields["title"] or "",
        "original_title": fields["title"] or "",
        "title_type": fields["title_type"] or TITLE_TYPES[0],
        "is_adult": bool(fields["is_adult"]),
        "release_year": fields["release_year"],
        "runtime_minutes": fields["runtime_minutes"],
        "genres": genres,
        "credits": [{"nconst": each.nconst, "category": each.category, "name": each.name} for each in meant],
    }
    credit = pl.Struct({"nconst": pl.String, "category": pl.String, "name": pl.String})
    schema = dict.fromkeys(INPUT_COLUMNS, pl.String) | {
        "is_adult": pl.Boolean,
        "release_year": pl.Int32,
        "runtime_minutes": pl.Int32,
        "genres": pl.List(pl.String),
        "credits": pl.List(credit),
    }
    notes = {
        **people_notes(meant),
        "unknown_genres": unknown_genres,
        "unknown_categories": [category for category in categories if category not in known],
        "repeated": [*repeated_genres, *repeated_people],
        "missing": [field for field in FIELDS if value.get(field) is None],
    }
    return NewMovie(pl.DataFrame([row], schema=schema), document(row), notes)


def people_notes(meant: list[Meant]) -> dict[str, Any]:
    """Return what a reader has to know of the people that were looked up: ``ambiguous`` and ``unknown``."""
    return {
        "ambiguous": [
            {
                "field": each.asked.field,
                "name": each.asked.person,
                "people_of_that_name": each.same_name,
                "nconst": each.nconst,
                "credits": each.credits,
                "others": each.others,
            }
            for each in meant
            if each.same_name > 1
        ],
        "unknown": [{"field": each.asked.field, "person": each.asked.person} for each in meant if not each.known],
    }


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands twice in one object")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _checked(value: Any, source: str) -> dict[str, Any]:
    """Return the plain fields, each or None, and ``people``, a list of ``Asked`` in the usual order of billing."""
    import difflib

    if not isinstance(value, dict):
        raise InputError(f"{source}: expected a JSON object of a movie's fields, found {_kind(value)}")
    for name in value:
        if name not in DESCRIBED:
            close = difflib.get_close_matches(name, DESCRIBED, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(DESCRIBED)}"
            raise InputError(f"{source}: unknown field {name!r}; {hint}")

    def field(name: str, expected: str, right: Callable[[Any], bool]) -> Any:
        given = value.get(name)
        if given is not None and not right(given):
            raise InputError(f"{source}: {name}: {_wrong(given, expected)}")
        return given

    first, last = _YEARS
    plain = {
        "title": field("title", "a text", _is_text),
        "title_type": field("title_type", " or ".join(map(repr, TITLE_TYPES)), lambda given: given in TITLE_TYPES),
        "genres": field("genres", "a list of texts", lambda given: _is_list(given) and all(map(_is_text, given))),
        "is_adult": field("is_adult", "true or false", lambda given: isinstance(given, bool)),
        "release_year": field(
            "release_year", f"a year from {first} to {last}", lambda given: _is_whole(given) and first <= given <= last
        ),
        "runtime_minutes": field(
            "runtime_minutes",
            f"whole minutes from 0 to {_MAX_MINUTES:,}",
            lambda given: _is_whole(given) and 0 <= given <= _MAX_MINUTES,
        ),
    }
    people = [
        _listed(given, name, f"{source}: {name}, number {number}")
        for name in PEOPLE
        for number, given in enumerate(field(name, "a list of people", _is_list) or [], start=1)
    ]
    for number, given in enumerate(field("principals", "a list of objects", _is_list) or [], start=1):
        people.append(_principal(given, f"{source}: principals, number {number}"))
    return {**plain, "people": people}


def _listed(given: Any, name: str, where: str) -> Asked:
    person: Any = given.get("nconst") if isinstance(given, dict) and list(given) == ["nconst"] else given
    if not _is_person(person) or (isinstance(given, dict) and not PERSON_ID.fullmatch(person)):
        shown = 'a name or {"nconst": "nm0000001"}'
        raise InputError(f"{where}: {_wrong(given, shown)}")
    return Asked(name, _one_line(person), PEOPLE[name])


def _principal(given: Any, where: str) -> Asked:
    shown = 'a name with a category as in {"A Name": "composer"}'
    if not isinstance(given, dict) or len(given) != 1:
        raise InputError(f"{where}: {_wrong(given, shown)}")
    ((person, category),) = given.items()
    if not _is_person(person) or not _is_person(category):
        raise InputError(f"{where}: {_wrong(given, shown)}")
    if person == "nconst":
        raise InputError(f'{where}: give an id in place of the name, as in {{"nm0000001": "composer"}}')
    for field, categories in PEOPLE.items():
        if category in categories:
            raise InputError(f"{where}: a person of the category {category!r} belongs in {field!r}")
    return Asked("principals", _one_line(person), (_one_line(category),))


def _spelt(
    genres: list[str] | None, movies: pl.DataFrame | NamesHeld
) -> tuple[list[str] | None, list[str], list[dict[str, str]]]:
    """Return the genres as the catalogue spells them, each once, those that it does not have, and the repeated ones."""
    if genres is None:
        return None, [], []
    known = genres_of(movies)
    first: dict[str, str] = {}
    repeated: set[str] = set()
    for genre in genres:
        lower = genre.lower()
        if lower in first:
            repeated.add(lower)
        else:
            first[lower] = known.get(lower, genre)
    unknown = [genre for lower, genre in first.items() if lower not in known]
    return (
        [*first.values()],
        unknown,
        [{"field": "genres", "value": genre} for lower, genre in first.items() if lower in repeated],
    )


def _once(meant: list[Meant]) -> tuple[list[Meant], list[dict[str, str]]]:
    """Return the people, each once in a field, in the first place; and who stood in one more than once.

    In ``principals`` somebody may have several categories.
    """
    first: dict[tuple[str, str, str], Meant] = {}
    repeated: dict[tuple[str, str, str], dict[str, str]] = {}
    for each in meant:
        category = each.category if each.asked.field == "principals" else ""
        key = (each.asked.field, each.nconst.lower(), category)
        if key in first:
            repeated.setdefault(key, {"field": each.asked.field, "value": first[key].asked.person})
        else:
            first[key] = each
    return [*first.values()], [*repeated.values()]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _is_text(given: Any) -> bool:
    """Whether it is a text that UTF-8 can hold: JSON can write half of a character."""
    return isinstance(given, str) and _HALF.search(given) is None


def _is_person(given: Any) -> bool:
    return _is_text(given) and bool(given.strip())


def _is_list(given: Any) -> bool:
    return isinstance(given, list)


def _is_whole(given: Any) -> bool:
    return isinstance(given, int) and not isinstance(given, bool)


def _wrong(given: Any, expected: str) -> str:
    """Return what is wrong with a value that is not what is expected."""
    half = _HALF.search(json.dumps(given, ensure_ascii=False))
    if half:
        return f"not valid Unicode, {_kind(half.group())} is half of a character; write the whole character"
    return f"expected {expected}, found {_kind(given)}"


def _kind(given: Any) -> str:
    """Return a value as a message shows it: in ASCII, and short."""
    text = json.dumps(given)
    return text if len(text) <= 60 else f"{text[:57]}..."
