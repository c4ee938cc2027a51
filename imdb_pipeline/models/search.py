"""Choosing settings on validation so that the best of them does not silently lie on the edge of what was tried."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Axis:
    """A setting that is searched for.

    Attributes
    ----------
    start
        Tried first, rising.
    factor
        From one value to the next, beyond either end of ``start``.
    lowest, highest
        How far that may go.
    """

    start: tuple[float, ...]
    factor: float
    lowest: float
    highest: float

    @classmethod
    def fixed(cls, *values: float) -> Axis:
        """Return an axis that holds these values and no others."""
        return cls(values, 2.0, values[0], values[-1])

    @property
    def limits(self) -> list[float]:
        """The lowest and the highest value that may be tried."""
        values = self.values()
        return [values[0], values[-1]]

    def values(self) -> list[float]:
        """Return all values that may be tried, rising."""
        below, above = [self.start[0]], [self.start[-1]]
        while below[-1] > 0 and below[-1] / self.factor >= self.lowest:
            below.append(float(f"{below[-1] / self.factor:.6g}"))
        while 0 < above[-1] * self.factor <= self.highest:
            above.append(float(f"{above[-1] * self.factor:.6g}"))
        return [*reversed(below[1:]), *self.start, *above[1:]]


@dataclass(frozen=True)
class Search:
    """What was tried.

    Attributes
    ----------
    best
        The settings with the lowest error, and ``validation_mse``.
    tried
        The same of all settings, in the order in which they were tried.
    on_edge
        The settings whose best value is the last one that may be tried in its direction.
    """

    best: dict[str, Any]
    tried: list[dict[str, Any]]
    on_edge: list[str]


def search(axes: dict[str, Axis], errors_of: Callable[[list[dict[str, float]]], list[float]]) -> Search:
    """Try all starting values with one another, then the neighbours of the best until none of them is better.

    A neighbour is one step along one axis. So the best has been compared with both its neighbours along each axis,
    unless it lies where its axis ends, and then that is said.

    Parameters
    ----------
    axes
        By setting.
    errors_of
        Returns the validation error of each of some settings, which come sorted by the first axis, then the second.
    """
    names, values = list(axes), [axis.values() for axis in axes.values()]
    places = [[column.index(value) for value in axis.start] for column, axis in zip(values, axes.values(), strict=True)]
    waiting = sorted(product(*places))
    errors: dict[tuple[int, ...], float] = {}
    best: tuple[int, ...] = waiting[0]
    while waiting:
        points = [{name: values[axis][place[axis]] for axis, name in enumerate(names)} for place in waiting]
        errors |= dict(zip(waiting, errors_of(points), strict=True))
        best = min(errors, key=lambda place: (errors[place], place))
        beside = [
            (*best[:axis], best[axis] + step, *best[axis + 1 :]) for axis in range(len(names)) for step in (-1, 1)
        ]
        waiting = sorted(
            place
            for place in beside
            if place not in errors and all(0 <= at < len(column) for at, column in zip(place, values, strict=True))
        )
    tried = [
        {name: values[axis][place[axis]] for axis, name in enumerate(names)} | {"validation_mse": error}
        for place, error in errors.items()
    ]
    on_edge = [
        name for axis, name in enumerate(names) if len(values[axis]) > 1 and best[axis] in (0, len(values[axis]) - 1)
    ]
    return Search(tried[list(errors).index(best)], tried, on_edge)
