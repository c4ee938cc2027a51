"""The report's section on the predictors: leaderboard by id and by time, gains, training, the study, the audit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.saved import CURVE_FILE
from imdb_pipeline.results.interval_line import r2_line
from imdb_pipeline.results.plots import draw_training, embedded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imdb_pipeline.store import Revision

CURVE = f"model/{CURVE_FILE}"
_BY_ID = "Movies held out by a hash of their id."
_BY_TIME = "Fitted on earlier years, judged on the last two complete ones, as a movie that is not out yet would be."


def models_section(revisions: Mapping[str, Revision]) -> dict[str, Any]:
    """Return what the section shows.

    Parameters
    ----------
    revisions
        ``leaderboard`` and the predictors; where there are any ``study_reproduction``, ``evaluation``.

    Returns
    -------
    dict
        ``too_few``: why nothing was learnt, or None; ``boards``, ``gains``, ``curves``, ``study``, ``audit``: None or
        empty where there is nothing to show; ``on_demand``: the days of those that are made on demand.
    """
    board = json.loads(revisions["leaderboard"].file("leaderboard.json").read_bytes())
    seconds = {
        row["model"]: revisions[f"{row['model']}_predictor"].manifest["info"]["fit_seconds"] for row in board["rows"]
    }
    return {
        "too_few": board["too_few"],
        "boards": boards(board["rows"], seconds),
        "gains": gains(board["rows"]),
        "curves": _curves(revisions),
        "on_demand": {name: revisions[name].day for name in ("evaluation", "study_reproduction") if name in revisions},
        "study": study(_read(revisions.get("study_reproduction"), "study.json")),
        "audit": audit(_read(revisions.get("evaluation"), "evaluation.json")),
    }


def boards(rows: list[dict[str, Any]], fit_seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the leaderboard by id and, where there is one, by time, the best on validation first in each.

    Parameters
    ----------
    rows
        Of ``leaderboard_rows``.
    fit_seconds
        By model, of the fit by id.
    """
    by_id = [{**row, "fit_seconds": fit_seconds[row["model"]]} for row in rows]
    by_time = [
        {"model": row["model"]}
        | {name.removeprefix("time_"): value for name, value in row.items() if name.startswith("time_")}
        for row in rows
        if row.get("time_validation_mse") is not None
    ]
    found = []
    for title, about, listed in (("By id", _BY_ID, by_id), ("By time", _BY_TIME, by_time)):
        line = r2_line(listed)
        ordered = sorted(listed, key=lambda row: (row["validation_mse"], row["model"]))
        drawn = [{**row, "line": line.drawn(row, "r2")} for row in ordered]
        found.append({"title": title, "about": about, "rows": drawn, "timed": listed is by_id})
    return [each for each in found if each["rows"]]


def gains(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the columns of gains that the leaderboard has, and its rows; None where it has none."""
    columns = []
    for prefix, split in (("", "by id"), ("time_", "by time")):
        best = next((row[f"{prefix}best_study"] for row in rows if row.get(f"{prefix}best_study")), None)
        for name, other in (("gain_over_linear", "linear"), ("gain_over_best_study", best)):
            if any(row.get(prefix + name) is not None for row in rows):
                columns.append({"name": prefix + name, "other": other, "title": f"over {other}, {split}"})
    return {"columns": columns, "rows": rows} if columns else None


def study(told: Mapping[str, Any]) -> dict[str, Any] | None:
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
    return {"differs": everywhere, "rows": own, "map": told.get("map")}


def audit(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return ``rotation`` (a row a predictor, best first), ``permuted``, ``own_rating``, ``forbidden``, where known.

    Parameters
    ----------
    found
        What ``models.rotation``, ``audit`` and ``features_audit`` returned under these names.
    """
    rotation = [{"model": name, **summary} for name, summary in found.get("rotation", {}).items()]
    known = {name: found.get(name) for name in ("permuted", "own_rating", "forbidden")}
    known["rotation"] = sorted(rotation, key=lambda row: (row["mse_mean"], row["model"]))
    return known if any(known.values()) else None


def _curves(revisions: Mapping[str, Revision]) -> str | None:
    """Return the picture of the training of those predictors that have epochs."""
    curves = {}
    for asset, revision in revisions.items():
        if asset.endswith("_predictor") and CURVE in revision.manifest["files"]:
            epochs = [row for row in json.loads(revision.file(CURVE).read_bytes()) if "epoch" in row]
            if epochs:
                curves[asset.removesuffix("_predictor")] = epochs
    return embedded(draw_training(curves)) if curves else None


def _read(revision: Revision | None, name: str) -> dict[str, Any]:
    return {} if revision is None else json.loads(revision.file(name).read_bytes())
