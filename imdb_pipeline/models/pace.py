"""How far a long fit is: what has several parts says about every 30 seconds how many are done and how long is left.

The epochs of a training are told by ``training``.
"""

from __future__ import annotations

import logging
import time

SECONDS_BETWEEN = 30.0

logger = logging.getLogger(__name__)


class Pace:
    """Counts the parts of a work.

    Parameters
    ----------
    what
        What is at work, for the log.
    parts
        What the parts are called, in the plural.
    of
        How many there are.
    every
        Seconds from one line to the next; None: ``SECONDS_BETWEEN``.
    at_most
        Whether it may end earlier.
    """

    def __init__(self, what: str, parts: str, of: int, *, every: float | None = None, at_most: bool = False) -> None:
        self._what, self._parts, self._of = what, parts, of
        self._about = "at most" if at_most else "about"
        self._every = SECONDS_BETWEEN if every is None else every
        self._started = self._told = time.monotonic()
        self._done = 0

    def part_done(self) -> None:
        """Count a part, and log how far it is where the last line is old enough."""
        self._done += 1
        now = time.monotonic()
        if now - self._told >= self._every:
            self._told = now
            logger.info("%s", self.told(now - self._started))

    def told(self, seconds: float) -> str:
        """Return a line of how far it is after so many seconds."""
        rate = self._done / max(seconds, 1e-9)
        pace = f"{rate:,.1f} a second" if rate >= 1 else f"{1 / rate:,.0f} s each"
        left = (self._of - self._done) / rate
        span = f"{left:.0f} s" if left < 120 else f"{left / 60:.0f} min"
        return f"{self._what}: {self._done:,} of {self._of:,} {self._parts}, {pace}, {self._about} {span} left"
