"""The report's sections on how good the champion is: calibration, errors by group, intervals, the ledger."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.groups import FEWEST_FOR_INTERVAL
from imdb_pipeline.results.card_facts import FACTS_FILE
from imdb_pipeline.results.interval_line import bias_line
from imdb_pipeline.results.plots import draw_calibration, embedded

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        ``calibration`` (the picture), ``groupings``, ``coverage``, ``ledger``.
    """
    card, ledger = revisions.get("model_card"), revisions.get("prediction_ledger")
    facts = {} if card is None else json.loads(card.file(FACTS_FILE).read_bytes())
    curve = facts.get("calibration")
    return {
        "calibration": embedded(draw_calibration(curve)) if curve else None,
        "groupings": groupings(facts.get("groups") or []),
        "coverage": covered(facts["coverage"]) if facts.get("coverage") else None,
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
    line = bias_line(large)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in large:
        found.setdefault(row["grouping"], []).append({**row, "line": line.drawn(row, "bias")})
    return [{"name": name, "rows": listed} for name, listed in found.items()]


def covered(coverage: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return ``level`` and a row for all movies and for each vote bucket; None where no movie was judged.

    Parameters
    ----------
    coverage
        Of ``conformal.coverage``.
    """
    rows = [row for row in ({"votes": "all", **coverage["overall"]}, *coverage["by_votes"]) if row["n"]]
    return {"level": coverage["level"], "rows": rows} if rows else None


def graded(score: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the ledger's counts, and a row for all champions and for each; None before the first prediction.

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
    return {**counts, "rows": [every, *models] if score["graded"] else []}
