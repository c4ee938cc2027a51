"""The report's section on the study: its figures, their reproduction, and the honest protocol, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.study import FIGURES, MEAN_MSE, TEST_MOVIES
from imdb_pipeline.results.charts import Chart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup

SOURCE = {
    "author": "Max Woolf",
    "title": "Predicting Average IMDb Movie Ratings Using Text Embeddings of Movie Metadata",
    "date": "June 2025",
    "data": "10 May 2025",
    "address": "https://minimaxir.com/2025/06/movie-embeddings/",
    "rated": 242_552,
    "test": TEST_MOVIES,
    "variance": MEAN_MSE,
}
"""What is cited, and on which movies its figures are."""
_LEADERBOARD_NAME = {"transformer, best epoch": "transformer"}
"""Of those of the study's predictors that the leaderboard calls otherwise."""
_KINDS = {
    "study": "the study",
    "again": "its protocol, today",
    "by_id": "today, by id",
    "by_time": "today, by time",
}
_LOWEST = -0.1
"""R² below which a dot is drawn at the edge."""
_ROW = 34


def study_section(rows: Sequence[Mapping[str, Any]], told: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the section shows; None where there is neither a leaderboard nor a reproduction.

    Parameters
    ----------
    rows
        Of the leaderboard.
    told
        ``rows`` of ``models.study.reproduce``, ``map``; empty where the reproduction was not made.

    Returns
    -------
    dict
        ``source``; ``beside``: a row a predictor, with those of the study first; ``chart``, ``kinds`` of figures in
        it by style, and predictors with one ``beyond`` its edge; ``reproduction``: what ``reproduction`` returns.
    """
    made = reproduction(told)
    if not rows and made is None:
        return None
    beside = side_by_side(rows, made["rows"] if made else [])
    return {
        "source": SOURCE,
        "beside": beside,
        "chart": _chart(beside),
        "kinds": _kinds(beside),
        "beyond": _beyond(beside),
        "reproduction": made,
    }


def side_by_side(rows: Sequence[Mapping[str, Any]], reproduced: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each of the study's predictors, and for those of the leaderboard that it did not have.

    Returns
    -------
    list of dict
        ``predictor``; ``study``, ``again`` (the reproduction), ``by_id``, ``by_time`` (the leaderboard): mse, r2,
        r2_low, r2_high each, or None.
    """
    board = {row["model"]: row for row in rows}
    again = {row["predictor"]: row for row in reproduced if row["mse"] is not None}
    found = []
    for name, figure in FIGURES.items():
        own = board.pop(_LEADERBOARD_NAME.get(name, name), None)
        study = {"mse": figure.mse, "r2": figure.r2, "r2_low": None, "r2_high": None}
        found.append({"predictor": name, "study": study, "again": _figures(again.get(name)), **_judged(own)})
    best_first = sorted(board.values(), key=lambda row: (row["validation_mse"], row["model"]))
    extra = [{"predictor": row["model"], "study": None, "again": None, **_judged(row)} for row in best_first]
    return [*found, *extra]


def reproduction(told: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the reproduction's ``rows`` and ``map``, and what ``differs`` in all of them; None without rows.

    Parameters
    ----------
    told
        ``rows`` of ``models.study.reproduce``, ``map``.
    """
    rows = told.get("rows")
    if not rows:
        return None
    done = [row for row in rows if not row["skipped"]]
    everywhere = [each for each in done[0]["differs"] if all(each in row["differs"] for row in done)] if done else []
    own = [{**row, "differs": [each for each in row["differs"] if each not in everywhere]} for row in rows]
    return {
        "differs": everywhere,
        "rows": own,
        "map": told.get("map"),
        "n_test": done[0].get("n_test") if done else None,
    }


def _judged(row: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what the leaderboard says on test, by id and by time."""
    return {name: _figures(row, prefix) for name, prefix in (("by_id", ""), ("by_time", "time_"))}


def _figures(row: Mapping[str, Any] | None, prefix: str = "") -> dict[str, Any] | None:
    if row is None or row.get(f"{prefix}r2") is None:
        return None
    mse = row.get(f"{prefix}test_mse", row.get("mse"))
    return {"mse": mse, **{name: row.get(prefix + name) for name in ("r2", "r2_low", "r2_high")}}


def _kinds(beside: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return ``kind``, ``name`` and ``style`` of each kind of figures that there are."""
    named = enumerate(_KINDS.items(), start=1)
    return [
        {"kind": kind, "name": name, "style": f"s{style}"}
        for style, (kind, name) in named
        if any(row[kind] for row in beside)
    ]


def _beyond(beside: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the predictors that are worse than the chart shows."""
    return [row["predictor"] for row in beside if any(row[kind] and row[kind]["r2"] < _LOWEST for kind in _KINDS)]


def _chart(beside: Sequence[Mapping[str, Any]]) -> Markup:
    """Draw R² of each predictor: the study's, and below it those of today with their intervals."""
    shown = [row for row in beside if any(row[kind] and row[kind]["r2"] for kind in _KINDS)]
    values = [row[kind]["r2"] for row in shown for kind in _KINDS if row[kind]]
    ends = [row[kind]["r2_high"] for row in shown for kind in _KINDS if row[kind] and row[kind]["r2_high"] is not None]
    low = max(_LOWEST, min([0.0, *values]))
    chart = Chart(
        (low, max([0.05, *values, *ends]) * 1.03),
        (0, len(shown) or 1),
        width=720,
        height=_ROW * len(shown) + 54,
        left=168,
    )
    chart.grid("R² on test", y_ticks=[])
    for number, row in enumerate(shown):
        middle = len(shown) - number - 0.5
        if number:
            y = chart.place_y(len(shown) - number)
            chart.rule(chart.left, y, chart.width - 14, y, "grid")
        chart.text(chart.left - 8, chart.place_y(middle) + 4, row["predictor"], "end")
        present = [(style, row[kind]) for style, kind in enumerate(_KINDS, start=1) if row[kind]]
        for place, (style, figures) in enumerate(present):
            y = middle + 0.22 * ((len(present) - 1) / 2 - place)
            if figures["r2_low"] is not None and figures["r2_high"] is not None:
                across = chart.place_y(y)
                ends_at = (chart.place_x(figures["r2_low"]), chart.place_x(figures["r2_high"]))
                chart.rule(ends_at[0], across, ends_at[1], across, f"s{style}")
            chart.dot(figures["r2"], y, f"s{style}", f"{row['predictor']}: {figures['r2']:.3f}")
    zero = chart.place_x(0)
    chart.rule(zero, chart.place_y(len(shown)), zero, chart.place_y(0), "axis")
    return chart.svg("R² of each predictor in the study and here")
