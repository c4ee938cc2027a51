"""Static figures as PNG bytes, drawn without a display."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure


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
    size = max(1.0, min(12.0, 20_000 / max(1, len(points))))
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
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    return _png(figure)


def draw_ratings(ratings: pl.Series) -> bytes:
    """Draw the histogram of average ratings, one bar a tenth."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 2.6), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.hist(ratings.drop_nulls().to_numpy(), bins=np.arange(0.95, 10.1, 0.1).tolist(), color="#3b6ea5")
    axes.set_xlabel("average rating")
    axes.set_ylabel("movies")
    axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
