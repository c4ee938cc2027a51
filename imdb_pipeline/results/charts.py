"""Small charts as inline SVG: coloured by the page's style sheet, so that they follow its light and dark.

A chart's numbers are drawn to scale here; what it is about, and which series are in it, its caption says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from markupsafe import Markup

_TOP, _RIGHT = 14.0, 14.0
_TEXT = 12


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about ``count`` round numbers from ``low`` to ``high``: multiples of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(step * place, 10) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_text(value: float) -> str:
    """Return a number as it stands on an axis."""
    return (f"{value:,.0f}" if abs(value) >= 1e4 else f"{round(value, 6):,g}").replace("-", "−")


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


@dataclass
class Chart:
    """A plane with axes to draw on, in units of CSS pixels where it is shown at its own width.

    Attributes
    ----------
    x, y
        The lowest and the highest value of each axis.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    width: float = 440
    height: float = 230
    left: float = 58
    bottom: float = 42
    parts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # An axis of one value has no length to be measured by.
        if self.x[0] == self.x[1]:
            self.x = (self.x[0] - 0.5, self.x[1] + 0.5)
        if self.y[0] == self.y[1]:
            self.y = (self.y[0] - 0.5, self.y[1] + 0.5)

    def place_x(self, value: float) -> float:
        """Return where a value lies across; what is beyond the axis lies at its end."""
        share = (min(max(value, self.x[0]), self.x[1]) - self.x[0]) / (self.x[1] - self.x[0])
        return self.left + share * (self.width - _RIGHT - self.left)

    def place_y(self, value: float) -> float:
        """Return where a value lies from the top; what is beyond the axis lies at its end."""
        share = (min(max(value, self.y[0]), self.y[1]) - self.y[0]) / (self.y[1] - self.y[0])
        return self.height - self.bottom - share * (self.height - self.bottom - _TOP)

    def grid(
        self,
        x_label: str = "",
        y_label: str = "",
        *,
        x_ticks: Iterable[tuple[float, str]] | None = None,
        y_ticks: Iterable[tuple[float, str]] | None = None,
    ) -> Chart:
        """Draw the axes with their ticks, (value, text) each, and labels."""
        x_ticks = [(value, tick_text(value)) for value in ticks(*self.x)] if x_ticks is None else x_ticks
        y_ticks = [(value, tick_text(value)) for value in ticks(*self.y, 4)] if y_ticks is None else y_ticks
        floor, right = self.height - self.bottom, self.width - _RIGHT
        for value, text in y_ticks:
            y = self.place_y(value)
            self.rule(self.left, y, right, y, "grid")
            self.text(self.left - 7, y + 4, text, "end")
        self.rule(self.left, floor, right, floor, "axis")
        for value, text in x_ticks:
            x = self.place_x(value)
            self.rule(x, floor, x, floor + 4, "axis")
            self.text(x, floor + 17, text, "end" if x > right - 3 * len(text) else "middle")
        if x_label:
            self.text((self.left + right) / 2, self.height - 5, x_label, "middle")
        if y_label:
            middle = (floor + _TOP) / 2
            self.text(11, middle, y_label, "middle", turned=True)
        return self

    def rule(self, x1: float, y1: float, x2: float, y2: float, style: str) -> None:
        """Draw a straight line between two places."""
        a, b, c, d = (_number(value) for value in (x1, y1, x2, y2))
        self.parts.append(f'<line class="{style}" x1="{a}" y1="{b}" x2="{c}" y2="{d}"/>')

    def text(self, x: float, y: float, text: str, anchor: str = "start", *, turned: bool = False) -> None:
        """Write at a place."""
        from markupsafe import escape

        turn = f' transform="rotate(-90 {_number(x)} {_number(y)})"' if turned else ""
        self.parts.append(f'<text x="{_number(x)}" y="{_number(y)}" text-anchor="{anchor}"{turn}>{escape(text)}</text>')

    def line(self, points: Sequence[tuple[float, float]], style: str) -> Chart:
        """Draw a line through points, and a dot at each where there are few."""
        placed = [f"{_number(self.place_x(x))},{_number(self.place_y(y))}" for x, y in points]
        if len(placed) > 1:
            self.parts.append(f'<polyline class="{style}" points="{" ".join(placed)}"/>')
        if len(placed) <= 12:
            for x, y in points:
                self.dot(x, y, style)
        return self

    def dot(self, x: float, y: float, style: str, title: str = "") -> None:
        """Draw a dot at a point, which says ``title`` under the mouse."""
        place = f'cx="{_number(self.place_x(x))}" cy="{_number(self.place_y(y))}"'
        self._titled(f'circle class="{style}" {place} r="3.4"', "circle", title)

    def bar(self, low: float, high: float, value: float, style: str, title: str = "") -> None:
        """Draw a bar from 0 to ``value`` between two values across."""
        x1, x2, top, floor = self.place_x(low), self.place_x(high), self.place_y(value), self.place_y(0)
        gap = 0.5 if x2 - x1 < 8 else 1.5
        place = f'x="{_number(x1 + gap)}" y="{_number(top)}"'
        size = f'width="{max(0.5, x2 - x1 - 2 * gap):.2f}" height="{_number(floor - top)}"'
        self._titled(f'rect class="{style}" {place} {size}', "rect", title)

    def upright(self, x: float, low: float, high: float, style: str) -> None:
        """Draw an interval at a value across."""
        place = self.place_x(x)
        self.rule(place, self.place_y(low), place, self.place_y(high), style)

    def svg(self, label: str) -> Markup:
        """Return the chart; ``label`` says what it shows to who does not see it."""
        from markupsafe import Markup, escape

        size = f"0 0 {_number(self.width)} {_number(self.height)}"
        shape = f'class="chart" width="{_number(self.width)}" viewBox="{size}"'
        return Markup(f'<svg {shape} role="img" aria-label="{escape(label)}">{"".join(self.parts)}</svg>')

    def _titled(self, start: str, name: str, title: str) -> None:
        from markupsafe import escape

        self.parts.append(f"<{start}><title>{escape(title)}</title></{name}>" if title else f"<{start}/>")


def histogram(counts: Sequence[tuple[float, float, int]], x_label: str, y_label: str, label: str) -> Markup:
    """Return bars of (low, high, count); the heights begin at 0."""
    most = max(count for _, _, count in counts)
    chart = Chart((counts[0][0], counts[-1][1]), (0, most * 1.04 or 1))
    whole = _whole_ticks(chart.x) if counts[0][1] - counts[0][0] == 1 else None
    heights = [(value, tick_text(value)) for value in ticks(*chart.y, 4) if value == round(value)]
    chart.grid(x_label, y_label, x_ticks=whole, y_ticks=heights)
    for low, high, count in counts:
        if count:
            chart.bar(low, high, count, "s1", f"{round((low + high) / 2, 6):g}: {count:,}")
    return chart.svg(label)


def curves(
    series: Sequence[Sequence[tuple[float, float]]],
    x_label: str,
    y_label: str,
    label: str,
    *,
    from_zero: bool = False,
    x: tuple[float, float] | None = None,
    x_ticks: Iterable[tuple[float, str]] | None = None,
    height: float = 230,
    bottom: float = 42,
) -> Markup:
    """Return lines, each a list of (x, y), in the styles s1, s2 and so on; at least one point in all.

    ``x`` is the axis across, where it is longer than the lines; ``from_zero`` has the other begin at 0.
    """
    points = [point for each in series for point in each]
    xs, ys = ([point[axis] for point in points] for axis in (0, 1))
    room = (max(ys) - min(ys)) * 0.06 or 0.5 * (abs(max(ys)) or 1) * 0.1
    chart = Chart(
        x or (min(xs), max(xs)), (0.0 if from_zero else min(ys) - room, max(ys) + room), height=height, bottom=bottom
    )
    if x_ticks is None and all(float(x).is_integer() for x in xs):
        x_ticks = _whole_ticks(chart.x)
    chart.grid(x_label, y_label, x_ticks=x_ticks)
    for number, each in enumerate(series, start=1):
        chart.line(each, f"s{number}")
    return chart.svg(label)


def _whole_ticks(axis: tuple[float, float]) -> list[tuple[float, str]]:
    """Return the whole numbers among the ticks, as years and epochs are written."""
    return [(value, f"{value:.0f}") for value in ticks(*axis) if value == round(value)]
