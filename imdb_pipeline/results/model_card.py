"""The model card: what the champion is, what it was made from, how it was judged, and what it is not good for.

After Mitchell et al. 2019, Model Cards for Model Reporting (doi:10.1145/3287560.3287596). All text and figures are made
once, in ``card_sections``; the two templates only lay them out, as HTML and as Markdown.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imdb_pipeline.results.plain_text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HTML_FILE = "model_card.html"
MARKDOWN_FILE = "model_card.md"
_MARKDOWN_SIGNS = "\\`*_[]|#~"
_LONGEST_SETTING = 200
_ENDS = ("_low", "_high")
_LABELS = {
    "n": "movies",
    "mse": "MSE",
    "mae": "MAE",
    "r2": "R²",
    "mse_gain": "MSE below the mean's",
    "r2_within": "R² within the group",
    "mean_prediction": "predicted",
    "mean_rating": "rated",
    "coverage": "share inside the interval",
}
_ERROR = ("n", "mse", "mae", "r2", "mse_gain")
_COVERED = ("n", "coverage", "mean_width")
_SCORED = ("n", "mse", "mae", "bias", "r2", "coverage")


@dataclass(frozen=True)
class Table:
    """Cells as they are shown; ``numeric`` says which columns are set to the right."""

    caption: str
    columns: list[str]
    rows: list[list[str]]
    numeric: list[bool]


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it: paragraphs, then points, then tables."""

    heading: str
    paragraphs: list[str] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


def write_model_card(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write ``model_card.html`` and ``model_card.md`` into ``folder``; ``facts`` are those of ``card_sections``."""
    from jinja2 import Environment, PackageLoader

    # The Markdown is escaped by its own filter, so autoescape would do it twice.
    environment = Environment(
        loader=PackageLoader("imdb_pipeline.results"),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["markdown"] = _markdown
    content = {"title": f"Model card: {_shown(facts['champion']['model'] or 'no champion')}", "day": facts.get("day")}
    for file in (HTML_FILE, MARKDOWN_FILE):
        text = environment.get_template(f"{file}.j2").render(**content, sections=card_sections(facts))
        (folder / file).write_text(text, encoding="utf-8")


def card_sections(facts: Mapping[str, Any]) -> list[Section]:
    """Return the card's sections; what ``facts`` do not have is left out.

    Parameters
    ----------
    facts
        JSON values. ``champion`` is needed: ``model`` (None: there is none, and ``reason`` says why), and where there
        are any ``method``, ``settings``, ``id``. The others may be absent:

        - ``day``, ``source``, ``imdb`` (whether the data are IMDb's: then the card names their licence), ``min_votes``;
        - ``counts``: number by name, of the data;
        - ``splits``: by split (``by id``, ``by time``) the movies by part;
        - ``metrics``: by split, by part, what ``evaluate`` returned;
        - ``groups`` (``groups.by_group``), ``calibration`` (``evaluate.calibration``): of test movies;
        - ``intervals`` (``Intervals.settings``), ``coverage`` (``conformal.coverage``), ``ledger`` (``score``);
        - ``limits``: sentences of this champion besides those that hold for all;
        - ``made``: value by name: seed, versions, device, seconds.
    """
    from imdb_pipeline.dumps.source import LICENCE
    from imdb_pipeline.results.report import COURTESY

    sections = [
        _champion(facts["champion"]),
        _data(facts),
        _protocol(facts),
        _figures(facts),
        _intervals(facts),
        _ledger(facts),
        Section("Limits", points=_limits(facts)),
    ]
    if facts.get("made"):
        sections.append(Section("How it was made", tables=[_named("", facts["made"])]))
    if facts.get("imdb"):
        licence = (
            "IMDb's datasets are for personal and non-commercial use and may not be republished, nor may what is made "
            f"from them, these weights and predictions included: {LICENCE}"
        )
        sections.append(Section("Licence of the data", [licence, COURTESY]))
    return [section for section in sections if section.paragraphs or section.points or section.tables]


_LIMITS = (
    "It predicts the mean of the votes of IMDb's users, who choose what they watch: not the quality of a movie.",
    "It is judged on movies that reached enough votes. Those that never do may be different: it learnt little of them.",
    "Most of what makes a rating is not in the title, the year, the genres and the names: see R² above.",
    "What it says of people is how their other movies were rated, not what they can do.",
    "Intervals hold for movies like those they were calibrated on; for later years less often: see the ledger.",
    "It explains nothing: a field or a person that moves a prediction need not be what moves a rating.",
)


def _limits(facts: Mapping[str, Any]) -> list[str]:
    return [] if facts["champion"]["model"] is None else [*_LIMITS, *map(_shown, facts.get("limits", []))]


def _champion(champion: Mapping[str, Any]) -> Section:
    if champion["model"] is None:
        return Section("The champion", [f"There is no champion: {_shown(champion.get('reason', 'none was chosen'))}."])
    text = f"{_shown(champion['model'])}: {_shown(champion['method'])}." if champion.get("method") else ""
    paragraphs = [text or f"{_shown(champion['model'])}."]
    paragraphs.append("It predicts a movie's average rating on IMDb, from 1 to 10, with a 90 % interval.")
    if champion.get("id"):
        paragraphs.append(f"Fitted as {_shown(champion['id'])}.")
    settings = {name: value for name, value in champion.get("settings", {}).items() if name != "method"}
    return Section("The champion", paragraphs, tables=[_named("Settings", settings)] if settings else [])


def _data(facts: Mapping[str, Any]) -> Section:
    parts = [f"from {_shown(facts['source'])}"] if facts.get("source") else []
    parts += [f"of {_shown(facts['day'])}"] if facts.get("day") else []
    tables = [_named("", facts["counts"])] if facts.get("counts") else []
    if facts.get("splits"):
        rows = [{"split": name, **parts} for name, parts in facts["splits"].items()]
        tables.append(_table("Movies in each part", rows))
    return Section("Data", [f"Data {' '.join(parts)}."] if parts else [], tables=tables)


def _protocol(facts: Mapping[str, Any]) -> Section:
    votes = f"{facts['min_votes']} votes or more" if facts.get("min_votes") else "enough votes"
    by_time = "Split by time, the last two complete years are for test, the year before for validation."
    if facts.get("splits") and "by time" not in facts["splits"]:
        by_time = "There is no split by time: too few movies are of the last two complete years, or of the one before."
    return Section(
        "Protocol",
        points=[
            f"Movies with {votes} are split by a hash of their id: a tenth for test, a tenth for validation, the rest "
            f"for training. {by_time}",
            "Settings, epochs and weights are chosen on validation, and so is the champion, of the predictors that are "
            "better than the mean out of fold too; the test set only reports.",
            "The number of votes is no feature, and no rating of a movie enters what is said of its own people.",
            "R² is 1 − MSE ÷ MSE of the training mean on the same movies. What stands in brackets is its 95 % "
            "interval over movies, with the fitted model held fixed.",
        ],
    )


def _figures(facts: Mapping[str, Any]) -> Section:
    from imdb_pipeline.models.groups import FEWEST_FOR_INTERVAL

    tables = []
    if facts.get("metrics"):
        rows = [
            {"split": split, "part": part, **_some(metrics, _ERROR)}
            for split, parts in facts["metrics"].items()
            for part, metrics in parts.items()
        ]
        tables.append(_table("Error", rows))
    groupings: dict[str, list[dict[str, Any]]] = {}
    for row in facts.get("groups") or []:
        if row["n"] < FEWEST_FOR_INTERVAL:
            continue
        figures = {name: value for name, value in row.items() if name not in ("grouping", "group")}
        groupings.setdefault(row["grouping"], []).append({row["grouping"]: row["group"], **figures})
    tables += [_table(f"Test movies by {_shown(name)}", rows) for name, rows in groupings.items()]
    if facts.get("calibration"):
        tables.append(_table("Test movies by tenths of their predictions", facts["calibration"]))
    return Section("Figures", tables=tables)


def _intervals(facts: Mapping[str, Any]) -> Section:
    paragraphs, tables = [], []
    if facts.get("intervals"):
        settings = facts["intervals"]
        why = f" ({_shown(settings['reason'])})" if settings.get("reason") else ""
        paragraphs.append(
            f"Made by {_shown(settings['method'])}{why}, calibrated on {_cell(settings['n_out_of_fold'])} out-of-fold "
            f"errors of training movies and {_cell(settings['n_validation'])} of validation movies."
        )
    if facts.get("coverage"):
        covered = facts["coverage"]
        rows = [{"votes": "all", **covered["overall"]}, *covered["by_votes"]]
        rows = [{"votes": row["votes"], **_some(row, _COVERED)} for row in rows if row["n"]]
        if rows:
            aim = f"Test movies inside their interval, aimed at {_cell(covered['level'])}"
            tables.append(_table(aim, rows))
    return Section("Intervals", paragraphs, tables=tables)


def _ledger(facts: Mapping[str, Any]) -> Section:
    heading, score = "Predictions made before there was a rating", facts.get("ledger")
    if not score or not score["predicted"]:
        return Section(heading)
    counts = f"{_cell(score['predicted'])} movies were predicted while they had too few votes"
    if not score["graded"]:
        return Section(heading, [f"{counts}; none of them has been graded yet."])
    rows = [{"champion": "all", **_some(score["overall"]["last"], _SCORED)}]
    rows += [{"champion": model["model"], **_some(model["last"], _SCORED)} for model in score["models"]]
    tables = [_table("By the last prediction before the rating; R² is against the training mean known then", rows)]
    for caption, listed, name in (
        ("By days ahead", score["by_days_ahead"], "days"),
        ("By the votes it had when it was predicted", score["by_votes"], "votes"),
    ):
        tables.append(_table(caption, [{name: row[name], **_some(row, _SCORED)} for row in listed if row["n"]]))
    return Section(heading, [f"{counts}; {_cell(score['graded'])} of them graded since."], tables=tables)


def _some(figures: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return the figures of these names, with their intervals."""
    keys = [key for name in names for key in (name, f"{name}_low", f"{name}_high")]
    return {key: figures[key] for key in keys if key in figures}


def _named(caption: str, values: Mapping[str, Any]) -> Table:
    """Return a table of names and values; what is nested is shown as JSON."""
    rows = [[_shown(name.replace("_", " ")), _cell(value)] for name, value in values.items() if value is not None]
    return Table(caption, ["", ""], rows, [False, False])


def _table(caption: str, rows: list[dict[str, Any]]) -> Table:
    """Return a table of rows with the same keys; a figure and its interval share a column."""
    columns = [name for name in rows[0] if not (name.endswith(_ENDS) and name.rpartition("_")[0] in rows[0])]
    values = [[row.get(column) for row in rows] for column in columns]
    return Table(
        _shown(caption),
        [_shown(_LABELS.get(column, column.replace("_", " "))) for column in columns],
        [[_cell(row.get(column)) + _bounds(row, column) for column in columns] for row in rows],
        [all(value is None or _is_number(value) for value in column) for column in values],
    )


def _bounds(row: Mapping[str, Any], name: str) -> str:
    low, high = (row.get(name + end) for end in _ENDS)
    return "" if low is None or high is None else f" [{_cell(low)}, {_cell(high)}]"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    """Return a value as it is shown."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    if isinstance(value, float):
        text = f"{value:.3f}" if abs(value) >= 0.001 or value == 0 else f"{value:.1e}"
        return text.replace("-", "−", 1) if value < 0 else text
    if isinstance(value, str):
        return _shown(value)
    text = json.dumps(value, ensure_ascii=False)
    return _shown(text if len(text) <= _LONGEST_SETTING else f"{text[:_LONGEST_SETTING]}…")


def _shown(text: str) -> str:
    """Return a text in one line, with what is not printable made visible."""
    return visible(" ".join(str(text).split()))


def _markdown(text: str) -> str:
    """Return a text that Markdown shows as it is, and no HTML in it."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{sign}" if sign in _MARKDOWN_SIGNS else sign for sign in escaped)
