"""Where an interval is drawn on a short line beside its figures; the drawing itself is the template's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

WIDTH = 200
"""Units of a line."""
_MARGIN = 5


@dataclass(frozen=True)
class IntervalLine:
    """A line from ``low`` to ``high``; what lies beyond is drawn at its end."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Return where a value lies, in units of the line."""
        share = (value - self.low) / (self.high - self.low)
        return round(_MARGIN + (WIDTH - 2 * _MARGIN) * min(1.0, max(0.0, share)), 1)

    def drawn(self, row: Mapping[str, Any], name: str) -> dict[str, float] | None:
        """Return where ``low``, ``point``, ``high`` and ``zero`` lie; None where there is no interval."""
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        if low is None or high is None:
            return None
        places = {"low": low, "point": row[name], "high": high, "zero": 0.0}
        return {end: self.place(value) for end, value in places.items()}


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
