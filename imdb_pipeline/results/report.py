"""``report``: one HTML file that opens from disk with no network. What an asset has not delivered is left out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imdb_pipeline import __version__
from imdb_pipeline.champions import CHAMPION, METRICS
from imdb_pipeline.results.inline import csp_hash
from imdb_pipeline.results.plain_text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jinja2 import Environment

    from imdb_pipeline.store import Revision

SAMPLE_SHOWN = "the synthetic sample catalogue"
COURTESY = "Information courtesy of IMDb (https://www.imdb.com). Used with permission."
STYLE, SCRIPT = "report.css.j2", "report.js.j2"
SECTIONS = {
    "catalogue": "The catalogue",
    "changed": "What changed",
    "days": "Over the days",
    "map": "Map",
    "models": "Predictors",
    "study": "Beside the study",
    "champion": "The champion",
    "surprises": "Rated otherwise than predicted",
    "learnt": "What the champion learnt",
    "coming": "Not rated yet",
    "ledger": "Predictions made before there was a rating",
    "audit": "The protocol put to the test",
    "making": "How it was made",
}
"""The sections by name, in order, with their headings."""


def write_report(
    path: Path,
    *,
    day: str,
    source: str,
    revisions: Mapping[str, Revision],
    earlier: Mapping[str, Mapping[str, Revision]] | None = None,
) -> dict[str, int]:
    """Write the report of a day, and return what it counts.

    Parameters
    ----------
    revisions
        What it reports on, by asset: movies, movie_documents, movie_neighbours, movie_map, rating_split, the
        predictors, leaderboard, champion, rating_predictions; where there are any movie_embeddings, catalogue_changes,
        model_card, map_page, prediction_ledger, study_reproduction, evaluation; and what was made on the way. The
        files of the champion must have been compared with its manifest: its trees are read.
    earlier
        What ``report_days.earlier_days`` returned, where there are days before.
    """
    import polars as pl

    movies = pl.read_parquet(revisions["movies"].file("movies.parquet"))
    found = _sections(day, movies, revisions, earlier or {})
    html = (
        _environment()
        .get_template("report.html.j2")
        .render(
            day=day,
            sample=source == "sample",
            source=SAMPLE_SHOWN if source == "sample" else source,
            courtesy=None if source == "sample" else COURTESY,
            version=__version__,
            contents=[{"id": name, "title": title} for name, title in SECTIONS.items() if found[name]],
            style_hash=_hash(STYLE),
            script_hash=_hash(SCRIPT),
            **found,
        )
    )
    path.write_text(html, encoding="utf-8")
    return found["catalogue"]["counts"]


def _sections(
    day: str,
    movies: Any,
    revisions: Mapping[str, Revision],
    earlier: Mapping[str, Mapping[str, Revision]],
) -> dict[str, Any]:
    """Return what each of ``SECTIONS`` shows, None or empty where there is nothing, and what they share."""
    import polars as pl

    from imdb_pipeline.results.report_catalogue import catalogue_section
    from imdb_pipeline.results.report_changes import changes_section
    from imdb_pipeline.results.report_days import days_section
    from imdb_pipeline.results.report_errors import errors_section
    from imdb_pipeline.results.report_learnt import learnt_section
    from imdb_pipeline.results.report_making import making_section, pages
    from imdb_pipeline.results.report_maps import map_section
    from imdb_pipeline.results.report_models import models_section, read_json
    from imdb_pipeline.results.report_notable import coming, surprises
    from imdb_pipeline.results.report_study import study_section

    min_votes = revisions["rating_split"].manifest["settings"].get("min_votes", 1)
    champion = json.loads(revisions["champion"].file(CHAMPION).read_bytes())
    predictions = pl.read_parquet(revisions["rating_predictions"].file("predictions.parquet"))
    titled = predictions.join(movies.select("tconst", "title", "release_year"), on="tconst", how="left")
    models = models_section(revisions)
    errors = errors_section(revisions)
    return {
        "min_votes": min_votes,
        "catalogue": catalogue_section(movies, revisions, min_votes=min_votes),
        "changed": changes_section(revisions.get("catalogue_changes")),
        "days": days_section({**earlier, day: revisions}, min_votes=min_votes),
        "map": map_section(revisions, movies),
        "models": models,
        "study": study_section(models["rows"], read_json(revisions.get("study_reproduction"), "study.json")),
        "champion": None if models["too_few"] else champion,
        **_judged(revisions, champion),
        "errors": errors,
        "surprises": surprises(titled, min_votes=min_votes),
        "learnt": learnt_section(revisions["champion"], movies),
        "coming": coming(titled),
        "ledger": errors["ledger"],
        "audit": models["audit"],
        "on_demand": {name: revisions[name].day for name in ("evaluation", "study_reproduction") if name in revisions},
        "making": making_section(revisions),
        "pages": pages(revisions),
    }


def _judged(revisions: Mapping[str, Revision], champion: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``judged``: the champion's own figures on test by split, and ``serving``: which row of the leaderboard it
    is; None where there is no champion, or a later training stands on the leaderboard."""
    revision, model = revisions["champion"], champion["model"]
    if model is None or METRICS not in revision.manifest["files"]:
        return {"judged": None, "serving": None}
    metrics = json.loads(revision.file(METRICS).read_bytes())
    predictor = revisions.get(f"{model}_predictor")
    same = predictor is not None and predictor.data_hash == champion["predictor"]["data_hash"]
    by_time = metrics["by_time"]
    judged = {"by_id": metrics["metrics"]["test"], "by_time": by_time["metrics"]["test"] if by_time else None}
    return {"judged": judged, "serving": model if same else None}


def _environment() -> Environment:
    """Return the environment of the templates: whatever is not printable is made visible, and all is escaped."""
    from jinja2 import Environment, PackageLoader

    def shown(value: object) -> object:
        return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value

    loader = PackageLoader("imdb_pipeline.results")
    return Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=shown)


def _hash(template: str) -> str:
    """Return what the policy of the page names its style sheet or its script by."""
    return csp_hash(_environment().get_template(template).render())
