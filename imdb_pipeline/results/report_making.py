"""The report's last section: the stages in the order of the data, what each took, and the versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imdb_pipeline.results.card_facts import versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imdb_pipeline.store import Revision

GROUPS = {
    "catalogue": ("movies", "movie_documents", "catalogue_changes"),
    "embeddings": ("movie_embeddings", "movie_neighbours", "movie_map"),
    "models": ("rating_split", "leaderboard", "champion", "evaluation", "study_reproduction"),
    "results": ("rating_predictions", "prediction_ledger", "model_card"),
}
"""The assets that a report reads, by group, in the order of the data; all predictors are of ``models``."""
_LONGEST = 32
LINKED = {"model_card": "model_card.html", "map_page": "map.html"}
"""Pages beside the report, by asset."""


def making_section(revisions: Mapping[str, Revision]) -> dict[str, Any]:
    """Return what the section shows: ``groups`` of the flow, ``steps``, ``encoder``, ``versions``, ``seconds``."""
    steps = [_step(name, revision) for name, revision in revisions.items()]
    slowest = max((step["seconds"] for step in steps), default=0)
    for step in steps:
        step["share"] = step["seconds"] / slowest if slowest else 0
    by_name = {step["asset"]: step for step in steps}
    predictors = [name for name in by_name if name.endswith("_predictor")]
    groups = [{"name": "dumps", "steps": _dumps(revisions)}]
    for name, assets in GROUPS.items():
        listed = [by_name[asset] for asset in assets if asset in by_name]
        if name == "models" and predictors:
            seconds = sum(by_name[asset]["seconds"] for asset in predictors)
            listed[1:1] = [{"asset": f"{len(predictors)} predictors", "rows": None, "seconds": seconds}]
        groups.append({"name": name, "steps": listed})
    embeddings = revisions.get("movie_embeddings")
    return {
        "groups": [group for group in groups if group["steps"]],
        "steps": steps,
        "seconds": sum(step["seconds"] for step in steps),
        "encoder": None if embeddings is None else _encoder(embeddings),
        "versions": versions(),
    }


def pages(revisions: Mapping[str, Revision]) -> dict[str, str]:
    """Return the ways from a report to the pages of other assets in the same store, by asset."""
    return {
        name: f"../../../{name}/{revisions[name].day}/{revisions[name].id}/{file}"
        for name, file in LINKED.items()
        if name in revisions and file in revisions[name].manifest["files"]
    }


def _step(name: str, revision: Revision) -> dict[str, Any]:
    manifest = revision.manifest
    return {
        "asset": name,
        "day": revision.day,
        "revision": revision.id,
        "rows": manifest["rows"],
        "seconds": manifest["info"]["seconds"],
        "device": manifest["info"]["device_name"],
        "settings": _settings(manifest.get("settings", {})),
    }


def _settings(settings: Mapping[str, Any]) -> str:
    """Return settings as they are shown: without the day, and hashes by their first characters."""
    shown = {name: str(value) for name, value in settings.items() if name != "day"}
    return ", ".join(f"{name} {value if len(value) <= _LONGEST else value[:12] + '…'}" for name, value in shown.items())


def _dumps(revisions: Mapping[str, Revision]) -> list[dict[str, Any]]:
    """Return the dumps that the movies were made from, as the movies' manifest has them."""
    dumps = revisions["movies"].manifest["info"].get("dumps", {})
    return [{"asset": name, "rows": dump["rows"], "seconds": None} for name, dump in dumps.items()]


def _encoder(embeddings: Revision) -> dict[str, Any]:
    settings = embeddings.manifest["settings"]
    return {name: settings.get(name) for name in ("encoder", "revision", "dtype")}
