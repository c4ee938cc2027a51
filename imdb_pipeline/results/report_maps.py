"""The report's section on the map: coloured by rating, a panel a release year, and the drift over these years."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imdb_pipeline.results.charts import curves
from imdb_pipeline.results.map_raster import Frame, draw_points, draw_ramp

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from imdb_pipeline.store import Revision

_WIDTH, _SHAPE = 1200, 0.75
_PANEL_WIDTH = 400
_PANELS = 12
_FEWEST = 20
"""Movies from which a release year has a panel."""
_TOP = 10


def map_section(revisions: Mapping[str, Revision], movies: pl.DataFrame) -> dict[str, Any]:
    """Return what the section shows.

    Parameters
    ----------
    revisions
        ``movie_map``.
    movies
        With tconst, release_year, average_rating.

    Returns
    -------
    dict
        ``picture`` and ``ramp`` (of ``map_raster.Picture``; None where no movie is on the map), ``low``, ``high``: the
        ratings at the ends of the ramp; ``movies``, ``unrated``; ``layout``; ``panels``: year, movies, mean, picture;
        ``drift``: its figures with ``clusters`` and charts, or None.
    """
    import polars as pl

    revision = revisions["movie_map"]
    points = pl.read_parquet(revision.file("map.parquet")).join(
        movies.select("tconst", "release_year", "average_rating"), on="tconst", how="left", maintain_order="left"
    )
    info = revision.manifest["info"]
    rated = points["average_rating"].drop_nulls()
    low, high = ((rated.quantile(share, "nearest") or edge) for share, edge in ((0.1, 1.0), (0.9, 10.0)))
    return {
        "movies": len(points),
        "unrated": points["average_rating"].null_count(),
        "low": low,
        "high": high,
        **_pictures(points, low, high),
        "layout": {name: info[name] for name in ("method", "start", "reason", "trustworthiness", "moved")},
        "drift": _drift(revision),
    }


def panel_years(released: pl.Series) -> list[int]:
    """Return the release years that have a panel: the latest twelve with movies enough, where there are two or more."""
    counts = dict(released.drop_nulls().value_counts().iter_rows())
    chosen = sorted(year for year, count in counts.items() if count >= _FEWEST)[-_PANELS:]
    return chosen if len(chosen) > 1 else []


def _pictures(points: pl.DataFrame, low: float, high: float) -> dict[str, Any]:
    import numpy as np
    import polars as pl

    if points.is_empty():
        return {"picture": None, "ramp": None, "panels": []}
    x, y, value = (
        points[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in ("x", "y", "average_rating")
    )
    frame = Frame.around(x, y, shape=_SHAPE)
    panels = []
    for year in panel_years(points["release_year"]):
        of_year = points["release_year"].eq(year).fill_null(False)
        ratings = np.where(of_year.to_numpy(), value, np.nan)
        panels.append(
            {
                "year": year,
                "movies": int(of_year.sum()),
                "mean": points.filter(of_year)["average_rating"].mean(),
                "picture": draw_points(x, y, ratings, frame, width=_PANEL_WIDTH, low=low, high=high),
            }
        )
    picture = draw_points(x, y, value, frame, width=_WIDTH, low=low, high=high)
    return {"picture": picture, "ramp": draw_ramp(), "panels": panels}


def _drift(revision: Revision) -> dict[str, Any] | None:
    """Return the drift over release years with its charts; None where no movies have a year."""
    import polars as pl

    if "drift.json" not in revision.manifest["files"]:
        return None
    years = pl.read_parquet(revision.file("years.parquet"))
    figures = json.loads(revision.file("drift.json").read_bytes())
    year_only = years.with_columns(count=(pl.col("year_only") * pl.col("movies")).round().cast(pl.Int64))
    largest = year_only.filter(pl.col("count") > 0).sort("count", "release_year", descending=[True, False]).head(_TOP)
    placed = years.drop_nulls("trend")
    trend = [(float(year), value) for year, value in placed.select("release_year", "trend").iter_rows()]
    # Of a year of few movies, neighbours of the same year are few by chance alone.
    shares = [
        [(float(year), 100 * share) for year, share in placed.select("release_year", f"same_year_{name}").iter_rows()]
        for name in ("vectors", "map", "chance")
    ]
    charts = {"trend": None, "same_year": None}
    if len(trend) > 1:
        charts = {
            "trend": curves(
                [trend], "release year", "along the trend, in spreads", "Mean of the vectors along their trend by year"
            ),
            "same_year": curves(
                shares, "release year", "of the same year, %", "Neighbours of the same release year", from_zero=True
            ),
        }
    return {**figures, "clusters": largest.to_dicts(), **charts}
