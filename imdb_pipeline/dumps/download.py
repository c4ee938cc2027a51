"""One file over HTTP: what the server says of it, and its bytes. Whether they are a dump belongs to ``source``."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 60.0
_ATTEMPTS = 3
_LOG_EVERY_SECONDS = 10.0


@dataclass(frozen=True)
class RemoteFile:
    """What a server says of a file."""

    url: str
    etag: str
    last_modified: str
    bytes: int | None

    @property
    def day(self) -> str:
        """The date of Last-Modified in UTC, YYYY-MM-DD."""
        return f"{parsedate_to_datetime(self.last_modified).astimezone(UTC):%Y-%m-%d}"

    def identity(self) -> dict[str, Any]:
        return {"etag": self.etag, "last_modified": self.last_modified, "bytes": self.bytes}


def head(url: str) -> RemoteFile:
    """Ask a server what it holds.

    Raises
    ------
    InputError
        It does not answer, does not hold the file, or does not date it.
    """

    def attempt(client: httpx.Client) -> RemoteFile:
        response = client.head(url)
        response.raise_for_status()
        return _remote_file(url, response)

    return _retry(url, attempt)


def get(url: str, path: Path) -> RemoteFile:
    """Download a file to ``path``, which must not be a final place: it may be left cut short.

    Raises
    ------
    InputError
        The server does not answer, does not hold the file, does not date it, or sends too few bytes.
    """

    def attempt(client: httpx.Client) -> RemoteFile:
        with client.stream("GET", url) as response:
            response.raise_for_status()
            remote = _remote_file(url, response)
            written = _write(response, path, remote)
        if remote.bytes is not None and written != remote.bytes:
            raise InputError(f"{url}: {written:,} of {remote.bytes:,} bytes came; try again")
        return remote

    return _retry(url, attempt)


def _write(response: httpx.Response, path: Path, remote: RemoteFile) -> int:
    written, started, logged = 0, time.monotonic(), time.monotonic()
    with path.open("wb") as file:
        for chunk in response.iter_raw():
            file.write(chunk)
            written += len(chunk)
            now = time.monotonic()
            if now - logged >= _LOG_EVERY_SECONDS:
                logged, rate = now, written / (now - started)
                left = f", {(remote.bytes - written) / rate:.0f} s left" if remote.bytes else ""
                log.info("%s: %.0f MB, %.1f MB/s%s", path.name, written / 1e6, rate / 1e6, left)
    return written


def _remote_file(url: str, response: httpx.Response) -> RemoteFile:
    headers = response.headers
    length = headers.get("content-length")
    try:
        parsedate_to_datetime(headers["last-modified"])
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{url}: the server gives no Last-Modified date, so the day of the file is unknown") from None
    return RemoteFile(url, headers.get("etag", ""), headers["last-modified"], int(length) if length else None)


def _retry(url: str, attempt: Any) -> RemoteFile:
    import httpx

    for number in range(1, _ATTEMPTS + 1):
        try:
            with _client() as client:
                return attempt(client)
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            if status < 500 or number == _ATTEMPTS:
                raise InputError(f"{url}: the server answers {status}; check the address and try again") from None
            reason = f"status {status}"
        except (httpx.TransportError, httpx.InvalidURL) as error:
            if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol) or number == _ATTEMPTS:
                why = str(error) or type(error).__name__
                raise InputError(f"{url}: cannot be reached ({why}); check the address and the network") from None
            reason = type(error).__name__
        log.info("%s: %s, trying again (%d of %d)", url, reason, number + 1, _ATTEMPTS)
        time.sleep(number)
    raise AssertionError("unreachable")


@contextmanager
def _client() -> Iterator[httpx.Client]:
    import httpx

    from imdb_pipeline import __version__

    headers = {"user-agent": f"imdb-pipeline/{__version__}", "accept-encoding": "identity"}
    with httpx.Client(timeout=_TIMEOUT_SECONDS, headers=headers, follow_redirects=False) as client:
        yield client
