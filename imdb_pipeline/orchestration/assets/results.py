"""Group ``results``: predictions, the report, the release."""

import hashlib
import json
import logging
from datetime import date
from typing import Any

from imdb_pipeline.champions import CHAMPION, FEW_VOTES, INTERVALS, MODEL, UNSEEN
from imdb_pipeline.dumps.transport import without_userinfo
from imdb_pipeline.errors import PipelineError
from imdb_pipeline.gates import Outcome
from imdb_pipeline.orchestration.assets.embeddings import load_vectors
from imdb_pipeline.orchestration.assets.models import ALL_PREDICTORS
from imdb_pipeline.orchestration.executors import loaded_settings
from imdb_pipeline.orchestration.presentation import expected_again, pictures
from imdb_pipeline.orchestration.publishing import published_asset, table
from imdb_pipeline.orchestration.requests import Request
from imdb_pipeline.orchestration.stages import STAGES, Made, Work
from imdb_pipeline.store import Revision

log = logging.getLogger("imdb_pipeline.steps")

TRAINED = ("rating_split", *ALL_PREDICTORS, "leaderboard", "champion")
"""Assets of the training job; a day that trained nothing reads the newest before it."""


@published_asset(
    group="results",
    kinds={"polars", "parquet"},
    inputs=("champion", "movies", "movie_documents", "movie_embeddings"),
    earlier=("champion",),
    lineage=("champion", "movie_embeddings"),
    code_version="2",
    checks={"coverage": "Test movies lie in their 90 % interval at least as often as chance allows."},
    table_file="predictions.parquet",
)
def rating_predictions(work: Work) -> Made:
    """A predicted rating with a 90 % interval for every movie with a document, rated or not yet, by the newest champion
    up to the day. `basis` says what it rests on: a model fitted without the movie (`out_of_fold`, `held_out`), or the
    serving model, for movies that it never saw (`future`)."""
    import polars as pl

    from imdb_pipeline.catalogue.documents import read_documents
    from imdb_pipeline.models.conformal import Intervals, coverage
    from imdb_pipeline.models.examples import INPUT_COLUMNS, Inputs
    from imdb_pipeline.models.fitting import load_predictor
    from imdb_pipeline.results.metric_plots import draw_calibration
    from imdb_pipeline.results.predictions import empty_predictions, predictions_table

    revision = work.inputs["champion"]
    chosen = json.loads(revision.file(CHAMPION).read_bytes())
    if chosen["model"] is None:
        empty_predictions().write_parquet(work.folder / "predictions.parquet")
        return Made(
            rows=0,
            outcomes=[Outcome("coverage", passed=True, message=f"no predictions: {chosen['reason']}", required=False)],
            metadata={"predictions": table([{"champion": "none", "why": chosen["reason"]}])},
        )
    work.store.verify(revision)
    listed, vectors = load_vectors(work)
    movies = listed.select("tconst").join(
        pl.read_parquet(work.file("movies", "movies.parquet")), on="tconst", how="left", maintain_order="left"
    )
    texts = read_documents(listed, work.store.pool("documents"))["document"]
    model = load_predictor(chosen["model"], revision.folder / MODEL, device=work.compute.device)
    unseen = pl.read_parquet(revision.file(UNSEEN))
    predictions = predictions_table(
        model.predict(Inputs(movies.select(INPUT_COLUMNS), vectors, texts)),
        movies,
        split=unseen,
        unseen=unseen,
        few_votes=pl.read_parquet(revision.file(FEW_VOTES)),
        intervals=Intervals.load(revision.folder / INTERVALS),
    )
    predictions.write_parquet(work.folder / "predictions.parquet")
    held = coverage(predictions)
    (work.folder / "coverage.json").write_text(json.dumps(held, indent=2))
    unrated = predictions.filter(pl.col("num_votes").is_null()).join(movies.select("tconst", "title"), on="tconst")
    best = unrated.sort("prediction", descending=True).head(8).select("tconst", "title", "prediction", "low", "high")
    shown = ("n", "coverage", "coverage_low", "coverage_high", "mean_width")
    calibration = draw_calibration(predictions)
    return Made(
        rows=len(predictions),
        outcomes=[_coverage_outcome(held)],
        metadata={
            "champion": chosen["id"],
            "champion of": f"{revision.day}, revision {revision.id}",
            "not yet rated": len(unrated),
            **_plotted("interval", held["overall"], {"coverage": "share inside", "mean_width": "mean width"}),
            "basis": table(predictions["basis"].value_counts(sort=True, name="movies").to_dicts()),
            "coverage": table(
                [
                    {"votes": votes, **{name: figures[name] for name in shown}}
                    for votes, figures in (
                        ("all", held["overall"]),
                        *((bucket["votes"], bucket) for bucket in held["by_votes"]),
                    )
                ]
            ),
            "highest predicted, not yet rated": table(best.to_dicts()),
            **(pictures({"calibration on test": calibration}) if calibration else {}),
        },
    )


def _plotted(what: str, figures: dict[str, Any], names: dict[str, str]) -> dict[str, float]:
    """Return figures under the names that the UI plots them by; those that are None have no point."""
    return {
        f"{what}: {name}": round(figures[figure], 4) for figure, name in names.items() if figures[figure] is not None
    }


_GRADED = {"mse": "MSE", "bias": "bias", "r2": "R²", "coverage": "share inside"}


def _ledger_before(work: Work) -> Revision | None:
    """Return the newest whole ledger: of the day, where one was published on it already, else of an earlier one."""
    days = [day for day in work.store.days("prediction_ledger") if day <= work.day]
    held = [each for day in days for each in work.store.revisions("prediction_ledger", day) if not each.expired]
    damaged = None
    for revision in reversed(held):
        try:
            work.store.verify(revision)
            return revision
        except PipelineError as error:
            damaged = error
            log.warning("prediction_ledger: %s; going on from the one before", error)
    if damaged is not None:
        raise PipelineError(f"no whole prediction ledger is left ({damaged}); restore one from a copy")
    return None


def _coverage_outcome(held: dict[str, Any]) -> Outcome:
    """Return whether the intervals hold what they promise on test; it warns, because one day in twenty it is chance."""
    overall, level = held["overall"], held["level"]
    if not overall["n"]:
        return Outcome("coverage", passed=True, message="no test movies on this day", required=False)
    return Outcome(
        "coverage",
        passed=overall["coverage_high"] >= level,
        message=f"{overall['coverage']:.1%} of {overall['n']} test movies lie in their {level:.0%} interval "
        f"[{overall['coverage_low']:.1%}, {overall['coverage_high']:.1%}]",
        required=False,
    )


@published_asset(
    group="results",
    kinds={"polars", "parquet"},
    inputs=("rating_predictions", "movies", "champion"),
    earlier=("champion",),
    previous=("prediction_ledger",),
    lineage=("rating_predictions",),
    settings=lambda request: {"min_votes": request.settings.catalogue.min_votes, "day": request.day},
    table_file="entries.parquet",
)
def prediction_ledger(work: Work) -> Made:
    """Predictions frozen while a movie had too few votes, graded once it has them: the only test set that nobody can
    have seen. Nothing that was written is ever changed; written on the newest day only."""
    import polars as pl

    from imdb_pipeline.results.ledger import read_ledger, update_ledger, write_ledger
    from imdb_pipeline.results.ledger_score import score

    before = _ledger_before(work)
    chosen = json.loads(work.file("champion", CHAMPION).read_bytes())
    ledger = update_ledger(
        None if before is None else read_ledger(before.folder),
        pl.read_parquet(work.file("rating_predictions", "predictions.parquet")),
        pl.read_parquet(work.file("movies", "movies.parquet"), columns=["tconst", "average_rating", "num_votes"]),
        day=date.fromisoformat(work.day),
        model=chosen.get("id"),
        training_mean=chosen.get("mean"),
        min_votes=work.settings.catalogue.min_votes,
        newest=work.store.days("prediction_ledger")[-1:] <= [work.day],
    )
    write_ledger(ledger, work.folder)
    told = score(ledger)
    (work.folder / "score.json").write_text(json.dumps(told, indent=2))
    shown = ("n", "mse", "mae", "bias", "r2", "coverage")
    graded = [("all", told["overall"]["last"]), *((model["model"], model["last"]) for model in told["models"])]
    return Made(
        rows=len(ledger.entries),
        metadata={
            "movies predicted": told["predicted"],
            "movies graded": told["graded"],
            **_plotted("graded", told["overall"]["last"], _GRADED),
            "graded": table(
                [{"champion": name, **{figure: figures[figure] for figure in shown}} for name, figures in graded]
            ),
        },
    )


@published_asset(
    group="results",
    kinds={"html"},
    inputs=("champion", "rating_predictions", "prediction_ledger", "movies", "rating_split"),
    earlier=TRAINED,
    lineage=("prediction_ledger",),
    settings=lambda request: {
        "min_votes": request.settings.catalogue.min_votes,
        "seed": request.compute.seed,
        "day": request.day,
    },
)
def model_card(work: Work) -> Made:
    """What the champion is, what it was made from, how it was judged, and what it is not good for, as HTML and as
    Markdown; `facts.json` beside them has the figures."""
    from imdb_pipeline.results.card_facts import FACTS_FILE, card_facts
    from imdb_pipeline.results.model_card import card_sections, write_model_card

    facts = card_facts(
        work.inputs,
        day=work.day,
        source=without_userinfo(work.settings.source),
        min_votes=work.settings.catalogue.min_votes,
        seed=work.compute.seed,
    )
    write_model_card(work.folder, facts)
    (work.folder / FACTS_FILE).write_text(json.dumps(facts, indent=2))
    sections = [{"section": section.heading, "tables": len(section.tables)} for section in card_sections(facts)]
    return Made(rows=1, metadata={"sections": table(sections)})


@published_asset(
    group="results",
    kinds={"html", "javascript"},
    inputs=("movies", "movie_neighbours", "movie_map", "rating_predictions"),
    lineage=("movie_map", "rating_predictions"),
    settings=lambda request: {"day": request.day},
    checks={"page_size": "The page is small enough to load at once: at most 25 MB."},
)
def map_page(work: Work) -> Made:
    """The map as one HTML file, opened from disk with no network: to move around in, search, filter and colour, each
    movie with its prediction and its nearest; where WebGL is missing, a picture of it."""
    import polars as pl

    from imdb_pipeline.results.map_page import FILE, MAX_BYTES, write_map_page

    counts = write_map_page(
        work.folder / FILE,
        day=work.day,
        source=without_userinfo(work.settings.source),
        points=pl.read_parquet(work.file("movie_map", "map.parquet")),
        movies=pl.scan_parquet(work.file("movies", "movies.parquet")),
        neighbours=pl.read_parquet(work.file("movie_neighbours", "neighbours.parquet")),
        predictions=pl.read_parquet(work.file("rating_predictions", "predictions.parquet")),
    )
    size = Outcome(
        "page_size",
        passed=counts["bytes"] <= MAX_BYTES,
        message=f"{counts['bytes'] / 1e6:.1f} MB for {counts['movies']:,} movies; {MAX_BYTES / 1e6:.0f} MB at most",
        required=False,
    )
    return Made(
        rows=counts["movies"],
        outcomes=[size],
        metadata={"page bytes": counts["bytes"], "counts": table([counts])},
    )


def _earlier_hash(request: Request) -> str:
    """Return what identifies the days before that the report shows: it is written anew when one of them is."""
    from imdb_pipeline.results.report_days import earlier_days

    hashes = {
        day: {asset: revision.data_hash for asset, revision in revisions.items()}
        for day, revisions in earlier_days(request.store, request.day).items()
    }
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


@published_asset(
    group="results",
    kinds={"html"},
    inputs=(
        "movies",
        "movie_documents",
        "catalogue_changes",
        "movie_embeddings",
        "movie_neighbours",
        "movie_map",
        *TRAINED,
        "rating_predictions",
        "prediction_ledger",
        "model_card",
        "map_page",
    ),
    earlier=TRAINED,
    optional=("evaluation", "study_reproduction"),
    lineage=("catalogue_changes", "leaderboard", "model_card", "map_page"),
    code_version="6",
    settings=lambda request: {"day": request.day, "earlier": _earlier_hash(request)},
)
def report(work: Work) -> Made:
    """One HTML file, opened from disk with no network: the catalogue, the map, the leaderboard, the predictions, the
    days held, and how all of it was made."""
    from imdb_pipeline.results.report import write_report
    from imdb_pipeline.results.report_days import earlier_days

    work.store.verify(work.inputs["champion"])
    path = work.folder / "report.html"
    counts = write_report(
        path,
        day=work.day,
        source=without_userinfo(work.settings.source),
        revisions=work.inputs,
        earlier=earlier_days(work.store, work.day),
    )
    return Made(rows=1, metadata={"counts": table([counts])})


@published_asset(
    group="results",
    kinds={"json"},
    inputs=tuple(STAGES),
    earlier=TRAINED,
    lineage=("report",),
    settings=lambda request: {"day": request.day},
    freshness=expected_again(loaded_settings()),
)
def release(work: Work) -> Made:
    """Moves `CURRENT` to one consistent revision of every asset: what the command line, the API and the pages read.
    Never back to an earlier day."""
    current = work.store.release(work.day, work.inputs, trained=TRAINED)
    (work.folder / "release.json").write_text(
        json.dumps({name: revision.reference() for name, revision in work.inputs.items()}, indent=2)
    )
    rows = [{"asset": name, "day": revision.day, "revision": revision.id} for name, revision in work.inputs.items()]
    return Made(rows=len(rows), metadata={"CURRENT": current["day"], "assets": table(rows)})
