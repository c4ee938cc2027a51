"""Group ``models``: the predictor that serves."""

import json
import logging
from typing import Any

from imdb_pipeline.champions import CHAMPION, FEW_VOTES, INTERVALS, METRICS, MODEL, UNSEEN, VERSION
from imdb_pipeline.durable import link_or_copy
from imdb_pipeline.models.fitting import PREDICTORS
from imdb_pipeline.orchestration.assets.models import ALL_PREDICTORS, OWN_VERSIONS, PREDICTIONS, load_parts
from imdb_pipeline.orchestration.executors import loaded_settings
from imdb_pipeline.orchestration.presentation import expected_again
from imdb_pipeline.orchestration.publishing import published_asset, table
from imdb_pipeline.orchestration.stages import Made, Work
from imdb_pipeline.store import Revision

log = logging.getLogger("imdb_pipeline.steps")


@published_asset(
    group="models",
    kinds={"json"},
    inputs=("leaderboard", *ALL_PREDICTORS, "rating_split", "movies", "movie_documents", "movie_embeddings"),
    lineage=("leaderboard",),
    warm_start=True,
    code_version=VERSION,
    settings=lambda request: {
        "seed": request.compute.seed,
        "folds": request.settings.training.folds,
        **OWN_VERSIONS,  # it refits what they fit
    },
    gpu=True,
    freshness=expected_again(loaded_settings(), trained=True),
)
def champion(work: Work) -> Made:
    """The predictor that serves: the best on validation that is better than the mean on all movies that it had not
    seen, unless the champion of the day before is better by the paired interval; fitted again on all rated movies."""
    import polars as pl

    from imdb_pipeline.models.champion import challenge
    from imdb_pipeline.models.leaderboard import candidates

    board = json.loads(work.file("leaderboard", "leaderboard.json").read_bytes())
    before = _champion_before(work)
    current = work.store.current()
    if before is not None and current is not None and current["day"] > work.day:
        return _keep(work, before, None)
    for chosen in [] if board["too_few"] else candidates(board["rows"]):
        held_out = pl.read_parquet(work.file(f"{chosen}_predictor", PREDICTIONS["split"]))
        if before is None:
            compared = challenge(None, held_out, seed=work.compute.seed)
        elif before.manifest["code_version"] != VERSION:
            why = f"the champion of {before.day} was made by another version of the code"
            compared = {"replaces": True, "why": why}
        else:
            compared = challenge(pl.read_parquet(before.file(PREDICTIONS["split"])), held_out, seed=work.compute.seed)
            if not compared["replaces"]:
                return _keep(work, before, compared | {"challenger": chosen})
        made = _replace(work, chosen, held_out, compared)
        if made is not None:
            return made
    reason = board["too_few"] or "no predictor is better than the mean on movies that it had not seen"
    if before is not None and before.manifest["code_version"] == VERSION:
        return _keep(work, before, {"replaces": False, "why": f"{reason}: the champion stays"})
    (work.folder / CHAMPION).write_text(json.dumps({"model": None, "reason": reason}, indent=2))
    return Made(rows=0, metadata={"champion": table([{"model": "none", "why": reason}])})


def _champion_before(work: Work) -> Revision | None:
    """Return the newest champion of the days before: days without one do not end its service."""
    start = work.previous("champion")
    for day in reversed(work.store.days("champion")):
        revision = work.store.latest("champion", day)
        if start is not None and day <= start.day and revision and revision.manifest["rows"] and not revision.expired:
            return revision
    return None


def _replace(work: Work, chosen: str, held_out: Any, compared: dict[str, Any]) -> Made | None:
    """Publish a new champion; None where it is no better than the mean out of fold."""
    from imdb_pipeline.models.champion import build_serving, predict_out_of_fold, prove
    from imdb_pipeline.models.fitting import load_predictor

    revision = work.inputs[f"{chosen}_predictor"]
    work.store.verify(revision)
    settings = json.loads(revision.file(METRICS).read_bytes())["settings"]
    parts = load_parts(work, documents=_reads_documents(chosen, settings))("split")
    model = load_predictor(chosen, revision.folder / MODEL, device=work.compute.device)
    options: dict[str, Any] = {"seed": work.compute.seed, "device": work.compute.device}
    options["finished"] = work.finished().of(chosen)
    out_of_fold = predict_out_of_fold(chosen, model, parts.train, folds=work.settings.training.folds, **options)
    proof = prove(out_of_fold, held_out, seed=work.compute.seed)
    log.info("%s: %s", chosen, proof["why"])
    if not proof["passes"]:
        return None
    serving = build_serving(chosen, model, parts, held_out, out_of_fold, **options)
    serving.model.save(work.folder / MODEL)
    serving.intervals.save(work.folder / INTERVALS)
    serving.unseen.write_parquet(work.folder / UNSEEN)
    serving.few_votes.write_parquet(work.folder / FEW_VOTES)
    for name in (METRICS, *PREDICTIONS.values()):
        if name in revision.manifest["files"]:
            link_or_copy(revision.file(name), work.folder / name)
    content = {
        "model": chosen,
        "reason": None,
        "id": f"{chosen}-{work.day}-{revision.data_hash[:8]}",
        "trained": work.day,
        "predictor": {"asset": revision.asset, "data_hash": revision.data_hash},
        "challenge": compared,
        "proof": proof,
        "folds": work.settings.training.folds,
        "rated": serving.rated,
        "mean": serving.mean,
    }
    (work.folder / CHAMPION).write_text(json.dumps(content, indent=2))
    return _made(work, content)


def _keep(work: Work, before: Revision, compared: dict[str, Any] | None) -> Made:
    """Publish the champion of the day before again, with what the challenge said; on a backfill just as it was."""
    work.store.verify(before)
    for name in before.manifest["files"]:
        if name != CHAMPION:
            path = work.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(before.file(name), path)
    held = json.loads(before.file(CHAMPION).read_bytes())
    content = held if compared is None else held | {"challenge": compared}
    (work.folder / CHAMPION).write_text(json.dumps(content, indent=2))
    return _made(work, content)


def _made(work: Work, content: dict[str, Any]) -> Made:
    metrics = json.loads((work.folder / METRICS).read_bytes())
    told = {"champion": content["id"], "method": metrics["settings"].get("method"), "trained": content["trained"]}
    figures = {
        f"{part} {name}": metrics["metrics"][part][figure]
        for part, figure, name in (("validation", "mse", "MSE"), ("test", "mse", "MSE"), ("test", "r2", "R²"))
    }
    return Made(
        rows=1,
        metadata={
            "champion": table([told]),
            "challenge": table([{"why": content["challenge"]["why"]}]),
            **({"proof": table([{"why": content["proof"]["why"]}])} if "proof" in content else {}),
            **({"movies learnt from": content["rated"]} if "rated" in content else {}),
            **{name: round(figure, 4) for name, figure in figures.items() if figure is not None},
        },
    )


def _reads_documents(name: str, settings: dict[str, Any]) -> bool:
    return any(PREDICTORS[each].reads_documents for each in (name, *settings.get("weights", {})))
