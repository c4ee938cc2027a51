"""How bytes reach a path and stay whole: small files replaced in one step, temporary ones held by their process, and
the named points between two steps of a write.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import uuid
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from imdb_pipeline.errors import PipelineError
from imdb_pipeline.locks import claim, free, hold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WATCHERS: list[Callable[[str], None]] = []
"""Told of every point that is reached; empty but in the child processes of tests, which die there."""
_TEMPORARY = re.compile(r"\.[\w.-]+-[0-9a-f]{32}")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_OS_ERROR = re.compile(r"\(os error (\d+)\)")


def reached(point: str) -> None:
    """Pass a point at which a killed process leaves something half done; the name is unique in the package."""
    for watcher in WATCHERS:
        watcher(point)


def sha256(path: Path) -> str:
    """Return the hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_sha256(path: Path) -> str:
    """Return the hex sha256 of a large file; it is read once a process, as long as its size and time stay."""
    status = path.stat()
    return _remembered_sha256(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _remembered_sha256(path: Path, size: int, mtime_ns: int) -> str:
    return sha256(path)


def link_or_copy(source: Path, path: Path) -> None:
    """Give a file a second name, by copying it where the file system has no hard links."""
    try:
        os.link(source, path)
    except FileExistsError:
        raise
    except OSError:
        shutil.copyfile(source, path)


def sync(path: Path) -> None:
    """Have the bytes of a file, or the names in a folder, reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a small file: a reader sees the old bytes or the new ones."""
    with temporary(path.parent, path.name) as staged:
        reached("file: made")
        if path.is_file():
            staged.chmod(path.stat().st_mode & 0o777)
        with staged.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        reached("file: written")
        staged.rename(path)
        reached("file: renamed")
    sync(path.parent)


@contextmanager
def temporary(parent: Path, name: str, *, folder: bool = False) -> Iterator[Path]:
    """Give an empty file or folder, ``.NAME-`` and 32 hex digits, for this process alone.

    What was not renamed at the end is deleted; what a killed process left, ``sweep`` deletes.
    """
    while True:
        path = parent / f".{name}-{uuid.uuid4().hex}"
        if folder:
            path.mkdir()
        else:
            path.touch(exist_ok=False)
        descriptor = claim(path)
        if descriptor is not None:
            break
    try:
        yield path
    finally:
        delete(path)
        free(descriptor)


def sweep(parent: Path) -> list[Path]:
    """Delete the temporary files and folders in a folder whose process is dead, and return their paths."""
    swept = []
    for path in temporaries(parent):
        try:
            with hold(path, wait=False) as dead:
                if dead:
                    delete(path)
                    swept.append(path)
        except FileNotFoundError:
            continue
    return swept


def temporaries(parent: Path) -> list[Path]:
    """Return the temporary files and folders in a folder, whoever makes them."""
    return [path for path in parent.glob(".*-*") if _TEMPORARY.fullmatch(path.name)]


def delete(path: Path) -> None:
    """Delete a file or folder that nothing names any more; another process may be deleting it too."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn what a full disk makes of a write, in Python or in a library (Polars, safetensors), into one error.

    Raises
    ------
    PipelineError
        The disk or the quota is full, or the file is larger than the system allows.
    """
    try:
        yield
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        told = _OS_ERROR.search(str(error))  # what a library in Rust says of an OSError
        number = number if number is not None or told is None else int(told[1])
        if number not in _FULL:
            raise
        raise PipelineError(f"{folder}: {os.strerror(number)}; free some space and run again") from error
