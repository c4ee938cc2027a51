"""The champions that a home holds, and how an earlier one serves again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from imdb_pipeline.durable import link_or_copy
from imdb_pipeline.errors import InputError

if TYPE_CHECKING:
    from imdb_pipeline.store import Revision, Store

CHAMPION = "champion.json"
METRICS = "metrics.json"
MODEL = "model"
"""The folder of the fitted model, in a predictor's revision and in the champion's."""
INTERVALS = "intervals"
UNSEEN = "unseen.parquet"
FEW_VOTES = "few_votes.parquet"


def list_champions(store: Store) -> list[dict[str, Any]]:
    """Return a row a day that holds a champion, oldest first.

    Each has day, id, model, trained (the day whose movies it was fitted on), why (what the challenge said),
    validation_mse, test_mse, r2 (on test), and kept: whether its files are there, so that it can be restored. Days
    whose files expired have day and kept alone.
    """
    rows = []
    for day in store.days("champion"):
        revision = store.get("champion", day)
        if not revision.manifest["rows"]:
            continue
        if revision.expired:
            rows.append({"day": day, "kept": False})
            continue
        content = json.loads(revision.file(CHAMPION).read_bytes())
        metrics = json.loads(revision.file(METRICS).read_bytes())["metrics"]
        rows.append(
            {
                "day": day,
                "id": content["id"],
                "model": content["model"],
                "trained": content["trained"],
                "why": content["challenge"]["why"],
                "validation_mse": metrics["validation"]["mse"],
                "test_mse": metrics["test"]["mse"],
                "r2": metrics["test"]["r2"],
                "kept": True,
            }
        )
    return rows


def restore_champion(store: Store, day: str) -> Revision:
    """Publish the champion of ``day`` as that of the newest day that holds one, and return the revision.

    It serves until the training of a later day challenges it. What is made from it is made again by the next run.

    Raises
    ------
    InputError
        No champion is held of that day, it serves already, or its files expired.
    PipelineError
        A file of it is not the bytes that were published.
    """
    days = store.days("champion")
    held = [each for each in days if store.get("champion", each).manifest["rows"]]
    if day not in held:
        kept = ", ".join(held) or "none"
        raise InputError(f"day {day}: no champion is held of it; there are those of {kept}")
    chosen, newest = store.get("champion", day), store.get("champion", days[-1])
    if chosen.expired:
        raise InputError(f"the champion of {day}: its files expired ([retention] in settings.toml); take a newer one")
    store.verify(chosen)
    content = json.loads(chosen.file(CHAMPION).read_bytes())
    if newest.manifest["rows"] and json.loads(newest.file(CHAMPION).read_bytes())["id"] == content["id"]:
        raise InputError(f"the champion of {day} ({content['id']}) serves already")
    restored = {"day": day, "revision": chosen.id, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    challenge = {"replaces": True, "why": f"restored from {day}"}
    with store.lock("champion", newest.day), store.stage("champion") as folder:
        for name in chosen.manifest["files"]:
            if name != CHAMPION:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(chosen.file(name), folder / name)
        changed = content | {"restored": restored, "challenge": challenge}
        (folder / CHAMPION).write_text(json.dumps(changed, indent=2))
        manifest = newest.manifest
        return store.publish(
            folder,
            asset="champion",
            day=newest.day,
            # The key of what it stands in for: a run of that day leaves it there.
            key=newest.key,
            code_version=chosen.manifest["code_version"],
            inputs={"previous_champion": chosen},
            settings=manifest["settings"],
            rows=manifest["rows"] or 1,
            info={**chosen.manifest["info"], "restored": restored},
        )
