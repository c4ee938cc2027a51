"""Group ``models``: the predictor that serves."""

import json
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
    """The predictor that serves: the best on validation of those that beat the mean there, unless the champion of the
    day before is better by the paired interval; fitted again on all rated movies."""
    import polars as pl

    from imdb_pipeline.models.champion import challenge
    from imdb_pipeline.models.leaderboard import choose_champion

    board = json.loads(work.file("leaderboard", "leaderboard.json").read_bytes())
    chosen = choose_champion(board["rows"])
    before = _champion_before(work)
    current = work.store.current()
    if before is not None and current is not None and current["day"] > work.day:
        return _keep(work, before, None)
    if chosen is None:
        reason = board["too_few"] or "no predictor beats the mean on validation"
        if before is not None and before.manifest["code_version"] == VERSION:
            return _keep(work, before, {"replaces": False, "why": f"{reason}: the champion stays"})
        (work.folder / CHAMPION).write_text(json.dumps({"model": None, "reason": reason}, indent=2))
        return Made(rows=0, metadata={"champion": table([{"model": "none", "why": reason}])})
    revision = work.inputs[f"{chosen}_predictor"]
    held_out = pl.read_parquet(revision.file(PREDICTIONS["split"]))
    if before is None:
        compared = challenge(None, held_out, seed=work.compute.seed)
    elif before.manifest["code_version"] != VERSION:
        compared = {"replaces": True, "why": f"the champion of {before.day} was made by another version of the code"}
    else:
        compared = challenge(pl.read_parquet(before.file(PREDICTIONS["split"])), held_out, seed=work.compute.seed)
        if not compared["replaces"]:
            return _keep(work, before, compared | {"challenger": chosen})
    return _replace(work, revision, chosen, held_out, compared)


def _champion_before(work: Work) -> Revision | None:
    """Return the newest champion of the days before: days without one do not end its service."""
    start = work.previous("champion")
    for day in reversed(work.store.days("champion")):
        revision = work.store.latest("champion", day)
        if start is not None and day <= start.day and revision and revision.manifest["rows"] and not revision.expired:
            return revision
    return None


def _replace(work: Work, revision: Revision, chosen: str, held_out: Any, compared: dict[str, Any]) -> Made:
    """Publish a new champion."""
    from imdb_pipeline.models.champion import build_serving
    from imdb_pipeline.models.fitting import load_predictor

    work.store.verify(revision)
    settings = json.loads(revision.file(METRICS).read_bytes())["settings"]
    parts = load_parts(work, documents=_reads_documents(chosen, settings))("split")
    serving = build_serving(
        chosen,
        load_predictor(chosen, revision.folder / MODEL, device=work.compute.device),
        parts,
        held_out,
        folds=work.settings.training.folds,
        seed=work.compute.seed,
        device=work.compute.device,
        finished=work.finished(),
    )
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
            **({"movies learnt from": content["rated"]} if "rated" in content else {}),
            **{name: round(figure, 4) for name, figure in figures.items() if figure is not None},
        },
    )


def _reads_documents(name: str, settings: dict[str, Any]) -> bool:
    return any(PREDICTORS[each].reads_documents for each in (name, *settings.get("weights", {})))
