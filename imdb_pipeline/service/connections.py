"""Connections: those that ask for nothing are closed, and those beyond a number are turned away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.h11_impl import H11Protocol as AutoHTTPProtocol  # what is used here, both kinds have
else:
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

MOST_CONNECTIONS = 1_000
HEAD_SECONDS = 10
TURNED_AWAY = "turned_away"
"""In the state of a request: its connection is one too many."""


class Connection(AutoHTTPProtocol):
    """A connection, on which the head of a request has to arrive within ``HEAD_SECONDS`` of being opened or begun.

    Between requests uvicorn's own timeout holds; that of a body is ``bodies.BODY_SECONDS``.
    """

    head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            self.app_state: dict[str, Any] = {**self.app_state, TURNED_AWAY: True}
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._head_arrived()
        elif self.head_timer is None and self._idle():
            self._await_head()

    def _await_head(self) -> None:
        self.head_timer = self.loop.call_later(HEAD_SECONDS, self._close_if_idle)

    def _head_arrived(self) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None

    def _close_if_idle(self) -> None:
        self.head_timer = None
        if self._idle() and not self.transport.is_closing():
            self.transport.close()

    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete
