"""Where an interval is drawn on a short line beside its figures; the drawing itself is the template's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.groups import FEWEST_FOR_INTERVAL
from imdb_pipeline.results.charts import tick_text, ticks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

WIDTH = 200
"""Units of a line."""
_MARGIN = 5


@dataclass(frozen=True)
class IntervalLine:
    """A line from ``low`` to ``high`` with an upright line at ``mark``; what lies beyond is drawn at its end."""

    low: float
    high: float
    mark: float = 0.0

    def place(self, value: float) -> float:
        """Return where a value lies, in units of the line."""
        share = (value - self.low) / (self.high - self.low)
        return round(_MARGIN + (WIDTH - 2 * _MARGIN) * min(1.0, max(0.0, share)), 1)

    def drawn(self, row: Mapping[str, Any], name: str) -> dict[str, Any] | None:
        """Return where ``low``, ``point``, ``high`` and ``mark`` lie, and the places of the ``grid``; None where there
        is no interval."""
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        if low is None or high is None:
            return None
        places = {"low": low, "point": row[name], "high": high, "mark": self.mark}
        return {end: self.place(value) for end, value in places.items()} | {"grid": [x for x, _ in self.ticks]}

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """The places of a few round values with their texts."""
        return [(self.place(value), tick_text(value)) for value in ticks(self.low, self.high, 4)]


def r2_line(rows: Iterable[Mapping[str, Any]]) -> IntervalLine:
    """Return the line for R² of these rows: one far below 0 does not make the others small."""
    rows = [row for row in rows if row["r2_low"] is not None]
    high = max([0.01, *(row["r2_high"] for row in rows)])
    return IntervalLine(max(-high / 2, min([0.0, *(row["r2_low"] for row in rows)])), high)


def bias_line(rows: Iterable[Mapping[str, Any]]) -> IntervalLine:
    """Return the line for the bias of these rows, with 0 in its middle."""
    ends = [abs(row[name]) for row in rows for name in ("bias_low", "bias_high") if row[name] is not None]
    widest = max([0.1, *ends])
    return IntervalLine(-widest, widest)


def error_line(rows: Iterable[Mapping[str, Any]]) -> IntervalLine:
    """Return the line for the mean absolute error of these rows, which begins at 0."""
    return IntervalLine(0.0, max([0.1, *(row["mae_high"] for row in rows if row["mae_high"] is not None)]))


def coverage_line(rows: Iterable[Mapping[str, Any]], level: float) -> IntervalLine:
    """Return the line for the share of movies inside their interval, marked at what it should be."""
    lowest = min([level, *(row["coverage_low"] for row in rows if row["n"] >= FEWEST_FOR_INTERVAL)])
    return IntervalLine(max(0.0, lowest - 0.02), 1.0, level)
