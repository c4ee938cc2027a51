"""Work that would stall the event loop, done beside it: one thread for the models, a few for tables and vectors."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    Result = TypeVar("Result")


class BusyError(Exception):
    """More is waiting than will be done soon."""


class StoppingError(Exception):
    """The work was not begun, and will not be: the service stops."""


class Workers:
    """Threads with a queue of limited length.

    Parameters
    ----------
    threads
        One makes what is not safe in several threads safe, and keeps torch from using more cores than there are.
    limit
        How much may wait or be at work.
    """

    def __init__(self, name: str, threads: int, *, limit: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._threads = threads
        self._limit = limit
        self._taken: set[Future] = set()
        self._stopping = False

    async def do(self, work: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
        """Return what ``work`` returns. Where the caller is cancelled, work that has not begun is not done.

        Raises
        ------
        BusyError
            ``limit`` others are waiting or at work.
        StoppingError
            ``stop`` was called before the work began.
        """
        self._taken = {future for future in self._taken if not future.done()}
        if self._stopping and len(self._taken) >= self._threads:
            raise StoppingError
        if len(self._taken) >= self._limit:
            raise BusyError
        future = self._pool.submit(work, *arguments, **named)
        self._taken.add(future)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._stopping and future.cancelled() and not (task and task.cancelling()):
                raise StoppingError from None
            raise

    def stop(self) -> None:
        """Drop what waits. What is at work goes on, and what it asks for next is done where a thread is free."""
        self._stopping = True
        for future in self._taken:
            future.cancel()  # but for those at work

    def close(self) -> None:
        """Do nothing more."""
        self.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)
