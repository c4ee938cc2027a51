"""Group ``models``, on demand alone: the protocol put to the test, and the study done again to the letter."""

import json
from dataclasses import replace
from typing import Any

from imdb_pipeline.champions import METRICS
from imdb_pipeline.gates import Outcome
from imdb_pipeline.models.fitting import MEMBERS, PREDICTORS
from imdb_pipeline.orchestration.assets.embeddings import load_neighbours, load_vectors
from imdb_pipeline.orchestration.assets.models import ALL_PREDICTORS, MODEL, load_parts
from imdb_pipeline.orchestration.publishing import published_asset, table
from imdb_pipeline.orchestration.stages import Made, Work

ON_A_CPU = 1_000
"""Epochs of the study's map on a CPU, in place of its 100,000."""


@published_asset(
    group="models",
    kinds={"json"},
    inputs=(
        *ALL_PREDICTORS,
        "rating_split",
        "movies",
        "name_basics_dump",
        "movie_documents",
        "movie_embeddings",
    ),
    lineage=(*ALL_PREDICTORS, "name_basics_dump"),
    settings=lambda request: {"seed": request.compute.seed},
    checks={
        "no_signal_in_shuffled_ratings": "A fit on shuffled ratings says nothing of the true ones.",
        "no_own_rating_in_features": "No feature of a movie changes with its own rating, nor gives it away.",
    },
    on_demand=True,
    gpu=True,
)
def evaluation(work: Work) -> Made:
    """The protocol put to the test, on demand: every predictor in ten-fold rotation with settings fixed beforehand; the
    trees on shuffled ratings; whether their features know a rating; what forbidden features would give."""
    import polars as pl

    from imdb_pipeline.models import audit, boosting
    from imdb_pipeline.models.examples import join_examples
    from imdb_pipeline.models.features_audit import audit_features
    from imdb_pipeline.models.rotation import rotate_all

    results = {name: json.loads(work.file(f"{name}_predictor", METRICS).read_bytes()) for name in PREDICTORS}
    if "too_few" in results["mean"]:
        return _too_few(work, results["mean"]["too_few"])
    for name in ALL_PREDICTORS:
        work.store.verify(work.inputs[name])
    parts = load_parts(work, documents=True)("split")
    options: dict[str, Any] = {"seed": work.compute.seed, "device": work.compute.device}
    rated = join_examples(parts.train, parts.validation, parts.test)
    finished = work.finished()
    fitted = {name: work.inputs[f"{name}_predictor"].folder / MODEL for name in MEMBERS if "metrics" in results[name]}
    rotation = rotate_all(fitted, results["blend"]["settings"], rated, **options, finished=finished.of("rotation"))
    movies = pl.read_parquet(work.file("movies", "movies.parquet"), columns=["tconst", "credits"])
    forbidden: dict[str, Any] = {"num_votes": audit.num_votes, "number in the id": audit.id_number}
    if not work.inputs["name_basics_dump"].expired:
        names = work.file("name_basics_dump", "name.basics.tsv.gz")
        judged = movies.join(rated.inputs.movies.select("tconst"), on="tconst", how="semi")
        forbidden["knownForTitles"] = audit.known_for(names, judged)
    permuted = audit.permuted_labels(boosting.fit, parts, **options, finished=finished.of("shuffled"))
    own = audit_features(parts.train, seed=work.compute.seed)
    found = {
        "rotation": rotation,
        "permuted": permuted,
        "own_rating": own,
        "forbidden": audit.forbidden_features(
            parts, forbidden, seed=work.compute.seed, finished=finished.of("forbidden")
        ),
    }
    (work.folder / "evaluation.json").write_text(json.dumps(found, indent=2))
    shown = ("r2_mean", "r2_deviation", "mse_mean", "mse_deviation")
    return Made(
        rows=len(rated),
        outcomes=[
            Outcome(
                "no_signal_in_shuffled_ratings",
                passed=permuted["passed"],
                message=f"R² {permuted['r2']:.3f} [{permuted['r2_low']:.3f}, {permuted['r2_high']:.3f}]",
                required=False,
            ),
            Outcome(
                "no_own_rating_in_features",
                passed=own["passed"],
                message="; ".join(
                    f"folds {name.replace('_', ' ')}: features that change with it: "
                    f"{', '.join(own[name]['leaking']) or 'none'}; R² of shuffled ratings from the features of their "
                    f"rows {own[name]['r2']:.3f} [{own[name]['r2_low']:.3f}, {own[name]['r2_high']:.3f}]"
                    for name in ("by_id", "by_year")
                ),
                required=False,
            ),
        ],
        metadata={
            "ten-fold rotation": table(
                [{"model": name, **{figure: row[figure] for figure in shown}} for name, row in rotation.items()]
            ),
            "forbidden features": table(
                [
                    {name: row[name] for name in ("feature", "clean_r2", "r2", "r2_low", "r2_high")}
                    for row in found["forbidden"]
                ]
            ),
        },
    )


def _too_few(work: Work, reason: str) -> Made:
    (work.folder / "evaluation.json").write_text(json.dumps({"too_few": reason}, indent=2))
    names = ("no_signal_in_shuffled_ratings", "no_own_rating_in_features")
    return Made(
        rows=0,
        outcomes=[Outcome(name, passed=True, message=reason, required=False) for name in names],
        metadata={"evaluation": table([{"why": reason}])},
    )


@published_asset(
    group="models",
    kinds={"json", "umap"},
    inputs=("rating_split", "movies", "movie_documents", "movie_embeddings", "movie_neighbours"),
    settings=lambda request: {"seed": request.compute.seed},
    on_demand=True,
    gpu=True,
)
def study_reproduction(work: Work) -> Made:
    """The study done again to the letter, on demand (`run --preset study`): its split, settings and grids, its choice
    by the test set, which is optimistic; and its map. What a CPU cannot do in time is smaller, and says so."""
    import polars as pl

    from imdb_pipeline.embeddings.layout import lay_out
    from imdb_pipeline.embeddings.umap import STUDY
    from imdb_pipeline.models.examples import join_examples
    from imdb_pipeline.models.split import too_few
    from imdb_pipeline.models.study import reproduce

    split = pl.read_parquet(work.file("rating_split", "split.parquet"))
    reason = too_few(split, min_votes=work.settings.catalogue.min_votes)
    if reason:
        (work.folder / "study.json").write_text(json.dumps({"rows": [], "map": None, "too_few": reason}, indent=2))
        return Made(rows=0, metadata={"study": table([{"why": reason}])})
    parts = load_parts(work, documents=True)("split")
    rows = reproduce(
        join_examples(parts.train, parts.validation, parts.test),
        seed=work.compute.seed,
        device=work.compute.device,
        checkpoints=work.checkpoints,
    )
    on_cpu = work.compute.device == "cpu"
    settings = replace(STUDY, epochs=ON_A_CPU) if on_cpu else STUDY
    listed, vectors = load_vectors(work)
    layout = lay_out(vectors, *load_neighbours(work), settings, seed=work.compute.seed, device=work.compute.device)
    x, y = layout.coordinates.T
    pl.DataFrame({"tconst": listed["tconst"], "x": x, "y": y}).write_parquet(work.folder / "map.parquet")
    told = {
        "settings": vars(settings),
        "trustworthiness": layout.trustworthiness,
        "differs": [f"{ON_A_CPU:,} epochs in place of 100,000, for a CPU"] if on_cpu else [],
    }
    (work.folder / "study.json").write_text(json.dumps({"rows": rows, "map": told, "too_few": None}, indent=2))
    shown = ("predictor", "study_mse", "mse", "study_r2", "r2", "how", "skipped")
    return Made(rows=len(rows), metadata={"study": table([{name: row[name] for name in shown} for row in rows])})
