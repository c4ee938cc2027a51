"""The bytes of a remote file that have come so far, and which version of it they are of.

``PATH.part`` holds the bytes, ``PATH.part.json`` the version. Bytes without a version, or of another address, count as
nothing; so at no moment may the one describe the other wrongly.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import IO, TYPE_CHECKING, Any

from imdb_pipeline.store import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class RemoteFile:
    """What a server says of a file.

    Attributes
    ----------
    url
        Without user and password.
    bytes
        None where the server does not say.
    validator
        The ETag or date that names these very bytes, for If-Range; empty where neither does.
    """

    url: str
    etag: str
    last_modified: str
    bytes: int | None
    validator: str = ""

    @property
    def modified(self) -> datetime:
        """Last-Modified, in UTC."""
        return parsedate_to_datetime(self.last_modified).astimezone(UTC)

    def identity(self) -> dict[str, Any]:
        return {"etag": self.etag, "last_modified": self.last_modified, "bytes": self.bytes}


class Part:
    """What came of one file so far, beside the path that the whole file will have."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}.part")
        self._note = path.with_name(f"{path.name}.part.json")

    def size(self) -> int:
        """Bytes that came, of whatever version."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def resumable(self, url: str) -> tuple[RemoteFile, int] | None:
        """Return the version that the part is of and the offset to ask for next, if it can be gone on with.

        Of a part that is whole the last byte is asked for again: that the server sends it confirms the version.
        """
        try:
            remote = RemoteFile(**json.loads(self._note.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        size = self.size()
        if remote.url != url or not remote.validator or remote.bytes is None or size > remote.bytes:
            return None
        offset = min(size, remote.bytes - 1)
        return (remote, offset) if offset > 0 else None

    @contextmanager
    def begin(self, remote: RemoteFile) -> Iterator[IO[bytes]]:
        """Empty the part and open it for the bytes of a version."""
        with self._named(), self.path.open("wb") as file:
            # Only now: a process killed in between leaves a version without bytes, which counts as nothing.
            write_atomically(self._note, json.dumps(asdict(remote)).encode())
            yield file

    @contextmanager
    def go_on(self, offset: int) -> Iterator[IO[bytes]]:
        """Open the part behind its first ``offset`` bytes."""
        with self._named(), self.path.open("r+b") as file:
            file.truncate(offset)
            file.seek(offset)
            yield file

    def discard(self) -> None:
        self._note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def finish(self, path: Path) -> None:
        """Give the part, which is whole, its final name."""
        self.path.replace(path)
        self._note.unlink()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Name the file in what a full disk raises, which comes without."""
        try:
            yield
        except OSError as error:
            error.filename = error.filename or str(self.path)
            raise
