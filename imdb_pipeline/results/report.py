"""``report``: one HTML file that opens from disk with no network. What an asset has not delivered is left out."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from imdb_pipeline import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import polars as pl

    from imdb_pipeline.store import Revision

COURTESY = "Information courtesy of IMDb (https://www.imdb.com). Used with permission."
_TOP = 10


def write_report(path: Path, *, day: str, source: str, revisions: Mapping[str, Revision]) -> dict[str, int]:
    """Write the report of a day, and return what it counts.

    Parameters
    ----------
    revisions
        What it reports on, by asset: movies, movie_documents, movie_neighbours, movie_map, rating_split, leaderboard,
        champion, rating_predictions, and what was made on the way.
    """
    import polars as pl
    from jinja2 import Environment, PackageLoader

    from imdb_pipeline.results.plots import draw_map, draw_ratings

    movies = pl.read_parquet(revisions["movies"].file("movies.parquet"))
    points = pl.read_parquet(revisions["movie_map"].file("map.parquet"))
    split = pl.read_parquet(revisions["rating_split"].file("split.parquet"))
    board = json.loads(revisions["leaderboard"].file("leaderboard.json").read_bytes())
    champion = json.loads(revisions["champion"].file("champion.json").read_bytes())
    predictions = pl.read_parquet(revisions["rating_predictions"].file("predictions.parquet"))
    titled = predictions.join(movies.select("tconst", "title", "release_year"), on="tconst", how="left")
    counts = {
        "movies": len(movies),
        "of them rated": movies["average_rating"].count(),
        "with votes enough to learn from": len(split),
        "credits": int(movies["credits"].list.len().sum()),
        "documents embedded": len(points),
    }
    environment = Environment(loader=PackageLoader("imdb_pipeline.results"), autoescape=True, trim_blocks=True)
    html = environment.get_template("report.html.j2").render(
        day=day,
        source="the synthetic sample catalogue" if source == "sample" else source,
        courtesy=None if source == "sample" else COURTESY,
        version=__version__,
        counts=counts,
        ratings=_embedded(draw_ratings(movies["average_rating"])),
        map=_embedded(draw_map(points.join(movies.select("tconst", "average_rating"), on="tconst", how="left"))),
        rows=[{**row, "fit_seconds": _fit_seconds(revisions, row["model"])} for row in board["rows"]],
        scale=max([0.01, *(row["r2_high"] for row in board["rows"] if row["r2_high"] is not None)]),
        too_few=board["too_few"],
        champion=champion["model"],
        no_champion=champion["reason"],
        **_notable(titled),
        steps=[
            {
                "asset": name,
                "day": revision.day,
                "revision": revision.id,
                "rows": revision.manifest["rows"],
                "seconds": revision.manifest["info"]["seconds"],
                "device": revision.manifest["info"]["device_name"],
            }
            for name, revision in revisions.items()
        ],
    )
    path.write_text(html, encoding="utf-8")
    return counts


def _notable(titled: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return the movies that a reader asks for first; errors only of movies that the model had not seen."""
    import polars as pl

    if titled.is_empty():
        return {"underrated": [], "overrated": [], "coming": []}
    unseen = titled.filter(pl.col("split") == "test").with_columns(
        error=pl.col("average_rating") - pl.col("prediction")
    )
    coming = titled.filter(pl.col("num_votes").is_null())
    return {
        "underrated": unseen.sort("error").head(_TOP).to_dicts(),
        "overrated": unseen.sort("error", descending=True).head(_TOP).to_dicts(),
        "coming": coming.sort("prediction", descending=True).head(_TOP).to_dicts(),
    }


def _fit_seconds(revisions: Mapping[str, Revision], model: str) -> float:
    return revisions[f"{model}_predictor"].manifest["info"]["fit_seconds"]


def _embedded(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
