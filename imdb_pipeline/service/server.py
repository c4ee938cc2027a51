"""The process: its socket, its signals, its log."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import uvicorn

from imdb_pipeline.errors import InputError
from imdb_pipeline.results.report import COURTESY
from imdb_pipeline.service.app import STOP, create_app
from imdb_pipeline.service.connections import Connection
from imdb_pipeline.service.current import CurrentRelease
from imdb_pipeline.service.guard import LOOPBACK, Guard
from imdb_pipeline.settings import load_settings
from imdb_pipeline.store import Store

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from starlette.types import ASGIApp

GRACEFUL_SECONDS = 10
_BACKLOG = 512
_KEEP_ALIVE_SECONDS = 65
"""Longer than a reverse proxy keeps what it will use again, which is mostly 60."""


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises
    ------
    InputError
        The port is in use or not ours to take, or the host is empty or none of this machine.
    """
    if not host.strip():
        raise InputError("--host: empty; give an address of this machine, or 0.0.0.0 for all of them")
    if not 0 <= port <= 65_535:
        raise InputError(f"port {port}: give another --port or --host; ports are 0 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        number = error.errno or 0  # negative: the host has no address
        reason = os.strerror(number) if number > 0 else error.strerror or error
        raise InputError(f"{host} port {port}: {reason}; give another --port or --host") from None


def is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def application(home: Path, *, host: str) -> ASGIApp:
    """Return what answers for a home, guarded."""
    settings = load_settings(home)
    current = CurrentRelease(Store(home / "store"))
    app = create_app(current, stale_hours=settings.alerts.stale_hours)
    bracketed = f"[{host}]" if ":" in host else host
    headers = [] if settings.source == "sample" else [("x-data-courtesy", COURTESY)]
    return Guard(app, hosts={*LOOPBACK, bracketed, *settings.serve.allowed_hosts}, headers=headers)


def exit_when_told() -> None:
    """Have SIGTERM and SIGINT end the process with status 0.

    While requests are answered, uvicorn takes them; when it is done it raises them again.
    """
    # At its import it takes SIGINT, and cuts every query off; who comes later takes it from there.
    import polars  # noqa: F401

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)


def _leave(number: int, frame: object) -> None:
    # Not sys.exit, which waits for threads: one may be reading a release. There is nothing that must be ended.
    sys.stdout.flush()
    logging.shutdown()
    os._exit(0)


class Server(uvicorn.Server):
    """Stops with what is at work answered, for at most ``GRACEFUL_SECONDS``; what waits is told so at once."""

    def __init__(self, app: ASGIApp) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            http=Connection,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACEFUL_SECONDS,
        )
        super().__init__(config)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.started:  # the first release is being read, and nobody has asked anything
            _leave(sig, frame)
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        stop = self.lifespan.state.get(STOP)
        if stop is not None:
            stop()
        await super().shutdown(sockets)


def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Answer until SIGTERM or SIGINT."""
    Server(app).run(sockets=[listening])
