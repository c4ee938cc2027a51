"""What holds for every request: which host it may be for, the headers of its answer, a line in the log."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import orjson

from imdb_pipeline.results.plain_text import visible
from imdb_pipeline.service.connections import TURNED_AWAY

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("imdb_pipeline.service.requests")

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_SAFE = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
_CLOSED = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
"""Of an answer that has no policy of its own: nothing in it is to be run or loaded, or shown within another page."""
_LOGGED_SIGNS = 300
_NO_ANSWER = 499
"""In the log, as other servers have it: the client had gone."""
STOPPING = "the service is stopping; ask again in a moment"


class Guard:
    """An ASGI application around another.

    Parameters
    ----------
    hosts
        Names (without a port) that requests may be for. A page of another site can make a browser ask a service on
        loopback by a name of its own; that name stands in ``Host``.
    headers
        Added to every answer.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str], headers: Collection[tuple[str, str]] = ()) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._headers = [*_SAFE, *((name.encode("ascii"), value.encode("ascii")) for name, value in headers)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = _NO_ANSWER

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), *self._headers]
                if not any(name == _CLOSED[0] for name, _ in headers):
                    headers.append(_CLOSED)
                message = {**message, "headers": headers}
            await send(message)

        try:
            if TURNED_AWAY in scope.get("state", ()):
                await _refuse(guarded, 503, _FULL, (b"connection", b"close"), _RETRY)
            elif self._host(scope) in self._hosts:
                await self._app(scope, receive, guarded)
            else:
                await _refuse(guarded, 421, _OTHER_HOST)
        except asyncio.CancelledError:  # by the server, which is stopping and waits no longer
            if status == _NO_ANSWER:
                await _refuse(guarded, 503, STOPPING, _RETRY)
        finally:
            if log.isEnabledFor(logging.INFO):
                log.info("%s %d %.1f ms", _line(scope), status, 1000 * (time.perf_counter() - started))

    @staticmethod
    def _host(scope: Scope) -> str:
        given = next((value for name, value in scope["headers"] if name == b"host"), b"")
        host = given.decode("latin-1").lower()
        name, colon, port = host.rpartition(":")
        return name if colon and port.isdigit() else host


_FULL = "too many connections at once; try again in a moment"
_RETRY = (b"retry-after", b"5")
_OTHER_HOST = "this service is not for that host; [serve] allowed_hosts in settings.toml lists names"


async def _refuse(send: Send, status: int, detail: str, *more: tuple[bytes, bytes]) -> None:
    body = orjson.dumps({"detail": detail})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _line(scope: Scope) -> str:
    path = scope.get("raw_path") or scope["path"].encode()
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    asked = visible((path + query)[:_LOGGED_SIGNS].decode("ascii", "backslashreplace"))
    return f"{(scope.get('client') or ('-',))[0]} {scope['method']} {asked}"
