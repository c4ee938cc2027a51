"""Group ``models``: the split, one asset per predictor, their comparison, the champion."""

import json
import logging
import shutil
from typing import TYPE_CHECKING

import dagster as dg

from imdb_pipeline.gates import Outcome
from imdb_pipeline.models.fitting import PREDICTORS
from imdb_pipeline.orchestration.assets.embeddings import load_vectors
from imdb_pipeline.orchestration.publishing import Made, Work, published_asset, table

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger("imdb_pipeline.steps")

_IS = {
    "mean": ("The mean rating of the training movies: what every other predictor has to beat.", {"numpy"}),
    "linear": ("Ridge regression on the embeddings.", {"scikitlearn"}),
    "knn": ("The mean rating of the nearest training movies by cosine.", {"pytorch"}),
    "svr": (
        "Support vector regression with an RBF kernel on the embeddings: exact up to 10,000 training rows on a CPU, a "
        "Nystroem approximation above.",
        {"scikitlearn"},
    ),
    "mlp": ("The study's multilayer perceptron on the embeddings, stopped early on validation.", {"pytorch"}),
    "boosting": ("Boosted trees on the structure of a movie and the form of its title; no embeddings.", {"lightgbm"}),
}


_ON_A_GPU = ("knn", "svr", "mlp")
_FIGURES = ("mse", "mae", "r2", "r2_low", "r2_high")


@published_asset(
    group="models",
    kinds={"polars", "parquet"},
    inputs=("movies",),
    settings=lambda request: {"min_votes": request.settings.catalogue.min_votes, "day_year": request.day_year},
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
    return Made(rows=len(split), metadata={"movies": table(sizes)})


def _predictor_asset(name: str) -> dg.AssetsDefinition:
    description, kinds = _IS[name]

    @published_asset(
        name=f"{name}_predictor",
        description=description,
        group="models",
        kinds=kinds,
        inputs=("rating_split", "movies", "movie_embeddings"),
        code_version="2",
        settings=lambda request: {"seed": request.compute.seed},
        checks={}
        if name == "mean"
        else {"beats_the_mean": "Better than the mean on validation, by the paired interval."},
        gpu=name in _ON_A_GPU,
    )
    def predictor(work: Work) -> Made:
        return _fit(work, name)

    return predictor


def _fit(work: Work, name: str) -> Made:
    import polars as pl

    from imdb_pipeline.models.examples import build_parts
    from imdb_pipeline.models.fitting import can_judge, fit_predictor
    from imdb_pipeline.models.split import too_few

    split = pl.read_parquet(work.file("rating_split", "split.parquet"))
    reason = too_few(split, min_votes=work.settings.catalogue.min_votes)
    if reason:
        (work.folder / "metrics.json").write_text(json.dumps({"model": name, "too_few": reason}, indent=2))
        outcome = Outcome("beats_the_mean", passed=False, message=reason, required=False)
        return Made(
            rows=0,
            outcomes=[] if name == "mean" else [outcome],
            metadata={"errors": table([{"part": "none", "why": reason}])},
        )
    movies = pl.read_parquet(work.file("movies", "movies.parquet"))
    listed, vectors = load_vectors(work)
    texts = _documents(work, listed) if PREDICTORS[name].reads_documents else None
    parts = {by: build_parts(split, movies, listed, vectors, texts, by=by) for by in ("split", "split_by_time")}
    options = {"seed": work.compute.seed, "device": work.compute.device}
    fitted = fit_predictor(name, parts["split"], **options)
    fitted.model.save(work.folder)
    fitted.predictions.write_parquet(work.folder / "predictions.parquet")
    summary = fitted.summary() | {"by_time": None}
    if can_judge(parts["split_by_time"]):
        log.info("%s: again, by time", name)
        timed = fit_predictor(name, parts["split_by_time"], **options)
        timed.predictions.write_parquet(work.folder / "predictions_by_time.parquet")
        summary["by_time"] = timed.summary()
    (work.folder / "metrics.json").write_text(json.dumps(summary, indent=2))
    validation, test = fitted.metrics["validation"], fitted.metrics["test"]
    outcome = Outcome(
        "beats_the_mean",
        passed=bool(validation["beats_mean"]),
        message=f"{name}: mean squared error on validation {validation['mse']:.3f}, "
        f"{validation['mse_gain']:.3f} [{validation['mse_gain_low']:.3f}, {validation['mse_gain_high']:.3f}] "
        "below the training mean's",
        required=False,
    )
    return Made(
        rows=fitted.n_train,
        outcomes=[] if name == "mean" else [outcome],
        metadata={
            "errors": table(
                [
                    {"part": part, **{figure: metrics[figure] for figure in _FIGURES}}
                    for part, metrics in fitted.metrics.items()
                ]
            ),
            "validation mse": validation["mse"],
            "test mse": test["mse"],
            **({"test r2": test["r2"]} if test["r2"] is not None else {}),
            "fit seconds": fitted.fit_seconds,
            "settings": fitted.model.settings,
        },
        info={"fit_seconds": fitted.fit_seconds},
    )


def _documents(work: Work, listed: "pl.DataFrame") -> "pl.Series":
    """Return the documents of the day, in the order of its vectors."""
    from imdb_pipeline.catalogue.documents import read_documents

    return read_documents(listed, work.store.pool("documents"))["document"]


PREDICTOR_ASSETS = {name: _predictor_asset(name) for name in PREDICTORS}
_PREDICTOR_NAMES = tuple(f"{name}_predictor" for name in PREDICTORS)


@published_asset(group="models", kinds={"json"}, inputs=_PREDICTOR_NAMES)
def leaderboard(work: Work) -> Made:
    """The predictors side by side: error on validation, which chooses, and on test, which only reports."""
    from imdb_pipeline.models.leaderboard import leaderboard_rows

    results = [json.loads(work.file(name, "metrics.json").read_bytes()) for name in _PREDICTOR_NAMES]
    too_few = [result["too_few"] for result in results if "too_few" in result]
    encoder = work.settings.encoder
    rows = [] if too_few else [{**row, "encoder": encoder} for row in leaderboard_rows(results)]
    content = {"rows": rows, "too_few": too_few[0] if too_few else None}
    (work.folder / "leaderboard.json").write_text(json.dumps(content, indent=2))
    shown = ("model", "validation_mse", "test_mse", "r2", "r2_low", "r2_high", "beats_mean")
    listed = [{name: row[name] for name in shown} for row in rows] or [{"model": "none", "why": too_few[0]}]
    return Made(rows=len(rows), metadata={"leaderboard": table(listed)})


@published_asset(group="models", kinds={"json"}, inputs=("leaderboard", *_PREDICTOR_NAMES))
def champion(work: Work) -> Made:
    """The predictor that serves: the best on validation of those that beat the mean there, with its fitted model."""
    from imdb_pipeline.models.leaderboard import choose_champion

    board = json.loads(work.file("leaderboard", "leaderboard.json").read_bytes())
    chosen = choose_champion(board["rows"])
    reason = board["too_few"] or "no predictor beats the mean on validation"
    content = {"model": chosen, "reason": None if chosen else reason}
    (work.folder / "champion.json").write_text(json.dumps(content, indent=2))
    if chosen is None:
        return Made(rows=0, metadata={"champion": table([{"model": "none", "why": reason}])})
    revision = work.inputs[f"{chosen}_predictor"]
    for name in revision.manifest["files"]:
        shutil.copyfile(revision.file(name), work.folder / name)
    row = next(row for row in board["rows"] if row["model"] == chosen)
    return Made(
        rows=1,
        metadata={
            "champion": table([{"model": chosen, "method": row["method"], "revision": revision.id}]),
            "validation mse": row["validation_mse"],
            "test mse": row["test_mse"],
        },
    )
