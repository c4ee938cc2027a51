"""A home whose champion is a blend with trees: what ``predict`` and ``explain`` are tried on."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from imdb_pipeline import api
from imdb_pipeline.models.examples import INPUT_COLUMNS, Inputs
from imdb_pipeline.models.search import Axis
from imdb_pipeline.store import Store
from imdb_pipeline_tests.conftest import DAY, copy_home


def release(store: Store, **files) -> None:
    """Publish assets as ``files`` writes them into a folder, and release them with what was not made from others."""
    for asset, write in files.items():
        with store.stage(asset) as folder:
            write(folder)
            store.publish(
                folder, asset=asset, day=DAY, key="", code_version="", inputs={}, settings={}, rows=1, info={}
            )
    released = store.current()
    assert released is not None
    held = {asset: store.get(asset, DAY) for asset in released["assets"]}
    stale = {"champion", "rating_predictions"}
    store.release(DAY, {asset: each for asset, each in held.items() if stale.isdisjoint(each.manifest["inputs"])})


def make_answering_home(held_home: Path, home: Path) -> Path:
    """Copy the small home and let a blend with trees serve in it: what wins on so few movies is chance."""
    from imdb_pipeline.embeddings.cache import load_embeddings
    from imdb_pipeline.models import boosting, ridge
    from imdb_pipeline.models.blend import BlendModel
    from imdb_pipeline.models.champion import build_serving, predict_out_of_fold
    from imdb_pipeline.models.examples import build_parts
    from imdb_pipeline.models.fitting import judge
    from imdb_pipeline.results.predictions import predictions_table

    copy_home(held_home, home)
    store = Store(home / "store")
    movies = api.load_movies(home)
    listed, vectors = load_embeddings(store.released("movie_embeddings"), store)
    split = pl.read_parquet(store.released("rating_split").file("split.parquet"))
    parts = build_parts(split, movies, listed, vectors)
    both = {"seed": 0, "device": "cpu"}
    trees = boosting.fit(parts.train, parts.validation, **both, leaves=Axis.fixed(4), max_trees=25, seeds=2)
    members = {"ridge": ridge.fit(parts.train, parts.validation, **both), "boosting": trees}
    mean = float(parts.train.ratings.mean())
    model = BlendModel(members, {"method": "blend", "weights": {"ridge": 0.4, "boosting": 0.5}, "offset": mean}, [])
    held_out = judge("blend", model, parts, fit_seconds=0.0, seed=0).predictions
    out_of_fold = predict_out_of_fold("blend", model, parts.train, folds=2, **both)
    serving = build_serving("blend", model, parts, held_out, out_of_fold, **both)
    known = listed.select("tconst").join(movies, on="tconst", how="left", maintain_order="left")
    predictions = predictions_table(
        serving.model.predict(Inputs(known.select(INPUT_COLUMNS), vectors)),
        known,
        split=serving.unseen,
        unseen=serving.unseen,
        few_votes=serving.few_votes,
        intervals=serving.intervals,
    )

    def champion(folder):
        (folder / "champion.json").write_text(json.dumps({"model": "blend", "id": "blend-7", "reason": None}))
        serving.model.save(folder / "model")
        serving.intervals.save(folder / "intervals")
        serving.unseen.write_parquet(folder / "unseen.parquet")
        serving.few_votes.write_parquet(folder / "few_votes.parquet")

    release(
        store,
        champion=champion,
        rating_predictions=lambda folder: predictions.write_parquet(folder / "predictions.parquet"),
    )
    return home
