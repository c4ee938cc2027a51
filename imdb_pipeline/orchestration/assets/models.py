"""Group ``models``: the split, one asset per predictor, their blend, their comparison."""

import inspect
import json
import logging
import time
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import dagster as dg

from imdb_pipeline.champions import METRICS, MODEL
from imdb_pipeline.durable import link_or_copy
from imdb_pipeline.gates import Outcome
from imdb_pipeline.models.fitting import MEMBERS, PREDICTORS
from imdb_pipeline.models.predictor import code_version
from imdb_pipeline.orchestration.assets.embeddings import load_vectors
from imdb_pipeline.orchestration.presentation import pictures
from imdb_pipeline.orchestration.publishing import published_asset, table
from imdb_pipeline.orchestration.requests import Request
from imdb_pipeline.orchestration.stages import Made, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import polars as pl

    from imdb_pipeline.models.examples import Parts
    from imdb_pipeline.store import Revision

log = logging.getLogger("imdb_pipeline.steps")

PREDICTIONS = {"split": "predictions.parquet", "split_by_time": "predictions_by_time.parquet"}
"""By column of the split: the held-out predictions."""

_IS = {
    "mean": ("The mean rating of the training movies: what every other predictor has to beat.", {"numpy"}),
    "linear": ("Linear regression on the embeddings, without a penalty.", {"numpy"}),
    "ridge": ("Linear regression on the embeddings, with a penalty chosen on validation.", {"numpy"}),
    "knn": ("The mean rating of the nearest training movies by cosine.", {"pytorch"}),
    "svr": (
        "Support vector regression with an RBF kernel on the embeddings: exact up to 10,000 training rows on a CPU, a "
        "Nystroem approximation above.",
        {"scikitlearn"},
    ),
    "mlp": ("The study's multilayer perceptron on the embeddings, stopped early on validation.", {"pytorch"}),
    "transformer": (
        "The study's transformer, trained from scratch on the documents with its own vocabulary; smaller on a CPU.",
        {"pytorch", "huggingface"},
    ),
    "finetuned": (
        "The home's pretrained encoder, fine-tuned end to end on the documents; on a GPU alone.",
        {"pytorch", "huggingface"},
    ),
    "boosting": (
        "Boosted trees on the structure of a movie, the form of its title, and what other movies say of its people.",
        {"lightgbm"},
    ),
}


_VERSIONS = {"boosting": "3"}
"""Of the code of predictors that come with the package, where it is not the second."""

_OTHERWISE_ON_A_GPU = ("svr", "transformer", "finetuned")
"""Predictors that are something else there: fitted at all, exactly, or larger."""
_FIGURES = ("mse", "mae", "r2", "r2_low", "r2_high")
_BEATS = "beats_the_mean"
_CHECKS = {_BEATS: "Better than the mean on validation, by the paired interval."}


@published_asset(
    group="models",
    kinds={"polars", "parquet"},
    inputs=("movies",),
    settings=lambda request: {"min_votes": request.settings.catalogue.min_votes, "day_year": request.day_year},
    table_file="split.parquet",
)
def rating_split(work: Work) -> Made:
    """Which rated movies train, validate and test: by a hash of the id, so that no movie changes side, and by time."""
    import polars as pl

    from imdb_pipeline.models.split import build_split

    movies = pl.read_parquet(work.file("movies", "movies.parquet"))
    split = build_split(movies, min_votes=work.settings.catalogue.min_votes, day_year=work.day_year)
    split.write_parquet(work.folder / "split.parquet")
    sizes = [
        {"part": part, "by id": len(split.filter(split=part)), "by time": len(split.filter(split_by_time=part))}
        for part in ("train", "validation", "test")
    ]
    plotted = {f"{size['part']} movies": size["by id"] for size in sizes}
    return Made(rows=len(split), metadata={"movies": table(sizes), **plotted})


def _predictor_asset(name: str) -> dg.AssetsDefinition:
    predictor = PREDICTORS[name]
    description, kinds = _IS[name] if name in _IS else (inspect.getdoc(import_module(predictor.module)), {"python"})
    documents = ("movie_documents",) if predictor.reads_documents else ()
    return published_asset(
        name=f"{name}_predictor",
        description=description,
        group="models",
        kinds=kinds,
        inputs=("rating_split", "movies", *documents, "movie_embeddings"),
        code_version=_VERSIONS.get(name, "2") if name in _IS else code_version(predictor),
        settings=lambda request: {"seed": request.compute.seed, **_device(name, request)},
        checks={} if name == "mean" else _CHECKS,
        gpu=predictor.uses_gpu,
    )(partial(_fit, name))


def _device(name: str, request: Request) -> dict[str, str]:
    otherwise = name in _OTHERWISE_ON_A_GPU or (name not in _IS and PREDICTORS[name].uses_gpu)
    return {"device": request.compute.device.split(":")[0]} if otherwise else {}


def _fit(name: str, work: Work) -> Made:
    import polars as pl

    from imdb_pipeline.embeddings.model_files import EncoderChoice
    from imdb_pipeline.models.fitting import can_judge, fit_predictor
    from imdb_pipeline.models.split import too_few

    split = pl.read_parquet(work.file("rating_split", "split.parquet"))
    reason = too_few(split, min_votes=work.settings.catalogue.min_votes)
    if reason:
        return _not_fitted(work, name, {"too_few": reason})
    if PREDICTORS[name].needs_gpu and work.compute.device == "cpu":
        return _not_fitted(work, name, {"not_fitted": "on a CPU it would take days: not fitted"})
    parts_by = load_parts(work, documents=PREDICTORS[name].reads_documents)
    encoder = EncoderChoice(work.settings.encoder, work.settings.encoder_revision)
    options: dict[str, Any] = {"seed": work.compute.seed, "device": work.compute.device, "encoder": encoder}
    finished = work.finished()
    fitted = fit_predictor(name, parts_by("split"), **options, finished=finished.of("split"))
    fitted.model.save(work.folder / MODEL)
    fitted.predictions.write_parquet(work.folder / PREDICTIONS["split"])
    summary = fitted.summary() | {"by_time": None}
    parts = parts_by("split_by_time")
    if can_judge(parts):
        log.info("%s: again, by time", name)
        timed = fit_predictor(name, parts, **options, finished=finished.of("split_by_time"))
        timed.predictions.write_parquet(work.folder / PREDICTIONS["split_by_time"])
        summary["by_time"] = timed.summary()
    return _fitted(work, summary, seconds=fitted.fit_seconds)


def load_parts(work: Work, *, documents: bool) -> "Callable[[str], Parts]":
    """Return what gives the examples by id (``split``) or by time (``split_by_time``), with their documents or not."""
    import polars as pl

    from imdb_pipeline.catalogue.documents import read_documents
    from imdb_pipeline.models.examples import build_parts

    split = pl.read_parquet(work.file("rating_split", "split.parquet"))
    movies = pl.read_parquet(work.file("movies", "movies.parquet"))
    listed, vectors = load_vectors(work)
    texts = read_documents(listed, work.store.pool("documents"))["document"] if documents else None
    return lambda by: build_parts(split, movies, listed, vectors, texts, by=by)


def _not_fitted(work: Work, name: str, why: dict[str, str]) -> Made:
    """Publish that there is no model, and why."""
    (reason,) = why.values()
    (work.folder / METRICS).write_text(json.dumps({"model": name, **why}, indent=2))
    outcome = Outcome(_BEATS, passed="not_fitted" in why, message=reason, required=False)
    return Made(
        rows=0,
        outcomes=[] if name == "mean" else [outcome],
        metadata={"errors": table([{"part": "none", "why": reason}])},
    )


def _fitted(work: Work, summary: dict[str, Any], *, seconds: float) -> Made:
    """Publish what ``FitResult.summary`` says, with the same by time."""
    name = summary["model"]
    (work.folder / METRICS).write_text(json.dumps(summary, indent=2))
    splits = {"by id": summary["metrics"], "by time": (summary["by_time"] or {}).get("metrics", {})}
    validation, test = summary["metrics"]["validation"], summary["metrics"]["test"]
    outcome = Outcome(
        _BEATS,
        passed=bool(validation["beats_mean"]),
        message=f"{name}: mean squared error on validation {validation['mse']:.3f}, "
        f"{validation['mse_gain']:.3f} [{validation['mse_gain_low']:.3f}, {validation['mse_gain_high']:.3f}] "
        "below the training mean's",
        required=False,
    )
    return Made(
        rows=summary["n_train"],
        outcomes=[] if name == "mean" else [outcome],
        metadata={
            "errors": table(
                [
                    {"split": split, "part": part, **{figure: metrics[figure] for figure in _FIGURES}}
                    for split, parts in splits.items()
                    for part, metrics in parts.items()
                ]
            ),
            "validation MSE": round(validation["mse"], 4),
            "test MSE": round(test["mse"], 4),
            **({"test R²": round(test["r2"], 4)} if test["r2"] is not None else {}),
            "fit seconds": round(seconds, 3),
            "settings": summary["settings"],
        },
        info={"fit_seconds": seconds},
    )


PREDICTOR_ASSETS = {name: _predictor_asset(name) for name in MEMBERS}
MEMBER_ASSETS = tuple(f"{name}_predictor" for name in MEMBERS)
ALL_PREDICTORS = (*MEMBER_ASSETS, "blend_predictor")
OWN_VERSIONS = {f"own {name}": code_version(PREDICTORS[name]) for name in MEMBERS if name not in _IS}


@published_asset(
    group="models",
    kinds={"scipy"},
    inputs=MEMBER_ASSETS,
    settings=lambda request: {"seed": request.compute.seed},
    checks=_CHECKS,
)
def blend_predictor(work: Work) -> Made:
    """A weighted sum of the other predictors: weights of at least 0, fitted on validation."""
    from imdb_pipeline.models.blend import fit_weights
    from imdb_pipeline.models.fitting import judge_predictions
    from imdb_pipeline.models.saved import write_settings

    results = {name: json.loads(work.file(f"{name}_predictor", METRICS).read_bytes()) for name in MEMBERS}
    if "too_few" in results["mean"]:
        return _not_fitted(work, "blend", {"too_few": results["mean"]["too_few"]})
    fitted = [name for name in MEMBERS if "metrics" in results[name]]
    started = time.perf_counter()
    judged = {}
    for by, file in PREDICTIONS.items():
        frames = _predictions(work, fitted, by)
        if "mean" not in frames:
            continue
        of_mean = results["mean"] if by == "split" else results["mean"]["by_time"]
        blended = fit_weights(frames, seed=work.compute.seed)
        blended.predictions.write_parquet(work.folder / file)
        judged[by] = {
            "model": "blend",
            "settings": blended.settings,
            "n_train": of_mean["n_train"],
            "metrics": judge_predictions(blended.predictions, blended.weights.offset, seed=work.compute.seed),
        }
        if by == "split":
            write_settings(work.folder / MODEL, blended.settings, blended.curve)
            for name in blended.weights.weights:
                work.store.verify(work.inputs[f"{name}_predictor"])
                copy_model(work.inputs[f"{name}_predictor"], work.folder / MODEL / name)
    summary = judged["split"] | {"by_time": judged.get("split_by_time")}
    members = (work.inputs[f"{name}_predictor"] for name in summary["settings"]["weights"])
    of_members = sum(member.manifest["info"]["fit_seconds"] for member in members)
    return _fitted(work, summary, seconds=of_members + time.perf_counter() - started)


def copy_model(revision: "Revision", folder: "Path") -> None:
    """Give ``folder`` the files of a predictor's fitted model."""
    for name in revision.manifest["files"]:
        if name.startswith(f"{MODEL}/"):
            path = folder / name.removeprefix(f"{MODEL}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(revision.file(name), path)


@published_asset(
    group="models",
    kinds={"json"},
    inputs=ALL_PREDICTORS,
    code_version="2",
    settings=lambda request: {"seed": request.compute.seed},
)
def leaderboard(work: Work) -> Made:
    """The predictors side by side: error on validation, which chooses, and on test, which only reports."""
    from imdb_pipeline.models.leaderboard import leaderboard_rows

    results = {name: json.loads(work.file(f"{name}_predictor", METRICS).read_bytes()) for name in PREDICTORS}
    too_few = results["mean"].get("too_few")
    judged = {name: result for name, result in results.items() if "metrics" in result}
    rows = []
    if not too_few:
        by_id, by_time = (_predictions(work, judged, by) for by in PREDICTIONS)
        rows = leaderboard_rows([*judged.values()], by_id, by_time, seed=work.compute.seed)
        rows = [{**row, "encoder": work.settings.encoder} for row in rows]
    content = {"rows": rows, "too_few": too_few}
    (work.folder / "leaderboard.json").write_text(json.dumps(content, indent=2))
    shown = ("model", "validation_mse", "test_mse", "r2", "r2_low", "r2_high", "time_r2", "beats_mean")
    listed = [{name: row[name] for name in shown} for row in rows] or [{"model": "none", "why": too_few}]
    return Made(rows=len(rows), metadata={"leaderboard": table(listed), **(_best(rows) if rows else {})})


def _best(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return for the UI what the best on validation comes to, and a picture of all."""
    from imdb_pipeline.results.metric_plots import draw_leaderboard

    best = rows[0]
    return {
        "best on validation": best["model"],
        "validation MSE of the best": round(best["validation_mse"], 4),
        **({"test R² of the best": round(best["r2"], 4)} if best["r2"] is not None else {}),
        "predictors that beat the mean": sum(bool(row["beats_mean"]) for row in rows),
        **pictures({"R² on test": draw_leaderboard(rows)}),
    }


def _predictions(work: Work, models: "Iterable[str]", by: str) -> "dict[str, pl.DataFrame]":
    """Return the held-out predictions of a split by model, of those that have them."""
    import polars as pl

    held = {name: work.inputs[f"{name}_predictor"] for name in models}
    file = PREDICTIONS[by]
    return {
        name: pl.read_parquet(revision.file(file))
        for name, revision in held.items()
        if file in revision.manifest["files"]
    }
