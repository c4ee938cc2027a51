"""The report's section on the predictors: leaderboard by id and by time, gains, training, the audit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.saved import CURVE_FILE
from imdb_pipeline.results.charts import curves
from imdb_pipeline.results.interval_line import r2_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imdb_pipeline.store import Revision

CURVE = f"model/{CURVE_FILE}"
_BY_ID = "of movies held out by a hash of their id."
_BY_TIME = "of the last two complete years, by models fitted on earlier ones: as a movie that is not out yet would be."


def models_section(revisions: Mapping[str, Revision]) -> dict[str, Any]:
    """Return what the section shows.

    Parameters
    ----------
    revisions
        ``leaderboard`` and the predictors; where there is one ``evaluation``.

    Returns
    -------
    dict
        ``rows`` of the leaderboard; ``too_few``: why nothing was learnt, or None; ``boards``, ``gains``, ``curves``,
        ``audit``: None or empty where there is nothing to show.
    """
    board = json.loads(revisions["leaderboard"].file("leaderboard.json").read_bytes())
    seconds = {
        row["model"]: revisions[f"{row['model']}_predictor"].manifest["info"]["fit_seconds"] for row in board["rows"]
    }
    return {
        "rows": board["rows"],
        "too_few": board["too_few"],
        "boards": boards(board["rows"], seconds),
        "gains": gains(board["rows"]),
        "curves": _curves(revisions),
        "audit": audit(read_json(revisions.get("evaluation"), "evaluation.json")),
    }


def boards(rows: list[dict[str, Any]], fit_seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the leaderboard by id and, where there is one, by time, the best on validation first in each.

    Parameters
    ----------
    rows
        Of ``leaderboard_rows``.
    fit_seconds
        By model, of the fit by id; the blend's with its members'.
    """
    by_id = [{**row, "fit_seconds": fit_seconds[row["model"]]} for row in rows]
    by_time = [
        {"model": row["model"]}
        | {name.removeprefix("time_"): value for name, value in row.items() if name.startswith("time_")}
        for row in rows
        if row.get("time_validation_mse") is not None
    ]
    # One line for both, so that what is lost from one to the other shows.
    line = r2_line([*by_id, *by_time])
    found = []
    for title, about, listed in (("By id", _BY_ID, by_id), ("By time", _BY_TIME, by_time)):
        ordered = sorted(listed, key=lambda row: (row["validation_mse"], row["model"]))
        drawn = [{**row, "line": line.drawn(row, "r2")} for row in ordered]
        found.append({"title": title, "about": about, "rows": drawn, "timed": listed is by_id, "ticks": line.ticks})
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


def _curves(revisions: Mapping[str, Revision]) -> list[dict[str, Any]]:
    """Return ``model``, ``chart`` and ``best`` (its epoch) of the training of those predictors that have epochs."""
    found = []
    for asset, revision in revisions.items():
        if asset.endswith("_predictor") and CURVE in revision.manifest["files"]:
            epochs = [row for row in json.loads(revision.file(CURVE).read_bytes()) if "epoch" in row]
            if epochs:
                found.append({"model": asset.removesuffix("_predictor"), **training(epochs)})
    return found


def training(epochs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the ``chart`` of the errors by epoch, the names of its ``lines``, the ``best`` epoch and its error."""
    lines = {}
    for column, name in (("train_mse", "training"), ("validation_mse", "validation")):
        points = [(float(row["epoch"]), float(row[column])) for row in epochs if row.get(column) is not None]
        if points:
            lines[name] = points
    best = min(lines.get("validation", [(None, None)]), key=lambda point: point[1] or 0)
    chart = curves(list(lines.values()), "epoch", "MSE", "Mean squared error by epoch") if lines else None
    return {
        "chart": chart,
        "lines": list(lines),
        "best": best[0] and int(best[0]),
        "mse": best[1],
        "epochs": len(epochs),
    }


def read_json(revision: Revision | None, name: str) -> dict[str, Any]:
    """Return a JSON file of a revision; empty where there is none."""
    return {} if revision is None else json.loads(revision.file(name).read_bytes())
