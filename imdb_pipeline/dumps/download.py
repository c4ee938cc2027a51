"""One file over HTTP: what the server says of it, and its bytes, whole or none.

A download that was killed is taken up by the next call, never with bytes of another version. Whether the bytes are a
dump belongs to ``source``, a single request to ``transport``.
"""

from __future__ import annotations

import itertools
import logging
import queue
import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import IO, TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

from imdb_pipeline.dumps.part import Part, RemoteFile
from imdb_pipeline.dumps.transport import LIMITS, Again, Answer, Limits, ask, persist, ssl_context, without_userinfo
from imdb_pipeline.errors import InputError
from imdb_pipeline.store import sha256, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

_GZIP = b"\x1f\x8b"
_REFUSED_BYTES = 1_000_000
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
# A file can change twice within the second that Last-Modified shows, so the date names its bytes only if it was well
# past when it was given (RFC 9110, section 8.8.2.2).
_DATE_IS_STRONG_AFTER = timedelta(seconds=60)


@dataclass(frozen=True)
class Downloaded:
    """A file that came whole.

    Attributes
    ----------
    resumes
        How often it was gone on with where an earlier attempt had ended.
    """

    remote: RemoteFile
    sha256: str
    bytes: int
    seconds: float
    resumes: int


def head(url: str, *, timeout_seconds: float = 60.0, attempts: int = 3) -> RemoteFile:
    """Ask a server what it holds; see ``heads``."""
    return heads([url], timeout_seconds=timeout_seconds, attempts=attempts)[0]


def heads(urls: Sequence[str], *, timeout_seconds: float = 60.0, attempts: int = 3) -> list[RemoteFile]:
    """Ask what is held at several addresses, all at the same time.

    Parameters
    ----------
    timeout_seconds
        For everything: the resolution of names and the waits between attempts too. An attempt has its share of it.

    Raises
    ------
    InputError
        An address does not answer in time, does not hold the file, or does not date it; it names the first such.
    """
    ssl_context()  # made once a process, and not in the time of the first that asks
    until = time.monotonic() + timeout_seconds
    share = timeout_seconds / attempts
    limits = Limits(
        connect_seconds=share,
        read_seconds=share,
        attempts=attempts,
        backoff_seconds=min(share / 4, 1.0),
        deadline_seconds=0.9 * timeout_seconds,  # the rest is for saying what was wrong
    )
    came: queue.SimpleQueue[tuple[int, RemoteFile | BaseException]] = queue.SimpleQueue()

    def answer(index: int, url: str) -> None:
        try:
            came.put((index, _head(url, limits)))
        except BaseException as error:  # raised below, in the caller's thread
            came.put((index, error))

    # Nothing interrupts the resolution of a name, so a thread that hangs in it is left behind, not waited for.
    for index, url in enumerate(urls):
        threading.Thread(target=answer, args=(index, url), name="head", daemon=True).start()
    results: dict[int, RemoteFile | BaseException] = {}
    with suppress(queue.Empty):
        while len(results) < len(urls):
            index, result = came.get(timeout=max(until - time.monotonic(), 0))
            results[index] = result
    remotes = []
    for index, url in enumerate(urls):
        result = results.get(index)
        if result is None:
            shown = without_userinfo(url)
            raise InputError(f"{shown}: no answer within {timeout_seconds:g} s; check the network and try again")
        if isinstance(result, BaseException):
            raise result
        remotes.append(result)
    return remotes


def _head(url: str, limits: Limits) -> RemoteFile:
    shown = without_userinfo(url)

    def attempt(deadline: float) -> RemoteFile:
        with ask("HEAD", url, limits=limits, deadline=deadline, accept=(200, 403, 405, 501)) as answer:
            if answer.status == 200:
                return _remote_file(shown, answer)
        with ask("GET", url, limits=limits, deadline=deadline, accept=(200,)) as answer:  # its body is not read
            return _remote_file(shown, answer)

    return persist(shown, limits, attempt)


def get(url: str, path: Path, *, held: RemoteFile | None = None, limits: Limits = LIMITS) -> Downloaded | None:
    """Download a file to ``path``, unless the server says that it is the one that is held.

    Whatever happens, ``path`` is as it was or the whole file. What had come stays in ``PATH.part``, from where the next
    call with this path goes on.

    Parameters
    ----------
    path
        In a folder that exists.
    held
        What is held of the file already.

    Returns
    -------
    None if the file is the one that is held; ``path`` is then as it was.

    Raises
    ------
    InputError
        The server does not hold the file, does not date it, sends something else, or keeps failing; or another
        process is downloading to this path.
    OSError
        It cannot be written; ``filename`` says what.
    """
    from filelock import FileLock, Timeout

    shown = without_userinfo(url)
    lock = path.with_name(f"{path.name}.lock")
    try:
        with FileLock(lock, timeout=0):
            try:
                return _Download(url, shown, path, held, limits).run()
            finally:
                lock.unlink(missing_ok=True)
    except Timeout:
        raise InputError(f"{shown}: another process is downloading it to {path}; wait until that has ended") from None


class _Download:
    def __init__(self, url: str, shown: str, path: Path, held: RemoteFile | None, limits: Limits) -> None:
        self.url, self.shown, self.path, self.held, self.limits = url, shown, path, held, limits
        self.part = Part(path)
        self.farthest = self.part.size()
        self.resumes = 0

    def run(self) -> Downloaded | None:
        started = time.monotonic()
        remote = persist(self.shown, self.limits, self.attempt, self.progressed)
        if remote is None:
            self.part.discard()
            return None
        size, digest = self.part.size(), sha256(self.part.path)
        self.part.finish(self.path)
        seconds = time.monotonic() - started
        log.info("%s: all of %.1f MB in %.1f s, resumed %d times", self.path.name, size / 1e6, seconds, self.resumes)
        return Downloaded(remote, digest, size, seconds, self.resumes)

    def progressed(self) -> bool:
        """Whether more came than ever before: with a server that makes us start over again and again it does not."""
        size = self.part.size()
        if size - self.farthest < self.limits.window_bytes:
            return False
        self.farthest = size
        return True

    def attempt(self, deadline: float) -> RemoteFile | None:
        """Return the version of which the part is now whole, or None if it is the one that is held."""
        resumable = self.part.resumable(self.shown)
        headers = {}
        if self.held is not None:
            headers["if-modified-since"] = self.held.last_modified
            if self.held.etag:
                headers["if-none-match"] = self.held.etag
        if resumable is not None:
            headers |= {"range": f"bytes={resumable[1]}-", "if-range": resumable[0].validator}
        accept = (200, 206, 304, 416)
        with ask("GET", self.url, limits=self.limits, deadline=deadline, accept=accept, headers=headers) as answer:
            if answer.status == 304 and self.held is not None:
                self.confirm(self.held, answer)
                return None
            if answer.status == 200:
                remote = self.take_whole(answer)
            elif answer.status == 206 and resumable is not None:
                remote = self.take_rest(answer, *resumable)
            else:
                asked_for = "the whole file" if resumable is None else "the rest of a file"
                self.start_over(f"the server answers {answer.status} to a request for {asked_for}")
        if remote.bytes is not None and self.part.size() < remote.bytes:
            raise Again(f"{self.part.size():,} of {remote.bytes:,} bytes came")
        return remote

    def confirm(self, held: RemoteFile, answer: Answer) -> None:
        """Ask again, without condition, if a 304 is about another version than the one that is held."""
        etag = answer.headers.get("etag", "").removeprefix("W/")
        if etag and held.etag and etag != held.etag.removeprefix("W/"):
            self.held = None
            raise Again("the server answers 304 for another version than was asked about")

    def take_whole(self, answer: Answer) -> RemoteFile:
        """Write a file from its first byte on. What the part held goes only when this begins like the file."""
        remote = _remote_file(self.shown, answer)
        self.check_encoding(answer)
        if remote.bytes is None and "transfer-encoding" not in answer.headers:
            raise InputError(
                f"{self.shown}: sent without a length, so a cut cannot be told from the end; use another server"
            )
        self.check_size(remote.bytes or 0)
        first = b""
        for chunk in answer.chunks:
            first += chunk
            if len(first) >= 16:
                break
        self.check_content(answer, first)
        with self.part.begin(remote) as file:
            self.copy(itertools.chain((first,), answer.chunks), file, 0, remote.bytes, remote.bytes)
        return remote

    def take_rest(self, answer: Answer, remote: RemoteFile, offset: int) -> RemoteFile:
        """Write the rest of a file, if it is the rest of the version that the part is of."""
        self.check_encoding(answer)
        given = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        begin, end, total = map(int, given.groups()) if given else (-1, -1, -1)
        etag, last_modified = answer.headers.get("etag", ""), answer.headers.get("last-modified", "")
        if (begin, total) != (offset, remote.bytes) or not offset <= end < total:
            self.start_over(f"the server sends other bytes than the rest ({answer.headers.get('content-range', '')!r})")
        # A rest may leave out what it need not repeat, but not the validator.
        if (etag or remote.etag, last_modified or remote.last_modified) != (remote.etag, remote.last_modified) or (
            remote.validator not in (etag, last_modified)
        ):
            self.start_over("the server sends the rest of another version")
        self.resumes += 1
        log.info("%s: going on at %.1f of %.1f MB", self.path.name, offset / 1e6, total / 1e6)
        with self.part.go_on(offset) as file:
            self.copy(answer.chunks, file, offset, end + 1, total)
        return remote

    def copy(self, chunks: Iterable[bytes], file: IO[bytes], size: int, until: int | None, total: int | None) -> None:
        """Write the bytes that come; ``size`` were there before, and ``until`` may be there in the end."""
        begun = logged = time.monotonic()
        before = size
        for chunk in chunks:
            size += len(chunk)
            if until is not None and size > until:
                self.start_over(f"the server sends more than the {until:,} bytes that it announced")
            self.check_size(size)
            file.write(chunk)
            now = time.monotonic()
            if now - logged >= self.limits.progress_seconds:
                logged, rate = now, (size - before) / (now - begun)
                of, left = (f" of {total / 1e6:.1f}", f", {(total - size) / rate:.0f} s left") if total else ("", "")
                log.info("%s: %.1f%s MB, %.1f MB/s%s", self.path.name, size / 1e6, of, rate / 1e6, left)

    def start_over(self, reason: str) -> NoReturn:
        self.part.discard()
        raise Again(f"{reason}; starting over")

    def check_encoding(self, answer: Answer) -> None:
        encoding = answer.headers.get("content-encoding", "identity")
        # Some servers label a .gz file, sent as it is, with the encoding that it has as a file.
        allowed = {"identity", "gzip", "x-gzip"} if self.is_packed() else {"identity"}
        if encoding.lower() not in allowed:
            raise InputError(f"{self.shown}: sent with Content-Encoding {encoding!r} unasked; use another server")

    def is_packed(self) -> bool:
        return urlsplit(self.url).path.endswith(".gz")

    def check_size(self, size: int) -> None:
        if size > self.limits.maximum_bytes:
            self.part.discard()
            raise InputError(
                f"{self.shown}: more than the {self.limits.maximum_bytes:,} bytes that are allowed; check the address"
            )

    def check_content(self, answer: Answer, first: bytes) -> None:
        """Refuse what does not begin like the file, and keep it for a look in ``PATH.refused``."""
        kind, text = answer.headers.get("content-type", "").lower(), first.lstrip(b"\xef\xbb\xbf \t\r\n")
        page = kind.startswith(("text/html", "application/xhtml")) or text.startswith(b"<")
        if not page and (first.startswith(_GZIP) or not self.is_packed()):
            if "content-encoding" in answer.headers and _unpacked(first).startswith(_GZIP):
                raise InputError(f"{self.shown}: sent compressed a second time, unasked; use another server")
            return
        body = first
        with suppress(Again):
            for chunk in answer.chunks:
                body += chunk
                if len(body) >= _REFUSED_BYTES:
                    break
        refused = self.path.with_name(f"{self.path.name}.refused")
        write_atomically(refused, body[:_REFUSED_BYTES])
        what = "looks like a web page" if page else "does not begin like a gzip file" if body else "is empty"
        raise InputError(f"{self.shown}: what came {what}; it is kept in {refused}: look there, and check the address")


def _unpacked(first: bytes) -> bytes:
    """Return what the first bytes of a gzip file unpack to, as far as they do."""
    import zlib

    with suppress(zlib.error):
        return zlib.decompressobj(wbits=31).decompress(first)
    return b""


def _remote_file(shown: str, answer: Answer) -> RemoteFile:
    headers = answer.headers
    length, etag = headers.get("content-length"), headers.get("etag", "")
    last_modified = headers.get("last-modified", "")
    try:
        modified = parsedate_to_datetime(last_modified)
        modified.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"{shown}: the server gives no Last-Modified date, so the day of the file is unknown; use another server"
        ) from None
    validator = ""
    if etag and not etag.startswith("W/"):
        validator = etag
    else:
        with suppress(TypeError, ValueError, OverflowError):
            if parsedate_to_datetime(headers.get("date", "")) - modified >= _DATE_IS_STRONG_AFTER:
                validator = last_modified
    return RemoteFile(shown, etag, last_modified, int(length) if length else None, validator)
