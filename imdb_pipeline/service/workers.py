"""Work that would stall the event loop, done beside it: one thread for the models, a few for tables and vectors."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    Result = TypeVar("Result")

MAX_WAITING = 64


class BusyError(Exception):
    """More is waiting than will be done soon."""


class Workers:
    """Threads with a queue of limited length.

    Parameters
    ----------
    threads
        One makes what is not safe in several threads safe, and keeps torch from using more cores than there are.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._waiting = 0

    async def do(self, work: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
        """Return what ``work`` returns.

        Raises
        ------
        BusyError
            ``MAX_WAITING`` others are waiting or at work.
        """
        if self._waiting >= MAX_WAITING:
            raise BusyError
        self._waiting += 1
        try:
            return await asyncio.wrap_future(self._pool.submit(work, *arguments, **named))
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Do nothing more of what waits."""
        self._pool.shutdown(wait=False, cancel_futures=True)
