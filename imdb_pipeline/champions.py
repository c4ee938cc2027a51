"""The champions that a home holds, and how an earlier one serves again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from imdb_pipeline.durable import link_or_copy
from imdb_pipeline.errors import InputError

if TYPE_CHECKING:
    from imdb_pipeline.store import Revision, Store

VERSION = "4"
"""Of what a champion's folder holds; one of another version cannot serve."""

CHAMPION = "champion.json"
METRICS = "metrics.json"
MODEL = "model"
"""The folder of the fitted model, in a predictor's revision and in the champion's."""
INTERVALS = "intervals"
UNSEEN = "unseen.parquet"
FEW_VOTES = "few_votes.parquet"


def list_champions(store: Store) -> list[dict[str, Any]]:
    """Return a row for each time that a champion was published, oldest first.

    Each has day, id, model, trained (the day whose movies it was fitted on), why (what the challenge said),
    validation_mse, test_mse, r2 (on test), serves, and kept: whether it can be restored. Those whose files expired, or
    that another version of the code made, have day, serves and kept alone.
    """
    rows = []
    for day in store.days("champion"):
        for revision in store.revisions("champion", day):
            if not revision.manifest["rows"]:
                continue
            content = _content(revision)
            if content is None:
                rows.append({"day": day, "kept": False})
                continue
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
    return [{**row, "serves": place == len(rows)} for place, row in enumerate(rows, start=1)]


def restore_champion(store: Store, which: str) -> Revision:
    """Publish an earlier champion as that of the newest day that holds one, and return the revision.

    It serves until the training of a later day challenges it. What is made from it is made again by the next run. What
    it takes the place of is kept, and can be restored in turn.

    Parameters
    ----------
    which
        Its id, or the day on which it was trained or published.

    Raises
    ------
    InputError
        No such champion is kept, or it serves already.
    PipelineError
        A file of it is not the bytes that were published.
    """
    days = store.days("champion")
    kept = [(revision, _content(revision)) for day in days for revision in store.revisions("champion", day)]
    held = [(revision, content) for revision, content in kept if content is not None]
    # The last that was meant: by its id, by the day of its training, by a day it served from.
    meant = (
        [each for each in held if each[0].day == which]
        + [each for each in held if each[1]["trained"] == which]
        + [each for each in held if each[1]["id"] == which]
    )
    if not meant:
        listed = ", ".join(dict.fromkeys(content["id"] for _, content in held)) or "none"
        raise InputError(f"{which}: no champion of this day or id is kept; there are {listed}")
    chosen, content = meant[-1]
    newest = store.get("champion", days[-1])
    serving = _content(newest)
    if serving is not None and serving["id"] == content["id"]:
        raise InputError(f"the champion {content['id']} serves already")
    store.verify(chosen)
    restored = {"day": chosen.day, "revision": chosen.id, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    challenge = {"replaces": True, "why": f"restored: {content['id']}"}
    with store.lock("champion", newest.day), store.stage("champion") as folder:
        for name in chosen.manifest["files"]:
            if name != CHAMPION:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(chosen.file(name), folder / name)
        changed = content | {"restored": restored, "challenge": challenge}
        (folder / CHAMPION).write_text(json.dumps(changed, indent=2))
        return store.publish(
            folder,
            asset="champion",
            day=newest.day,
            # The key of what it stands in for: a run of that day leaves it there.
            key=newest.key,
            code_version=chosen.manifest["code_version"],
            inputs={"previous_champion": chosen},
            settings=newest.manifest["settings"],
            rows=1,
            info={**chosen.manifest["info"], "restored": restored},
        )


def _content(revision: Revision) -> dict[str, Any] | None:
    """Return what a champion says of itself; None where there is none, or none that this version can serve."""
    if not revision.manifest["rows"] or revision.expired:
        return None
    return json.loads(revision.file(CHAMPION).read_bytes()) if revision.manifest["code_version"] == VERSION else None
