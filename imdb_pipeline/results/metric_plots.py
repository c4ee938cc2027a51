"""Small static figures of how well is predicted, as PNG bytes, for Dagster's UI; the report draws its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imdb_pipeline.results.plots import png

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from matplotlib.axes import Axes

BIN_MOVIES = 10
"""A point of the calibration is the mean of at least so many movies."""
MOST_BINS = 12
FARTHEST = -1.0
"""An R² below this is an arrow at the edge."""
_COLOUR, _QUIET = "#3b6ea5", "#909090"


def draw_leaderboard(rows: Sequence[dict[str, Any]]) -> bytes:
    """Draw R² on test with its 95 % interval by predictor, the best on validation on top.

    Parameters
    ----------
    rows
        Of ``leaderboard_rows``; at least one.
    """
    from matplotlib.figure import Figure

    shown = [row for row in reversed(rows) if row["r2"] is not None]
    figure = Figure(figsize=(6, 0.8 + 0.28 * len(shown)), dpi=80, layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(shown):
        axes.plot([row["r2_low"], row["r2_high"]], [place, place], color=_COLOUR, linewidth=2)
        axes.plot(row["r2"], place, "o", color=_COLOUR)
        if row["r2"] < FARTHEST:
            axes.plot(FARTHEST, place, "<", color=_COLOUR, clip_on=False)
    axes.axvline(0, color=_QUIET, linewidth=1)
    axes.set_xlim(max(FARTHEST, min([-0.05, *(row["r2_low"] - 0.05 for row in shown)])), 1)
    axes.set_yticks(range(len(shown)), [row["model"] for row in shown])
    axes.set_xlabel("R² on test, 95 % interval (the mean's is 0)")
    _open(axes)
    return png(figure)


def draw_calibration(predictions: pl.DataFrame) -> bytes | None:
    """Draw mean rating against mean prediction of test movies, in groups of equal size; None for too few.

    Parameters
    ----------
    predictions
        Columns split, average_rating, prediction.
    """
    import polars as pl
    from matplotlib.figure import Figure

    test = predictions.filter(pl.col("split") == "test").drop_nulls(["average_rating", "prediction"]).sort("prediction")
    count = min(MOST_BINS, len(test) // BIN_MOVIES)
    if count < 2:
        return None
    group = (pl.int_range(pl.len()) * count // pl.len()).alias("group")
    bins = test.group_by(group, maintain_order=True).agg(
        pl.col("prediction").mean(),
        rating=pl.col("average_rating").mean(),
        error=pl.col("average_rating").std() / pl.len().sqrt(),
    )
    figure = Figure(figsize=(4.5, 4.2), dpi=80, layout="constrained")
    axes = figure.add_subplot()
    ends = [1.0, 10.0]
    axes.plot(ends, ends, color=_QUIET, linewidth=1)
    axes.errorbar(bins["prediction"], bins["rating"], yerr=1.96 * bins["error"], fmt="o", color=_COLOUR)
    lowest, highest = (f(test["prediction"].to_list() + bins["rating"].to_list()) for f in (min, max))
    for limit in (axes.set_xlim, axes.set_ylim):
        limit(max(1.0, lowest - 0.3), min(10.0, highest + 0.3))
    axes.set_xlabel(f"mean prediction; {len(test):,} test movies in {count} groups")
    axes.set_ylabel("their mean rating, with its 95 % interval")
    _open(axes)
    return png(figure)


def _open(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
