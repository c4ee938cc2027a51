"""Overrides: what a gate refused and somebody let through, with the reason; ``HOME/overrides.json``.

An override is for one gate and one snapshot: the next publication is judged anew.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import InputError
from imdb_pipeline.store import write_atomically

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


def record_overrides(
    home: Path, gates: Collection[str], *, day: str, snapshot: str, because: str, known: Collection[str]
) -> None:
    """Let named gates of a snapshot through, however they come out.

    Parameters
    ----------
    gates
        ``ASSET/GATE`` each.
    known
        Those that can be overridden.

    Raises
    ------
    InputError
        There is no such gate, or no reason.
    """
    unknown = sorted(set(gates) - set(known))
    if unknown:
        raise InputError(
            f"--override {unknown[0]}: no gate that can be overridden; there are {', '.join(sorted(known))}"
        )
    if not because.strip():
        raise InputError("--override needs a reason: --because TEXT")
    if not gates:
        raise InputError("--because needs --override ASSET/GATE")
    held = _read(home)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    for gate in sorted(gates):
        held.append({"gate": gate, "day": day, "snapshot": snapshot, "because": because.strip(), "at": at})
    home.mkdir(parents=True, exist_ok=True)
    write_atomically(_path(home), json.dumps(held, indent=2, ensure_ascii=False).encode())


def overrides(home: Path, snapshot: str | None) -> dict[str, str]:
    """Return the reasons recorded for a snapshot, by ``ASSET/GATE``."""
    return {each["gate"]: each["because"] for each in _read(home) if each["snapshot"] == snapshot}


def _read(home: Path) -> list[dict[str, Any]]:
    try:
        held = json.loads(_path(home).read_bytes())
        if all({"gate", "because", "snapshot"} <= each.keys() for each in held):
            return held
        reason = "an entry lacks gate, because or snapshot"
    except FileNotFoundError:
        return []
    except (AttributeError, TypeError, ValueError) as error:
        reason = str(error)
    raise InputError(f"{_path(home)}: cannot be read ({reason}); correct it, or move it away")


def _path(home: Path) -> Path:
    return home / "overrides.json"
