"""A request whose client has gone is given up: what waits for it is not begun."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Leaving:
    """An ASGI application around another, which is cancelled when the client has gone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        if scope["type"] != "http" or task is None:
            await self._app(scope, receive, send)
            return
        read, gone = asyncio.Event(), False
        if scope["method"] in ("GET", "HEAD"):
            read.set()  # no path reads the body of these

        async def reading() -> Message:
            message = await receive()
            if not message.get("more_body"):
                read.set()
            return message

        async def watch() -> None:
            nonlocal gone
            await read.wait()
            while (await receive())["type"] != "http.disconnect":
                pass
            gone = True
            task.cancel()

        watching = asyncio.create_task(watch())
        try:
            await self._app(scope, reading, send)
        except asyncio.CancelledError:
            if not gone:
                raise
            task.uncancel()
        except ClientDisconnect:  # with only a part of its body sent
            return
        finally:
            watching.cancel()
