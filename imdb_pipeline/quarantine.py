"""What a gate refused, kept aside: ``HOME/quarantine/DAY-SNAPSHOT/`` with the files and the reason, ``reason.json``.

The files are links; nothing here is published, and retention deletes it after some days.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from imdb_pipeline.durable import link_or_copy, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from imdb_pipeline.gates import Outcome

REASON = "reason.json"
_TOLD = {"day", "snapshot", "asset", "reason", "refused_at", "gates"}


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
    judged = {asset: [asdict(outcome) for outcome in outcomes]}
    reason = next(outcome.message for outcome in outcomes if outcome.refuses)
    return _keep(home, day=day, snapshot=snapshot, asset=asset, reason=reason, files=files, judged=judged)


def keep(home: Path, *, day: str, snapshot: str, asset: str, reason: str, files: Iterable[Path]) -> Path:
    """Keep what came in place of a file, such as a web page, and return the folder; no gate has judged it."""
    return _keep(home, day=day, snapshot=snapshot, asset=asset, reason=reason, files=files, judged={})


def _keep(
    home: Path,
    *,
    day: str,
    snapshot: str,
    asset: str,
    reason: str,
    files: Iterable[Path],
    judged: dict[str, list[dict[str, Any]]],
) -> Path:
    folder = home / "quarantine" / f"{day}-{snapshot}"
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        if file.is_file() and not (folder / file.name).exists():
            link_or_copy(file, folder / file.name)
    with _locked(home):
        told = {
            "day": day,
            "snapshot": snapshot,
            "refused_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "asset": asset,
            "reason": reason,
            "gates": _read(folder).get("gates", {}) | judged,
        }
        write_atomically(folder / REASON, json.dumps(told, indent=2, ensure_ascii=False).encode())
    return folder


def refusals(home: Path) -> list[dict[str, Any]]:
    """Return what is kept aside, in the order of days.

    Each has folder, day, snapshot, asset, reason, refused_at, and whether gates have judged it: else it was not even a
    file of the kind, and another attempt may bring a better one.
    """
    found = []
    for folder in sorted((home / "quarantine").glob("*-*")):
        told = _read(folder)
        if told:
            kept = {name: told[name] for name in ("day", "snapshot", "asset", "reason", "refused_at")}
            found.append({"folder": str(folder), **kept, "judged": bool(told["gates"])})
    return found


def refusal(home: Path, snapshot: str) -> dict[str, Any] | None:
    """Return why gates refused a snapshot, or None."""
    return next((told for told in refusals(home) if told["snapshot"] == snapshot and told["judged"]), None)


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
    """Return what is written of a refused day; nothing where it is damaged or not whole."""
    try:
        told = json.loads((folder / REASON).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return told if isinstance(told, dict) and told.keys() >= _TOLD else {}


def _locked(home: Path) -> Any:
    from filelock import FileLock

    return FileLock(home / "quarantine" / ".lock")
