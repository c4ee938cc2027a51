"""Answers as plain text for a terminal: a prediction, an explanation. What a terminal would obey is made visible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_TITLE = 120
_MOST_LISTED = 10
_SHOWN_FIELDS = {"actors": "the cast", "credits": "all its people together", "is_adult": "being an adult title"}


def visible(text: str) -> str:
    """Return a text with U+FFFD in place of each sign that is not printable, as control characters are."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)


def titled(movie: Mapping[str, Any]) -> str:
    """Return title and year of a movie."""
    title = visible(movie["title"]).strip() or "no title"
    shown = title if len(title) <= _LONGEST_TITLE else f"{title[:_LONGEST_TITLE]}…"
    return f"{shown} ({movie['release_year'] or 'no year'})"


def prediction_text(answer: Mapping[str, Any]) -> str:
    """Return the answer of ``predict``: title, release_year, prediction, low, high, and what it has of ``basis``,
    ``average_rating``, ``num_votes``, and the notes of ``new_movie``."""
    lines = [titled(answer), f"predicted {answer['prediction']:.1f}, 90 % interval {_interval(answer)}"]
    basis = {
        "out_of_fold": "by models fitted without this movie",
        "held_out": "by a model that this movie was held out from",
        "few_votes": "by the model that serves, which learnt a little from this movie while it had few votes",
        "future": "by a model that never saw this movie's rating",
    }.get(answer.get("basis", ""))
    if basis:
        lines.append(basis)
    if answer.get("average_rating") is not None:
        lines.append(f"rated {answer['average_rating']:.1f} in {answer['num_votes']:,} votes")
    return "\n".join([*lines, *_note_lines(answer)])


def explanation_text(answer: Mapping[str, Any]) -> str:
    """Return the answer of ``explain``; it may have ``low``, ``high`` and ``contributions``, with ``model``, too."""
    interval = f", 90 % interval {_interval(answer)}" if "low" in answer else ""
    lines = [titled(answer), f"predicted {answer['prediction']:.2f}{interval}"]
    trees = answer.get("contributions")
    if trees:
        name = f" of {visible(trees['model'])}" if "model" in trees else ""
        lines += ["", f"What the trees{name} add to their mean prediction, {trees['base']:.2f}; the sum is exact"]
        lines += [_line(row["effect"], _field(row["field"])) for row in trees["fields"]]
    if answer["fields"]:
        lines += ["", "What each field adds: the prediction less that without it"]
        lines += [_line(row["effect"], _field(row["field"])) for row in answer["fields"]]
    if answer["people"]:
        lines += ["", "What each person adds"]
        lines += [_line(row["effect"], f"{_person(row)}, {row['field']}") for row in answer["people"]]
    if answer["other_directors"]:
        lines += ["", "What another director would add"]
        lines += [
            _line(row["effect"], f"{_person(row)}: predicted {row['prediction']:.2f}")
            for row in answer["other_directors"]
        ]
    return "\n".join([*lines, *_note_lines(answer), "", answer["says"]])


def _interval(answer: Mapping[str, Any]) -> str:
    return f"{answer['low']:.1f} to {answer['high']:.1f}"


def _line(effect: float, what: str) -> str:
    sign = "" if round(effect, 2) == 0 else "+" if effect > 0 else "−"
    return f"  {sign + format(abs(effect), '.2f'):>5}  {what}"


def _field(name: str) -> str:
    return visible(_SHOWN_FIELDS.get(name, name.replace("_", " ")))


def _person(row: Mapping[str, Any]) -> str:
    return visible(row["name"] or row["nconst"] or "somebody")


def _note_lines(answer: Mapping[str, Any]) -> list[str]:
    """Return lines for the people, genres, categories and fields that a reader has to know of."""
    lines = _some(
        [
            f"{each['people_of_that_name']} people are called {visible(each['name'])}: {each['nconst']} is meant, with "
            f"{each['credits']:,} such credits; give an id to mean another"
            for each in answer.get("ambiguous", [])
        ],
        "names that several people have",
    )
    unknown = [f"not in the catalogue: {_valued(each, 'person')}" for each in answer.get("unknown", [])]
    lines += _some(unknown, "not in the catalogue")
    for name, what in (("unknown_genres", "genre"), ("unknown_categories", "category")):
        if answer.get(name):
            lines.append(f"no {what} of the catalogue: {', '.join(_some([visible(each) for each in answer[name]]))}")
    if answer.get("repeated"):
        repeated = [_valued(each, "value") for each in answer["repeated"]]
        lines.append(f"given more than once, counted once: {', '.join(_some(repeated))}")
    if answer.get("missing"):
        lines.append(f"not given: {', '.join(answer['missing'])}")
    return ["", *lines] if lines else []


def _valued(each: Mapping[str, Any], name: str) -> str:
    return f"{visible(each[name])} ({each['field']})"


def _some(lines: list[str], what: str = "") -> list[str]:
    """Return the first lines, and how many more there are, and of what."""
    more = len(lines) - _MOST_LISTED
    return lines if more <= 0 else [*lines[:_MOST_LISTED], f"and {more:,} more {what}".rstrip()]
