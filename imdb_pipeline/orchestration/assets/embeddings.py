"""Group ``embeddings``: a vector per document, its nearest neighbours, the map."""

import base64

import dagster as dg

from imdb_pipeline.errors import PipelineError
from imdb_pipeline.gates import Outcome
from imdb_pipeline.orchestration.publishing import Made, Request, Work, published_asset, table


def _encoder_settings(request: Request) -> dict:
    settings = request.settings
    return {"encoder": settings.encoder, "revision": settings.encoder_revision, "dtype": request.compute.dtype}


@published_asset(
    group="embeddings",
    kinds={"pytorch", "huggingface", "parquet"},
    inputs=("movie_documents",),
    settings=_encoder_settings,
    checks={"every_document_embedded": "Every document of the day has a finite vector of unit length."},
    code_version="2",
    gpu=True,
)
def movie_embeddings(work: Work) -> Made:
    """A unit vector per document, 768-D with gte-modernbert-base and 384-D with the embedded MiniLM. The day's list of
    (tconst, document_hash); the vectors are kept once for all days, under the encoder and the document's hash. So are
    those of the titles alone, which `similar --mask-title` reads."""
    import json
    from dataclasses import asdict

    import polars as pl

    from imdb_pipeline.catalogue.documents import read_documents
    from imdb_pipeline.embeddings.cache import fill_cache, read_embeddings
    from imdb_pipeline.embeddings.encoder import EncoderChoice, load_encoder
    from imdb_pipeline.embeddings.masking import title_documents

    documents = pl.read_parquet(work.file("movie_documents", "documents.parquet"))
    texts = read_documents(documents, work.store.pool("documents"))
    choice = EncoderChoice(work.settings.encoder, work.settings.encoder_revision)
    encoder = load_encoder(choice, device=work.compute.device, dtype=work.compute.dtype)
    name = f"embeddings_{encoder.identity.key()}"
    pool = work.store.pool(name)
    try:
        run = fill_cache(texts, pool, encoder, device=work.compute.device)
        vectors = read_embeddings(documents["document_hash"], pool)
        titles = title_documents(texts)
        titles_run = fill_cache(titles, pool, encoder, device=work.compute.device)
    except PipelineError as error:
        return Made(rows=0, outcomes=[Outcome("every_document_embedded", passed=False, message=str(error))])
    documents.write_parquet(work.folder / "embeddings.parquet", compression="zstd")
    titles.select("tconst", "document_hash").write_parquet(work.folder / "titles.parquet", compression="zstd")
    identity = asdict(encoder.identity)
    (work.folder / "encoder.json").write_text(json.dumps({**identity, "pool": name}, indent=2))
    return Made(
        rows=len(documents),
        outcomes=[
            Outcome(
                "every_document_embedded", passed=True, message=f"{len(vectors):,} unit vectors of {vectors.shape[1]}"
            )
        ],
        metadata={
            "encoder": table([identity]),
            "embedded": run.embedded,
            "held before": run.held,
            "titles embedded": titles_run.embedded,
            "cut at the maximum length": run.truncated,
            "documents a second": round(run.embedded / run.seconds, 1) if run.embedded else 0.0,
        },
        info={"embedded": run.embedded, "held": run.held, "truncated": run.truncated},
    )


@published_asset(
    group="embeddings",
    kinds={"pytorch", "parquet"},
    inputs=("movie_embeddings", "movies"),
    gpu=True,
)
def movie_neighbours(work: Work) -> Made:
    """The exact 100 nearest of each movie by cosine, nearest first: row numbers of the same table, and the cosines."""
    import polars as pl

    from imdb_pipeline.embeddings.neighbours import nearest, neighbour_table

    documents, vectors = load_vectors(work)
    rows, cosines = nearest(vectors, device=work.compute.device)
    neighbour_table(documents["tconst"], rows, cosines).write_parquet(work.folder / "neighbours.parquet")
    frame = pl.read_parquet(work.file("movies", "movies.parquet"), columns=["tconst", "title", "num_votes"])
    titles = documents.select("tconst").join(frame, on="tconst", how="left", maintain_order="left")
    best_known = titles.with_row_index().sort("num_votes", descending=True, nulls_last=True).head(8)["index"].to_list()
    examples = [
        {
            "title": titles["title"][i],
            "nearest": titles["title"][int(rows[i, 0])],
            "cosine": round(float(cosines[i, 0]), 3),
        }
        for i in best_known
        if rows.shape[1]
    ]
    return Made(rows=len(documents), metadata={"nearest of the most voted": table(examples)})


@published_asset(
    group="embeddings",
    kinds={"umap", "parquet"},
    inputs=("movie_embeddings", "movie_neighbours", "movies"),
    settings=lambda request: {"seed": request.compute.seed},
    gpu=True,
)
def movie_map(work: Work) -> Made:
    """UMAP coordinates of every embedded movie: tconst, x, y. Seeded; laid out from the exact neighbours."""
    import numpy as np
    import polars as pl

    from imdb_pipeline.embeddings.umap import project
    from imdb_pipeline.results.plots import draw_map

    documents, vectors = load_vectors(work)
    neighbours = pl.read_parquet(work.file("movie_neighbours", "neighbours.parquet"))
    k = neighbours["neighbours"].list.len().min() or 0
    projection = project(
        vectors,
        np.array(neighbours["neighbours"].to_list(), dtype=np.int64).reshape(len(vectors), int(k)),  # pyright: ignore[reportArgumentType]
        np.array(neighbours["cosines"].to_list(), dtype=np.float32).reshape(len(vectors), int(k)),  # pyright: ignore[reportArgumentType]
        seed=work.compute.seed,
        device=work.compute.device,
    )
    frame = pl.DataFrame(
        {"tconst": documents["tconst"], "x": projection.coordinates[:, 0], "y": projection.coordinates[:, 1]}
    )
    frame.write_parquet(work.folder / "map.parquet")
    movies = pl.read_parquet(work.file("movies", "movies.parquet"), columns=["tconst", "average_rating"])
    picture = draw_map(frame.join(movies, on="tconst", how="left"), width_inches=5, dots_per_inch=90)
    encoded = base64.b64encode(picture).decode()
    return Made(
        rows=len(frame),
        metadata={
            "method": projection.method,
            "map": dg.MetadataValue.md(f"![the movies, coloured by rating](data:image/png;base64,{encoded})"),
        },
        info={"method": projection.method},
    )


def load_vectors(work: Work):
    """Return the day's (tconst, document_hash) frame and its vectors, float32, shape (n, dimension)."""
    from imdb_pipeline.embeddings.cache import load_embeddings

    return load_embeddings(work.inputs["movie_embeddings"], work.store)
