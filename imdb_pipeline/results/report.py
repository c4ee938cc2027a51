"""``report``: one HTML file that opens from disk with no network. What an asset has not delivered is left out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imdb_pipeline import __version__
from imdb_pipeline.champions import CHAMPION

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import polars as pl

    from imdb_pipeline.store import Revision

SAMPLE_SHOWN = "the synthetic sample catalogue"
COURTESY = "Information courtesy of IMDb (https://www.imdb.com). Used with permission."
_TOP = 10


def write_report(path: Path, *, day: str, source: str, revisions: Mapping[str, Revision]) -> dict[str, int]:
    """Write the report of a day, and return what it counts.

    Parameters
    ----------
    revisions
        What it reports on, by asset: movies, movie_documents, movie_neighbours, movie_map, rating_split, the
        predictors, leaderboard, champion, rating_predictions; where there are any catalogue_changes, model_card,
        prediction_ledger, study_reproduction, evaluation; and what was made on the way.
    """
    import polars as pl
    from jinja2 import Environment, PackageLoader

    from imdb_pipeline.results.plots import draw_map, draw_ratings, embedded
    from imdb_pipeline.results.report_errors import errors_section
    from imdb_pipeline.results.report_models import models_section

    movies = pl.read_parquet(revisions["movies"].file("movies.parquet"))
    points = pl.read_parquet(revisions["movie_map"].file("map.parquet")).join(
        movies.select("tconst", "release_year", "average_rating"), on="tconst", how="left"
    )
    split = pl.read_parquet(revisions["rating_split"].file("split.parquet"))
    champion = json.loads(revisions["champion"].file(CHAMPION).read_bytes())
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
        source=SAMPLE_SHOWN if source == "sample" else source,
        courtesy=None if source == "sample" else COURTESY,
        version=__version__,
        counts=counts,
        changed=_changed(revisions.get("catalogue_changes")),
        ratings=embedded(draw_ratings(movies["average_rating"])),
        map=embedded(draw_map(points)),
        layout=_layout(revisions["movie_map"]),
        drift=_drift(revisions["movie_map"], points),
        models=models_section(revisions),
        champion=champion,
        errors=errors_section(revisions),
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


def _changed(revision: Revision | None) -> dict[str, Any] | None:
    """Return what the section on the day's changes shows; None leaves it out."""
    import polars as pl

    from imdb_pipeline.catalogue.changes import read_changes

    if revision is None:
        return None
    changes = read_changes(revision.folder)
    counts, listed = changes.counts, changes.changes
    fields = listed.filter(pl.col("change") == "changed")["fields"]
    named = fields.drop_nulls().explode(keep_nulls=False).value_counts(sort=True, name="documents")

    def most_voted(frame: pl.DataFrame, column: str, value: str, votes: str = "num_votes") -> list[dict[str, Any]]:
        chosen = frame.filter(pl.col(column) == value)
        return chosen.sort(votes, "tconst", descending=[True, False], nulls_last=True).head(_TOP).to_dicts()

    return {
        "previous_day": counts["previous_day"],
        "share": counts["share_changed"],
        "min_votes": changes.min_votes,
        "counts": {
            "movies added": counts["added"],
            "movies removed": counts["removed"],
            "documents changed": counts["changed"],
            "ratings changed": counts["ratings_changed"],
            "votes changed": counts["votes_changed"],
            f"reached {changes.min_votes} votes": counts["crossed_up"],
            f"fell below {changes.min_votes} votes": counts["crossed_down"],
        },
        "movers": changes.movers.head(_TOP).to_dicts(),
        "up": most_voted(changes.crossed, "direction", "up"),
        "down": most_voted(changes.crossed, "direction", "down", "num_votes_before"),
        "added": most_voted(listed, "change", "added"),
        "removed": most_voted(listed, "change", "removed"),
        "fields": named.sort("documents", "fields", descending=[True, False]).to_dicts(),
        "fields_unknown": fields.null_count(),
        "names": [
            {"what": what, "name": name, "count": count}
            for what, names in (
                ("new credit category", changes.new_categories),
                ("credit category gone", changes.gone_categories),
                ("new genre", changes.new_genres),
                ("genre gone", changes.gone_genres),
                ("new title type", changes.new_title_types),
                ("title type gone", changes.gone_title_types),
            )
            for name, count in names.items()
        ],
    }


def _layout(revision: Revision) -> dict[str, Any]:
    """Return how the map was laid out, and how far to trust it."""
    info = revision.manifest["info"]
    return {name: info[name] for name in ("method", "start", "reason", "trustworthiness", "moved")}


def _drift(revision: Revision, points: pl.DataFrame) -> dict[str, Any] | None:
    """Return the drift over release years with its picture; None where no movies have a year."""
    import polars as pl

    from imdb_pipeline.results.plots import draw_drift, embedded

    if "drift.json" not in revision.manifest["files"]:
        return None
    years = pl.read_parquet(revision.file("years.parquet"))
    figures = json.loads(revision.file("drift.json").read_bytes())
    year_only = years.with_columns(count=(pl.col("year_only") * pl.col("movies")).round().cast(pl.Int64))
    largest = year_only.filter(pl.col("count") > 0).sort("count", "release_year", descending=[True, False]).head(_TOP)
    return {**figures, "picture": embedded(draw_drift(points, years)), "clusters": largest.to_dicts()}


def _notable(titled: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return the movies that a reader asks for first; errors only of movies that the model had not seen."""
    import polars as pl

    if titled.is_empty():
        return {"underrated": [], "overrated": [], "coming": []}
    unseen = titled.filter(split="test", basis="held_out").with_columns(
        error=pl.col("average_rating") - pl.col("prediction")
    )
    coming = titled.filter(pl.col("num_votes").is_null())
    return {
        "underrated": unseen.sort("error").head(_TOP).to_dicts(),
        "overrated": unseen.sort("error", descending=True).head(_TOP).to_dicts(),
        "coming": coming.sort("prediction", descending=True).head(_TOP).to_dicts(),
    }
