"""Group ``results``: predictions, the report, the release."""

import json

from imdb_pipeline.dumps.transport import without_userinfo
from imdb_pipeline.orchestration.assets.champion import CHAMPION, UNSEEN
from imdb_pipeline.orchestration.assets.embeddings import load_vectors
from imdb_pipeline.orchestration.assets.models import ALL_PREDICTORS, MODEL, PREDICTIONS
from imdb_pipeline.orchestration.publishing import published_asset, table
from imdb_pipeline.orchestration.stages import STAGES, Made, Work

TRAINED = ("rating_split", *ALL_PREDICTORS, "leaderboard", "champion")
"""Assets of the training job; a day that trained nothing reads the newest before it."""


@published_asset(
    group="results",
    kinds={"polars", "parquet"},
    inputs=("champion", "movies", "movie_documents", "movie_embeddings"),
    earlier=("champion",),
    lineage=("champion", "movie_embeddings"),
    code_version="2",
)
def rating_predictions(work: Work) -> Made:
    """A predicted rating with a 90 % interval for every movie with a document, rated or not yet, by the newest champion
    up to the day. `split` says which part of the champion's data a movie was in; null: none, the model never saw it."""
    import polars as pl

    from imdb_pipeline.catalogue.documents import read_documents
    from imdb_pipeline.models.examples import INPUT_COLUMNS, Inputs
    from imdb_pipeline.models.fitting import load_predictor
    from imdb_pipeline.results.predictions import coverage, empty_predictions, predict_movies

    revision = work.inputs["champion"]
    chosen = json.loads(revision.file(CHAMPION).read_bytes())
    trained = f"{revision.day}, revision {revision.id}"
    if chosen["model"] is None:
        empty_predictions().write_parquet(work.folder / "predictions.parquet")
        return Made(rows=0, metadata={"predictions": table([{"champion": "none", "why": chosen["reason"]}])})
    work.store.verify(revision)
    documents, vectors = load_vectors(work)
    movies = documents.select("tconst").join(
        pl.read_parquet(work.file("movies", "movies.parquet")), on="tconst", how="left", maintain_order="left"
    )
    texts = read_documents(documents, work.store.pool("documents"))["document"]
    model = load_predictor(chosen["model"], revision.folder / MODEL)
    predictions = predict_movies(
        model.predict(Inputs(movies.select(INPUT_COLUMNS), vectors, texts)),
        movies,
        split=pl.read_parquet(revision.file(UNSEEN)),
        held_out=pl.read_parquet(revision.file(PREDICTIONS["split"])),
    )
    predictions.write_parquet(work.folder / "predictions.parquet")
    unrated = predictions.filter(pl.col("num_votes").is_null()).join(movies.select("tconst", "title"), on="tconst")
    best = unrated.sort("prediction", descending=True).head(8).select("tconst", "title", "prediction", "low", "high")
    return Made(
        rows=len(predictions),
        metadata={
            "champion": chosen["model"],
            "champion of": trained,
            "coverage on test": coverage(predictions),
            "highest predicted, not yet rated": table(best.to_dicts()),
        },
    )


@published_asset(
    group="results",
    kinds={"html"},
    inputs=(
        "movies",
        "movie_documents",
        "catalogue_changes",
        "movie_neighbours",
        "movie_map",
        *TRAINED,
        "rating_predictions",
    ),
    earlier=TRAINED,
    lineage=("catalogue_changes", "movie_map", "leaderboard", "rating_predictions"),
    code_version="2",
    settings=lambda request: {"day": request.day},
)
def report(work: Work) -> Made:
    """One HTML file, opened from disk with no network: the catalogue, the map, the leaderboard, the predictions, and
    how all of it was made."""
    from imdb_pipeline.results.report import write_report

    path = work.folder / "report.html"
    counts = write_report(path, day=work.day, source=without_userinfo(work.settings.source), revisions=work.inputs)
    return Made(rows=1, metadata={"counts": table([counts])})


@published_asset(
    group="results",
    kinds={"json"},
    inputs=tuple(STAGES),
    earlier=TRAINED,
    lineage=("report",),
    settings=lambda request: {"day": request.day},
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
