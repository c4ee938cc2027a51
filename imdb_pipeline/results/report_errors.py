"""The report's sections on how good the champion is: calibration, errors by group, intervals, the ledger."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.groups import FEWEST_FOR_INTERVAL
from imdb_pipeline.results.card_facts import FACTS_FILE
from imdb_pipeline.results.charts import Chart, ticks
from imdb_pipeline.results.interval_line import bias_line, coverage_line, error_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from markupsafe import Markup

    from imdb_pipeline.store import Revision


def errors_section(revisions: Mapping[str, Revision]) -> dict[str, Any]:
    """Return what the sections show; None or empty where an asset has not delivered it.

    Parameters
    ----------
    revisions
        Where there are any ``model_card`` and ``prediction_ledger``.

    Returns
    -------
    dict
        ``calibration`` (the chart, and the widest gap), ``groupings``, ``coverage``, ``limits``, ``ledger``, ``test``
        (how many movies were judged).
    """
    card, ledger = revisions.get("model_card"), revisions.get("prediction_ledger")
    facts = {} if card is None else json.loads(card.file(FACTS_FILE).read_bytes())
    curve = facts.get("calibration")
    return {
        "test": sum(row["n"] for row in curve or ()),
        "calibration": calibrated(curve) if curve else None,
        "groupings": groupings(facts.get("groups") or []),
        "coverage": covered(facts["coverage"]) if facts.get("coverage") else None,
        "limits": facts.get("limits") or [],
        "ledger": None if ledger is None else graded(json.loads(ledger.file("score.json").read_bytes())),
    }


def groupings(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return by ``name`` of the grouping the ``rows`` of its groups that are large enough to say anything.

    Parameters
    ----------
    rows
        Of ``groups.by_group``.
    """
    large = [row for row in rows if row["n"] >= FEWEST_FOR_INTERVAL]
    bias, error = bias_line(large), error_line(large)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in large:
        drawn = {"line": bias.drawn(row, "bias"), "error_line": error.drawn(row, "mae")}
        found.setdefault(row["grouping"], []).append({**row, **drawn})
    return [{"name": name, "rows": listed} for name, listed in found.items()]


def covered(coverage: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return ``level`` and a row for all movies and for each vote bucket; None where no movie was judged.

    Parameters
    ----------
    coverage
        Of ``conformal.coverage``.
    """
    rows = [row for row in ({"votes": "all", **coverage["overall"]}, *coverage["by_votes"]) if row["n"]]
    line = coverage_line(rows, coverage["level"])
    drawn = [{**row, "line": line.drawn(row, "coverage")} for row in rows]
    shown = [(line.place(value), f"{100 * value:.0f} %") for value in ticks(line.low, line.high, 4)]
    return {"level": coverage["level"], "rows": drawn, "ticks": shown} if rows else None


def calibrated(curve: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the ``chart`` of what was predicted and what came of it, and the ``gap``: the widest between the two.

    Parameters
    ----------
    curve
        Of ``models.evaluate.calibration``.
    """
    return {
        "chart": _calibration_chart(curve),
        "gap": max(abs(row["mean_prediction"] - row["mean_rating"]) for row in curve),
    }


def _calibration_chart(curve: list[dict[str, Any]]) -> Markup:
    ends = [row[name] for row in curve for name in ("mean_prediction", "mean_rating_low", "mean_rating_high")]
    room = 0.04 * (max(ends) - min(ends))
    span = (min(ends) - room, max(ends) + room)
    chart = Chart(span, span, height=300).grid("mean prediction, by tenths", "mean rating")
    chart.rule(chart.place_x(span[0]), chart.place_y(span[0]), chart.place_x(span[1]), chart.place_y(span[1]), "dashed")
    for row in curve:
        chart.upright(row["mean_prediction"], row["mean_rating_low"], row["mean_rating_high"], "s1")
    chart.line([(row["mean_prediction"], row["mean_rating"]) for row in curve], "s1")
    return chart.svg("Calibration: mean rating by tenths of the predictions")


def graded(score: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the ledger's counts, a row for all champions and for each, and by days ahead; None before there are any.

    Parameters
    ----------
    score
        Of ``ledger_score.score``.
    """
    if not score["predicted"]:
        return None
    models = [
        {"model": each["model"], "first_day": each["first_day"], "last_day": each["last_day"], **each["last"]}
        for each in score["models"]
    ]
    every = {"model": "all", "first_day": None, "last_day": None, **score["overall"]["last"]}
    counts = {name: score[name] for name in ("predicted", "entries", "graded")}
    ahead = [row for row in score["by_days_ahead"] if row["n"]]
    return {**counts, "rows": [every, *models] if score["graded"] else [], "ahead": ahead}
