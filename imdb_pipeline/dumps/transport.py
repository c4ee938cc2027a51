"""One HTTP request that ends: time limits, a minimum rate, redirects, and which failures are worth another attempt.

What an answer means, and where its bytes go, belongs to ``download``.
"""

from __future__ import annotations

import logging
import random
import re
import socket
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from imdb_pipeline.errors import InputError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection, Iterator, Mapping

    import httpx

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_REDIRECTS = {301, 302, 303, 307, 308}
_MOST_REDIRECTS = 5
_CHECKS_PER_WINDOW = 10


@dataclass(frozen=True)
class Limits:
    """How long and how much a download may take.

    Attributes
    ----------
    connect_seconds, read_seconds
        For the connection, and for the next bytes of the server. The head of an answer has both together.
    bytes_per_second, window_seconds
        A server that sends less than that over a window is cut off and asked again.
    attempts
        How many may fail in a row without progress, which is a window's worth of bytes beyond the farthest so far.
    backoff_seconds
        The longest wait before the second attempt. It doubles with each, and the wait is drawn between 0 and it.
    longest_wait_seconds
        Of a single wait, whatever the server asks for.
    deadline_seconds
        For everything, the waits too.
    maximum_bytes
        Of a file.
    progress_seconds
        Between two lines of the log.
    """

    connect_seconds: float = 30.0
    read_seconds: float = 60.0
    bytes_per_second: float = 4_000.0
    window_seconds: float = 60.0
    attempts: int = 6
    backoff_seconds: float = 2.0
    longest_wait_seconds: float = 300.0
    deadline_seconds: float = 6 * 3600.0
    maximum_bytes: int = 20_000_000_000
    progress_seconds: float = 10.0

    @property
    def window_bytes(self) -> float:
        return self.bytes_per_second * self.window_seconds


LIMITS = Limits()


class Again(Exception):
    """An attempt failed in a way that another may not.

    Attributes
    ----------
    asked_seconds
        How long the server asks to wait first; 0 where it does not say.
    """

    def __init__(self, reason: str, asked_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.asked_seconds = asked_seconds


@dataclass(frozen=True)
class Answer:
    """The head of an answer, and its body as it comes, undecoded."""

    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]


def without_userinfo(url: str) -> str:
    """Return an address without ``user:password@``, as messages, logs and manifests show it."""
    return re.sub(r"(?<=//)[^/?#]*@", "", url)


def persist(
    shown: str, limits: Limits, attempt: Callable[[float], Result], progressed: Callable[[], bool] = lambda: False
) -> Result:
    """Call ``attempt(deadline)`` until it does not raise ``Again``; ``deadline`` is on ``time.monotonic``'s clock.

    Raises
    ------
    InputError
        Too many attempts failed in a row without progress, or the next would come after the deadline.
    """
    deadline = time.monotonic() + limits.deadline_seconds
    failures = 0
    while True:
        try:
            return attempt(deadline)
        except Again as again:
            reason, asked = _line(str(again)), again.asked_seconds
        failures = 0 if progressed() else failures + 1
        if failures >= limits.attempts:
            raise InputError(
                f"{shown}: {reason}, {failures} attempts in a row; check the address and the network, then try again"
            )
        # Full jitter: clients that failed together do not come back together.
        wait = random.uniform(0, limits.backoff_seconds * 2 ** min(max(failures - 1, 0), 30))
        wait = min(asked + min(wait, limits.backoff_seconds) if asked else wait, limits.longest_wait_seconds)
        if time.monotonic() + wait >= deadline:
            raise InputError(f"{shown}: {reason}, and no time is left for another attempt; try again later")
        log.info("%s: %s; trying again in %.1f s (%d of %d)", shown, reason, wait, failures + 1, limits.attempts)
        time.sleep(wait)


@contextmanager
def ask(
    method: str,
    url: str,
    *,
    limits: Limits,
    deadline: float,
    accept: Collection[int],
    headers: Mapping[str, str] | None = None,
) -> Iterator[Answer]:
    """Send one request, follow redirects within its host, and give the answer.

    Parameters
    ----------
    deadline
        On ``time.monotonic``'s clock; when it passes the connection is closed.
    accept
        The statuses that the caller understands.

    Raises
    ------
    Again
        The server cannot be reached, is too slow, breaks off, or answers 408, 425, 429 or 5xx; in the body too.
    InputError
        Another status, a redirect that is not followed, or not an HTTP address.
    """
    import httpx

    shown = without_userinfo(url)
    with _Watch(limits, deadline) as watch, _translated(shown, watch):
        current = httpx.URL(url)
        account = (current.username, current.password) if current.userinfo else None
        # Sent as a header: httpx logs addresses as they are.
        current = current.copy_with(userinfo=b"")
        seen = [current]
        with _client(account, limits, deadline) as client:
            while True:
                with client.stream(method, current, headers=headers, extensions={"trace": watch.trace}) as response:
                    if response.status_code not in _REDIRECTS:
                        _check_status(shown, response, accept)
                        watch.body_begins()
                        yield Answer(response.status_code, response.headers, _chunks(response, shown, watch))
                        break
                    current = redirected(shown, seen, response.headers.get("location", ""))
                    seen.append(current)


def _chunks(response: httpx.Response, shown: str, watch: _Watch) -> Iterator[bytes]:
    with _translated(shown, watch):
        for chunk in response.iter_raw():
            watch.received += len(chunk)
            yield chunk


def _client(account: tuple[str, str] | None, limits: Limits, deadline: float) -> httpx.Client:
    import httpx

    from imdb_pipeline import __version__

    left = max(deadline - time.monotonic(), 0.001)
    timeout = httpx.Timeout(min(limits.read_seconds, left), connect=min(limits.connect_seconds, left))
    headers = {"user-agent": f"imdb-pipeline/{__version__}", "accept": "*/*", "accept-encoding": "identity"}
    return httpx.Client(auth=account, verify=ssl_context(), timeout=timeout, headers=headers, follow_redirects=False)


@cache
def ssl_context() -> ssl.SSLContext:
    """Return the certificates that all clients trust."""
    import httpx

    return httpx.create_ssl_context()  # reads all certificates, which takes longer than most requests


def _check_status(shown: str, response: httpx.Response, accept: Collection[int]) -> None:
    status = response.status_code
    if status in accept:
        return
    if status in (408, 425, 429) or status >= 500:
        asked = _asked_seconds(response.headers.get("retry-after", "")) if status in (429, 503) else 0.0
        wish = f" and asks to wait {asked:.0f} s" if asked else ""
        raise Again(f"the server answers {status}{wish}", asked)
    with suppress(ValueError):
        raise InputError(f"{shown}: the server answers {status} ({HTTPStatus(status).phrase}); check the address")
    raise InputError(f"{shown}: the server answers {status}; check the address")


def _asked_seconds(retry_after: str) -> float:
    """Return the seconds of a Retry-After header, which holds a number or a date; 0 for one that holds neither."""
    with suppress(ValueError, OverflowError):
        return max(float(int(retry_after)), 0.0)
    with suppress(TypeError, ValueError, OverflowError):
        then = parsedate_to_datetime(retry_after)
        return max((then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)
    return 0.0


def redirected(shown: str, seen: list[httpx.URL], location: str) -> httpx.URL:
    """Return where a redirect leads, if it may be followed: within the host, and never from https to http."""
    current, advice = seen[-1], "if that is right, use that address instead"
    if not location:
        raise InputError(f"{shown}: the server redirects to nowhere; check the address")
    target = current.join(location).copy_with(userinfo=b"", fragment=None)
    if target.host != current.host:
        raise InputError(f"{shown}: redirected to another host, {target}, which is not followed; {advice}")
    if (current.scheme, target.scheme) == ("https", "http"):
        raise InputError(f"{shown}: redirected from https to plain http, {target}, which is not followed; {advice}")
    upgraded = (current.scheme, target.scheme) == ("http", "https")
    if not upgraded and (target.scheme, target.port) != (current.scheme, current.port):
        raise InputError(f"{shown}: redirected to another server, {target}, which is not followed; {advice}")
    if target in seen:
        raise InputError(f"{shown}: the server redirects in a loop, back to {target}; check the address")
    if len(seen) > _MOST_REDIRECTS:
        raise InputError(f"{shown}: redirected more than {_MOST_REDIRECTS} times; check the address")
    return target


@contextmanager
def _translated(shown: str, watch: _Watch) -> Iterator[None]:
    """Turn what httpx raises into ``Again`` or ``InputError``."""
    import httpx

    try:
        yield
    except httpx.InvalidURL:
        # Such an address cannot be taken apart, so all that may be a password goes, and httpx's words, which quote it.
        raise InputError(f"{_line(re.sub('//.*@', '//', shown))}: not an address; check it") from None
    except httpx.UnsupportedProtocol:
        raise InputError(f"{shown}: not an http or https address; check it") from None
    except httpx.TransportError as error:
        what = _line(str(error) or type(error).__name__)
        if watch.reason:
            reason = watch.reason
        elif isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            reason = f"cannot be reached ({what})"
        else:
            reason = f"the connection broke ({what})"
        raise Again(reason) from None


def _line(text: str) -> str:
    """Return text from elsewhere as a short single line that a terminal can show."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:300]


class _Watch:
    """Ends an attempt that takes too long or brings too little.

    httpx bounds a single read of the socket. A server that drips a byte now and then, in the head of its answer or
    in the body, outlives that for ever; so this thread looks on, and shuts the socket down.
    """

    def __init__(self, limits: Limits, deadline: float) -> None:
        self.received = 0
        self.reason = ""
        self._limits = limits
        self._deadline = deadline
        self._head_seconds = limits.connect_seconds + limits.read_seconds
        self._head_until = time.monotonic() + self._head_seconds
        self._body = False
        self._socket: socket.socket | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="download-watch", daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Take the socket from httpx's trace of a connection."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")
            if self.reason:
                self._end(self.reason)

    def body_begins(self) -> None:
        self._body = True

    def _look_on(self) -> None:
        counts: deque[int] = deque(maxlen=_CHECKS_PER_WINDOW + 1)
        every = self._limits.window_seconds / _CHECKS_PER_WINDOW
        while not self._ended.wait(max(min(every, self._until() - time.monotonic()), 0.001)):
            if self._body:
                counts.append(self.received)
            now = time.monotonic()
            if now >= self._deadline:
                self._end("not done in time")
            elif now >= self._until():
                self._end(f"no answer within {self._head_seconds:g} s")
            elif len(counts) == counts.maxlen and counts[-1] - counts[0] < self._limits.window_bytes:
                self._end(f"the server sends less than {self._limits.bytes_per_second:,g} bytes a second")
            if self.reason:
                return

    def _until(self) -> float:
        return self._deadline if self._body else min(self._deadline, self._head_until)

    def _end(self, reason: str) -> None:
        self.reason = reason
        if self._socket is not None:
            with suppress(OSError):
                # Not the method of an SSL socket, which would drop its session under the reader's feet.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
