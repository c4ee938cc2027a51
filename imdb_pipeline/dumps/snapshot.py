"""A snapshot: the four files that belong together, under one id; which one a day means, and bringing it in.

The files are gathered in ``HOME/incoming/ID/`` by whoever comes first, and judged together; the store publishes them. A
part of a download, and what is known of a file, stay there for the next attempt.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imdb_pipeline.dumps.source import base_url, fetch_dump, source_files
from imdb_pipeline.dumps.tables import DUMPS, Dump
from imdb_pipeline.dumps.verify import verify
from imdb_pipeline.durable import link_or_copy, sha256, write_atomically
from imdb_pipeline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imdb_pipeline.settings import Settings
    from imdb_pipeline.store import Revision, Store

log = logging.getLogger(__name__)

_SHOWN_DAYS = 7


@dataclass(frozen=True)
class Snapshot:
    """What identifies the four files of a day.

    Attributes
    ----------
    day
        YYYY-MM-DD; over HTTP the date of the newest Last-Modified in UTC, else the one asked for.
    files
        By asset, what identifies the bytes of its file.
    archived
        The files are those that the home published for the day; the source holds others now.
    """

    day: str
    files: Mapping[str, Mapping[str, Any]]
    archived: bool = False

    @property
    def id(self) -> str:
        return hashlib.sha256(json.dumps(self.files, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class DumpFile:
    """One file of a snapshot, as it came.

    Attributes
    ----------
    shown
        What messages call it: its address, or its path in the source.
    origin
        Where it came from; over HTTP with its ETag and Last-Modified.
    problem
        Why it is not a whole dump, or None.
    attempt
        Who brought it: a faulty file is brought anew by the next attempt.
    """

    file: str
    shown: str
    origin: dict[str, Any]
    sha256: str
    rows: int
    unpacked_bytes: int
    problem: str | None
    attempt: str


def find_snapshot(settings: Settings, store: Store, *, day: str | None, today: str) -> Snapshot:
    """Settle which files a day means: an older day is the home's archive, the newest is what the source holds now.

    Parameters
    ----------
    day
        None for the day of what the source holds, or ``today`` where its files bear no date.

    Raises
    ------
    InputError
        The source cannot be asked, its four files are of two days, or the day can be had nowhere.
    """
    archived = _archived(store, day) if day else None
    if archived is not None and archived.day < store.days(DUMPS[0].asset)[-1]:
        return archived
    try:
        dated, files = source_files(settings)
    except InputError as error:
        if day is None or base_url(settings) is None:
            raise
        if archived is not None:
            log.info("%s; the day is archived", error)
            return archived
        raise InputError(f"{error}; days that can be had here: {days_that_can_be_had(store)}") from None
    if day in (None, dated) or dated is None:
        return Snapshot(dated or day or today, files)
    if archived is not None:
        return archived
    raise InputError(f"day {day}: the source holds {dated} only, and this home holds: {days_that_can_be_had(store)}")


def days_that_can_be_had(store: Store) -> str:
    """Return the days whose dumps the home has archived, as messages name them."""
    held = [day for day in store.days(DUMPS[0].asset) if _archived(store, day, readable=True)]
    return ", ".join(["..."] * (len(held) > _SHOWN_DAYS) + held[-_SHOWN_DAYS:]) or "none"


def obtain(snapshot: Snapshot, settings: Settings, store: Store, home: Path, *, attempt: str) -> dict[str, DumpFile]:
    """Bring all four files of a snapshot into ``incoming_folder``, and find out whether they are whole.

    What is held already is linked, not fetched. Only one process at a time brings a snapshot; others wait for it.

    Parameters
    ----------
    attempt
        Names the run; what failed once in a run is not tried again by its other steps.

    Returns
    -------
    dict
        By asset; a damaged file is among them, with its problem.

    Raises
    ------
    InputError
        A file cannot be had at all.
    """
    from filelock import FileLock, Timeout

    folder = incoming_folder(home, snapshot)
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    lock = FileLock(_lock_of(folder))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("another step is bringing the files of %s; waiting for it", snapshot.day)
        lock.acquire()
    try:
        failure = folder / "failure.txt"
        if failure.is_file():
            attempted, _, message = failure.read_text(encoding="utf-8").partition("\n")
            if attempted == attempt:
                raise InputError(message)
        try:
            return {
                dump.asset: _bring(dump, snapshot, settings, store, home, folder=folder, attempt=attempt)
                for dump in DUMPS
            }
        except InputError as error:
            write_atomically(failure, f"{attempt}\n{error}".encode())
            raise
    finally:
        lock.release()


def incoming_folder(home: Path, snapshot: Snapshot) -> Path:
    """Return where the files of a snapshot are while they have not all been published."""
    return home / "incoming" / snapshot.id


def _bring(
    dump: Dump, snapshot: Snapshot, settings: Settings, store: Store, home: Path, *, folder: Path, attempt: str
) -> DumpFile:
    path, known = folder / dump.file, folder / f"{dump.file}.json"
    if path.is_file() and known.is_file():
        file = _known(known)
        if file is not None and (file.problem is None or file.attempt == attempt):
            return file
    path.unlink(missing_ok=True)
    expected = snapshot.files[dump.asset]
    revision = _held(store, dump, expected)
    if revision is not None:
        link_or_copy(revision.file(dump.file), path)
        origin = revision.manifest["info"]["origin"]
        shown = origin.get("url") or origin["path"]
    else:
        fetched = fetch_dump(settings, dump, home=home, path=path, expected=expected, newest=_newest(store, dump))
        shown, origin = fetched.shown, fetched.origin
        if fetched.held is not None:
            path.unlink(missing_ok=True)
            link_or_copy(fetched.held, path)
    problem, rows, unpacked = None, 0, 0
    try:
        rows, unpacked = verify(path, dump, shown=shown)
    except InputError as error:
        problem = str(error)
    file = DumpFile(dump.file, shown, origin, sha256(path), rows, unpacked, problem, attempt)
    write_atomically(known, json.dumps(asdict(file)).encode())
    return file


def _known(path: Path) -> DumpFile | None:
    """Return what an earlier attempt wrote down of a file; None where that cannot be read: it is brought anew."""
    try:
        return DumpFile(**json.loads(path.read_bytes()))
    except (TypeError, ValueError):
        return None


def _held(store: Store, dump: Dump, identity: Mapping[str, Any]) -> Revision | None:
    """Return a published file that has this identity, of whatever day."""
    for day in reversed(store.days(dump.asset)):
        revision = store.latest(dump.asset, day)
        if revision and not revision.expired and revision.manifest["settings"]["source"] == identity:
            return revision
    return None


def _newest(store: Store, dump: Dump) -> Revision | None:
    days = store.days(dump.asset)
    revision = store.latest(dump.asset, days[-1]) if days else None
    return None if revision is None or revision.expired else revision


def _archived(store: Store, day: str, *, readable: bool = False) -> Snapshot | None:
    held = [store.latest(dump.asset, day) for dump in DUMPS]
    if any(revision is None or (readable and revision.expired) for revision in held):
        return None
    files = {revision.asset: revision.manifest["settings"]["source"] for revision in held if revision}
    return Snapshot(day, files, archived=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


def _sweep(folder: Path) -> None:
    """Delete the files of other snapshots that nobody is bringing."""
    from filelock import FileLock, Timeout

    for other in folder.parent.iterdir():
        if other == folder or not other.is_dir():
            continue
        try:
            with FileLock(_lock_of(other), timeout=0):
                shutil.rmtree(other, ignore_errors=True)
        except Timeout:
            continue
        _lock_of(other).unlink(missing_ok=True)
