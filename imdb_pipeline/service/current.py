"""Which release is served: the newest that could be loaded. The one before answers until the next is in memory."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
from typing import TYPE_CHECKING

from imdb_pipeline.errors import NotPublishedError, PipelineError
from imdb_pipeline.published import CURRENT
from imdb_pipeline.service.loaded import LoadedRelease

if TYPE_CHECKING:
    from imdb_pipeline.store import Store

log = logging.getLogger(__name__)

RETRY_SECONDS = 60
"""What could not be loaded is tried again after this time, or as soon as ``CURRENT`` moves."""


class CurrentRelease:
    """The release that is served.

    Attributes
    ----------
    loaded
        What answers; None before the first.
    problem
        Why it is not what ``CURRENT`` names, in one line; None where it is.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: tuple[int, ...] | None = ()
        self._again = 0.0
        self.loaded: LoadedRelease | None = None
        self.problem: str | None = None

    def check(self) -> None:
        """Load what ``CURRENT`` names, where it has moved, and serve it; where that fails, go on with what there is."""
        seen = self._mark()
        if seen == self._seen and not (self.problem and time.monotonic() >= self._again):
            return
        self._seen = seen
        self._again = time.monotonic() + RETRY_SECONDS
        try:
            self._load()
            self.problem = None
        except Exception as error:  # whatever is wrong with the new one, the old one can answer
            expected = isinstance(error, (PipelineError, OSError))
            problem = " ".join((str(error) if expected else f"{type(error).__name__}: {error}").split())
            if problem != self.problem:
                old = f"; {self.loaded.id} goes on answering" if self.loaded else ""
                log.error("the release cannot be served: %s%s", problem, old, exc_info=None if expected else error)
            self.problem = problem

    async def watch(self, seconds: float) -> None:
        """Check again and again, beside the loop, whatever comes of one check."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await asyncio.to_thread(self.check)
            except Exception:
                log.exception("looking for a new release failed; it is done again")

    @staticmethod
    def warm(loaded: LoadedRelease) -> None:
        """Load the models of a release, where they can be: what needs none is answered all the same."""
        try:
            loaded.warm()
        except PipelineError as error:
            log.warning("what needs a model is not answered: %s", error)

    def _load(self) -> None:
        old = self.loaded
        current = self._store.current()
        if current is None and old is not None:
            raise NotPublishedError(f"{self._store.root / CURRENT} is gone; the next run writes it again")
        if old is not None and current == old.release.content:
            return
        started = time.monotonic()
        new = LoadedRelease(self._store, masked=old is not None and old.similar.masks_titles)
        if old is not None:
            self.warm(new)
        self.loaded = new
        log.info("serving %s, read in %.1f s", new.id, time.monotonic() - started)
        del old
        gc.collect()  # what the old one holds is large: not when chance will have it, but now

    def _mark(self) -> tuple[int, ...] | None:
        try:
            status = os.stat(self._store.root / CURRENT)  # noqa: PTH116 (every two seconds)
        except FileNotFoundError:
            return None
        except OSError as error:  # reading it says why, where that is told and tried again
            return -1, error.errno or 0, 0
        return status.st_ino, status.st_mtime_ns, status.st_size
