"""A home in which a blend with trees serves: what wins on so few movies is chance."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl

from imdb_pipeline import api
from imdb_pipeline.models.examples import INPUT_COLUMNS, Inputs
from imdb_pipeline.store import Store
from imdb_pipeline_tests.conftest import DAY

SERVED = ("champion", "movies", "movie_documents", "movie_embeddings", "rating_predictions")


def release(store: Store, **files) -> None:
    """Publish ``champion`` and ``rating_predictions`` as ``files`` writes them into a folder, and release them."""
    for asset, write in files.items():
        with store.stage(asset) as folder:
            write(folder)
            store.publish(
                folder, asset=asset, day=DAY, key="", code_version="", inputs={}, settings={}, rows=1, info={}
            )
    store.release(DAY, {asset: store.get(asset, DAY) for asset in SERVED})


def blend_home(held_home: Path, folder: Path) -> Path:
    """Return a copy of the small home with a champion that is made here."""
    from imdb_pipeline.embeddings.cache import load_embeddings
    from imdb_pipeline.models import boosting, ridge
    from imdb_pipeline.models.blend import BlendModel
    from imdb_pipeline.models.champion import build_serving
    from imdb_pipeline.models.examples import build_parts
    from imdb_pipeline.models.fitting import judge
    from imdb_pipeline.results.predictions import predictions_table

    home = shutil.copytree(held_home, folder / "home")
    store = Store(home / "store")
    movies = api.load_movies(home)
    listed, vectors = load_embeddings(store.released("movie_embeddings"), store)
    split = pl.read_parquet(store.released("rating_split").file("split.parquet"))
    parts = build_parts(split, movies, listed, vectors)
    both = {"seed": 0, "device": "cpu"}
    trees = boosting.fit(parts.train, parts.validation, **both, leaves=(4,), max_trees=25, seeds=2)
    members = {"ridge": ridge.fit(parts.train, parts.validation, **both), "boosting": trees}
    mean = float(parts.train.ratings.mean())
    model = BlendModel(members, {"method": "blend", "weights": {"ridge": 0.4, "boosting": 0.5}, "offset": mean}, [])
    held_out = judge("blend", model, parts, fit_seconds=0.0, seed=0).predictions
    serving = build_serving("blend", model, parts, held_out, folds=2, **both)
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
