"""Static figures of the map as PNG bytes, drawn without a display; the report has its own, which follow its theme."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FIRST, _SECOND = "#3b6ea5", "#d1662b"


def draw_map(points: pl.DataFrame, *, width_inches: float = 8, dots_per_inch: int = 110) -> bytes:
    """Draw the movies where the map has them, coloured by rating; those without one are grey.

    Parameters
    ----------
    points
        Columns x, y, average_rating (may be null).
    """
    import polars as pl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inches, width_inches * 0.8), dpi=dots_per_inch, layout="constrained")
    axes = figure.add_subplot()
    rated, unrated = (
        points.filter(pl.col("average_rating").is_not_null()),
        points.filter(pl.col("average_rating").is_null()),
    )
    size = _point_size(len(points))
    axes.scatter(unrated["x"], unrated["y"], s=size, c="#b0b0b0", linewidths=0, rasterized=True)
    drawn = axes.scatter(
        rated["x"],
        rated["y"],
        s=size,
        c=rated["average_rating"],
        cmap="viridis",
        vmin=3,
        vmax=9,
        linewidths=0,
        rasterized=True,
    )
    figure.colorbar(drawn, ax=axes, label="average rating", shrink=0.7)
    _frame_map(axes, points)
    return png(figure)


def draw_drift(
    points: pl.DataFrame, years: pl.DataFrame, *, width_inches: float = 9, dots_per_inch: int = 110
) -> bytes:
    """Draw the drift over release years: the map by year, the years' means on it, the vectors along their trend, and
    how often neighbours are of one year.

    Parameters
    ----------
    points
        Columns x, y, release_year (may be null).
    years
        ``years`` of ``embeddings.drift.Drift``.
    """
    import polars as pl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inches, width_inches * 0.8), dpi=dots_per_inch, layout="constrained")
    (by_year, means), (trend, same_year) = figure.subplots(2, 2, height_ratios=[5, 3])
    dated = points.drop_nulls("release_year").sample(fraction=1, shuffle=True, seed=0)
    # The few oldest movies would leave nearly all others in one colour.
    oldest, newest = (dated["release_year"].quantile(share, "nearest") for share in (0.02, 1.0))
    colours = {"cmap": "viridis", "vmin": oldest, "vmax": newest}
    size = _point_size(len(points))
    by_year.scatter(
        dated["x"], dated["y"], s=size, c=dated["release_year"], linewidths=0, alpha=0.5, rasterized=True, **colours
    )
    by_year.set_title("the map by release year", fontsize="medium")
    _frame_map(by_year, points)
    placed = years.drop_nulls(["x", "y", "trend"])
    middle = points.select(pl.col("x", "y").mean())
    spread = points.select((pl.col("x").var(ddof=0) + pl.col("y").var(ddof=0)).sqrt()).item() or 1.0
    x, y = ((placed[name] - middle[name].item()) / spread for name in ("x", "y"))
    dots = {"c": placed["release_year"], "s": 26, "edgecolors": "black", "linewidths": 0.6, "zorder": 3, **colours}
    means.plot(x, y, color="#909090", linewidth=1)
    drawn = means.scatter(x, y, **dots)
    means.set_title("the years' means on it, from its middle (spreads)", fontsize="medium")
    means.set_aspect("equal", adjustable="datalim")
    figure.colorbar(drawn, ax=means, label="release year", shrink=0.8)
    trend.plot(placed["release_year"], placed["trend"], color="#909090", linewidth=1)
    trend.scatter(placed["release_year"], placed["trend"], **dots)
    trend.set_title("mean of the vectors along their trend (spreads)", fontsize="medium")
    lines = {"vectors": "among the vectors", "map": "on the map", "chance": "by chance"}
    for (name, label), colour in zip(lines.items(), (_FIRST, _SECOND, "#909090"), strict=True):
        share = 100 * placed[f"same_year_{name}"]
        same_year.plot(placed["release_year"], share, color=colour, label=label, linewidth=1.5)
    same_year.set_title("neighbours of the same year (%)", fontsize="medium")
    same_year.set_ylim(bottom=0)
    same_year.legend(frameon=False, fontsize="small")
    for axes in (trend, same_year):
        axes.set_xlabel("release year")
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in (means, trend, same_year):
        axes.spines[["top", "right"]].set_visible(False)
    return png(figure)


def _frame_map(axes: Axes, points: pl.DataFrame) -> None:
    """Leave out the few movies that may be far away; distances are the same in both directions."""
    for name, limit in (("x", axes.set_xlim), ("y", axes.set_ylim)):
        low, high = (points[name].quantile(share, "nearest") for share in (0.01, 0.99))
        if low is not None and high is not None and low < high:
            limit(low - 0.2 * (high - low), high + 0.2 * (high - low))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal")


def _point_size(points: int) -> float:
    return max(1.0, min(12.0, 20_000 / max(1, points)))


def png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG, the same ones every time."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
