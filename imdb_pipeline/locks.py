"""Locks that the system frees when their process ends, however it ends: on a file or folder, and on a day of an asset.

They are advisory, between processes and threads on one machine. What is done under them belongs to ``store``.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

_PROBE_SECONDS = 0.2
"""``held_partitions`` takes a lock for an instant to learn whether it is held; a run that meets it tries again."""


@contextmanager
def hold(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of an existing file or folder; give False where it could not be had.

    Parameters
    ----------
    shared
        With others that share it; else alone.
    wait
        For whoever holds it; else give False at once.

    Raises
    ------
    FileNotFoundError
        There is no such file or folder.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        held = _lock(descriptor, shared=shared, wait=wait) and _is_at(path, descriptor)
        yield held
    finally:
        free(descriptor)


def claim(path: Path) -> int | None:
    """Lock a file or folder that was just made, and return its descriptor; None where a sweep was quicker."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    if _lock(descriptor, wait=False) and _is_at(path, descriptor):
        return descriptor
    os.close(descriptor)
    return None


@contextmanager
def lock_partition(folder: Path, asset: str, day: str) -> Iterator[None]:
    """Hold the lock file of an asset's day below ``folder``, which exists.

    Raises
    ------
    PipelineError
        Another process or thread holds it.
    """
    path = folder / f"{asset}-{day}"
    descriptor = _take(path)
    if descriptor is None:
        raise PipelineError(f"another run is making {asset} of {day}; wait for its end")
    try:
        holder = {"asset": asset, "day": day, "pid": os.getpid(), "since": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(holder).encode())
        yield
    finally:
        # Deleted while it is held: whoever has it open already sees that it is at its path no more, and makes another.
        path.unlink(missing_ok=True)
        free(descriptor)


def held_partitions(folder: Path) -> list[dict[str, Any]]:
    """Return asset, day, pid and since (UTC) of every lock that a living process holds."""
    if not folder.is_dir():
        return []
    held = []
    for path in sorted(folder.iterdir()):
        try:
            with hold(path, shared=True, wait=False) as dead:
                if not dead:
                    held.append(json.loads(path.read_bytes()))
        except (FileNotFoundError, json.JSONDecodeError):
            continue  # freed, or taken, this instant
    return held


def sweep_partitions(folder: Path) -> None:
    """Delete the lock files that dead processes left."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        descriptor = claim(path)
        if descriptor is not None:
            path.unlink(missing_ok=True)
            free(descriptor)


@contextmanager
def share(folder: Path) -> Iterator[None]:
    """Share a folder's lock, waiting for whoever holds it alone."""
    with hold(folder, shared=True, wait=False) as held:
        if held:
            yield
            return
    log.info("waiting for the collection of %s to end", folder.parent)
    with hold(folder, shared=True):
        yield


def _take(path: Path) -> int | None:
    """Return the descriptor of a lock file that is held now, or None where another holds it."""
    until = time.monotonic() + _PROBE_SECONDS
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if _lock(descriptor, wait=False):
            if _is_at(path, descriptor):
                return descriptor
        elif time.monotonic() > until:
            os.close(descriptor)
            return None
        else:
            time.sleep(_PROBE_SECONDS / 20)
        os.close(descriptor)


def _lock(descriptor: int, *, shared: bool = False, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the path still leads to what is open: it may have been deleted before the lock was had."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def free(descriptor: int) -> None:
    """Give back what ``claim`` took."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)  # at once, though a child process may have inherited the descriptor
    os.close(descriptor)
