"""What a gate refused, kept aside: ``HOME/quarantine/DAY-SNAPSHOT/`` with the files and the reason, ``reason.json``.

The files are links; nothing here is published, and retention deletes it after some days.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from imdb_pipeline.store import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from imdb_pipeline.gates import Outcome

REASON = "reason.json"


def set_aside(
    home: Path, *, day: str, snapshot: str, asset: str, outcomes: list[Outcome], files: Iterable[Path]
) -> Path:
    """Keep what an asset's gates refused, and return the folder.

    Parameters
    ----------
    snapshot
        The id of the four files.
    files
        What the gates looked at; a file that is there already stays.
    """
    folder = home / "quarantine" / f"{day}-{snapshot}"
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        if file.is_file() and not (folder / file.name).exists():
            try:
                os.link(file, folder / file.name)
            except OSError:  # a file system without hard links
                shutil.copyfile(file, folder / file.name)
    with _locked(home):
        gates = _read(folder).get("gates", {})
        gates[asset] = [asdict(outcome) for outcome in outcomes]
        reason = next(outcome.message for outcome in outcomes if outcome.refuses)
        told = {
            "day": day,
            "snapshot": snapshot,
            "refused_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "asset": asset,
            "reason": reason,
            "gates": gates,
        }
        write_atomically(folder / REASON, json.dumps(told, indent=2, ensure_ascii=False).encode())
    return folder


def refusals(home: Path) -> list[dict[str, Any]]:
    """Return what is kept aside: folder, day, snapshot, asset, reason, refused_at; in the order of days."""
    found = []
    for folder in sorted((home / "quarantine").glob("*-*")):
        told = _read(folder)
        if told:
            kept = {name: told[name] for name in ("day", "snapshot", "asset", "reason", "refused_at")}
            found.append({"folder": str(folder), **kept})
    return found


def refusal(home: Path, snapshot: str) -> dict[str, Any] | None:
    """Return why a snapshot was refused, or None."""
    return next((told for told in refusals(home) if told["snapshot"] == snapshot), None)


def take_back(home: Path, *, day: str, snapshot: str, asset: str) -> None:
    """Forget that an asset was refused, once it has been published after all."""
    folder = home / "quarantine" / f"{day}-{snapshot}"
    if not folder.is_dir():
        return
    with _locked(home):
        told = _read(folder)
        gates = {name: outcomes for name, outcomes in told.get("gates", {}).items() if name != asset}
        refusing = [name for name, outcomes in gates.items() if _refused(outcomes)]
        if not refusing:
            shutil.rmtree(folder, ignore_errors=True)
        elif gates != told.get("gates"):
            first = next(outcome for outcome in gates[refusing[0]] if _refused([outcome]))
            told |= {"gates": gates, "asset": refusing[0], "reason": first["message"]}
            write_atomically(folder / REASON, json.dumps(told, indent=2, ensure_ascii=False).encode())


def _refused(outcomes: list[dict[str, Any]]) -> bool:
    return any(each["required"] and not each["passed"] and each["overridden"] is None for each in outcomes)


def _read(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / REASON).read_bytes())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return {}


def _locked(home: Path) -> Any:
    from filelock import FileLock

    return FileLock(home / "quarantine" / ".lock")
