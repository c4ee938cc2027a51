"""Group ``embeddings``: a vector per document, its nearest neighbours, the map."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import NotPublishedError, PipelineError
from imdb_pipeline.gates import Outcome
from imdb_pipeline.orchestration.fan_out import FanOut, Share
from imdb_pipeline.orchestration.presentation import pictures
from imdb_pipeline.orchestration.publishing import published_asset, table
from imdb_pipeline.orchestration.requests import Request
from imdb_pipeline.orchestration.stages import Made, Work
from imdb_pipeline.settings import Settings
from imdb_pipeline.store import Pool, Revision, Store

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from imdb_pipeline.embeddings.encoder import Encoder
    from imdb_pipeline.embeddings.layout import Earlier


def _encoder_settings(request: Request) -> dict:
    settings = request.settings
    return {"encoder": settings.encoder, "revision": settings.encoder_revision, "dtype": request.compute.dtype}


def _texts(store: Store, inputs: Mapping[str, Revision]) -> "dict[str, pl.DataFrame]":
    """Return what a day embeds, documents and titles: tconst, document_hash, document."""
    import polars as pl

    from imdb_pipeline.catalogue.documents import read_documents
    from imdb_pipeline.embeddings.masking import title_documents

    listed = pl.read_parquet(inputs["movie_documents"].file("documents.parquet"))
    documents = read_documents(listed, store.pool("documents"))
    return {"documents": documents, "titles": title_documents(documents)}


def _encoder(request: Request) -> "tuple[Encoder, Pool]":
    """Return the encoder, and the pool that its vectors are kept in."""
    from imdb_pipeline.embeddings.encoder import Encoder
    from imdb_pipeline.embeddings.model_files import EncoderChoice

    choice = EncoderChoice(request.settings.encoder, request.settings.encoder_revision)
    encoder = Encoder(choice, device=request.compute.device, dtype=request.compute.dtype)
    return encoder, request.store.pool(f"embeddings_{encoder.identity.key()}")


def _count_missing(settings: Settings, store: Store, inputs: Mapping[str, Revision]) -> int:
    """Return how many documents of the day the vectors of the newest day lack; all, where these are of another encoder.

    Loads neither torch nor a model: with ``device = "auto"`` a change of the precision is not seen.
    """
    import json

    import polars as pl

    from imdb_pipeline.catalogue.documents import held_hashes

    wanted = pl.read_parquet(inputs["movie_documents"].file("documents.parquet")).unique("document_hash")
    days = store.days("movie_embeddings")
    if not days:
        return len(wanted)
    held = json.loads(store.get("movie_embeddings", days[-1]).file("encoder.json").read_bytes())
    precision = {"cpu": "float32", "cuda": "bfloat16"}.get(settings.device, held["dtype"])
    meant = (settings.encoder, settings.encoder_revision, precision)
    if (held["name"], held["revision"], held["dtype"]) != meant:
        return len(wanted)
    return len(wanted.join(held_hashes(store.pool(held["pool"])), on="document_hash", how="anti"))


def _embed_share(request: Request, inputs: Mapping[str, Revision], share: Share) -> dict[str, Any]:
    """Embed the texts of a share that the cache lacks, and return what it took."""
    import polars as pl

    texts = _texts(request.store, inputs)
    encoder, pool = _encoder(request)
    return _fill(
        {what: each.filter(share.holds(pl.col("document_hash"))) for what, each in texts.items()}, pool, encoder
    )


def _fill(texts: "dict[str, pl.DataFrame]", pool: Pool, encoder: "Encoder") -> dict[str, Any]:
    """Embed what the cache lacks, and return what the documents took, and how many titles were embedded."""
    from dataclasses import asdict

    from imdb_pipeline.embeddings.cache import fill_cache, mend_cache

    mend_cache(pool, encoder)
    runs = {what: fill_cache(each, pool, encoder, what=what) for what, each in texts.items()}
    return {**asdict(runs["documents"]), "titles": runs["titles"].embedded}


def _pace(run: Mapping[str, Any]) -> dict[str, float]:
    """Return how fast documents were embedded: figures that mean something where there were any."""
    return {
        "documents a second": round(run["embedded"] / run["seconds"], 1),
        "tokens a second": round(run["tokens"] / run["seconds"], 1),
        "share of padding": round(run["padding"], 4),
    }


def _total(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the documents of all shares took together: their seconds are those of the slowest."""
    added = {name: sum(run[name] for run in runs) for name in ("embedded", "held", "truncated", "tokens", "titles")}
    padded = sum(run["padding"] * run["tokens"] for run in runs)
    return {
        **added,
        "seconds": max(run["seconds"] for run in runs),
        "padding": padded / max(1, added["tokens"]),
        "packed": next((run["packed"] for run in runs if run["packed"] is not None), None),
    }


@published_asset(
    group="embeddings",
    kinds={"pytorch", "huggingface", "parquet"},
    inputs=("movie_documents",),
    settings=_encoder_settings,
    checks={"every_document_embedded": "Every document of the day has a finite vector of unit length."},
    code_version="2",
    gpu=True,
    table_file="embeddings.parquet",
    fan_out=FanOut(_count_missing, _embed_share),
)
def movie_embeddings(work: Work) -> Made:
    """A unit vector per document, 768-D with gte-modernbert-base and 384-D with the embedded MiniLM. The day's list of
    (tconst, document_hash); the vectors are kept once for all days, under the encoder and the document's hash. So are
    those of the titles alone, which `similar --mask-title` reads."""
    import json
    from dataclasses import asdict

    from imdb_pipeline.embeddings.cache import require_embedded

    texts = _texts(work.store, work.inputs)
    documents, titles = (each.select("tconst", "document_hash") for each in texts.values())
    encoder, pool = _encoder(work)
    try:
        run = _total(work.shares.reports or [_fill(texts, pool, encoder)])
        for each in (documents, titles):
            require_embedded(each["document_hash"], pool)
    except PipelineError as error:
        hint = "; let all workers see this home and use the same device (settings.toml)" if work.shares.expected else ""
        return Made(rows=0, outcomes=[Outcome("every_document_embedded", passed=False, message=f"{error}{hint}")])
    documents.write_parquet(work.folder / "embeddings.parquet", compression="zstd")
    titles.select("tconst", "document_hash").write_parquet(work.folder / "titles.parquet", compression="zstd")
    identity = asdict(encoder.identity)
    (work.folder / "encoder.json").write_text(json.dumps({**identity, "pool": pool.root.name}, indent=2))
    return Made(
        rows=len(documents),
        outcomes=[
            Outcome(
                "every_document_embedded",
                passed=True,
                message=f"{len(documents):,} unit vectors of {encoder.identity.dimension}",
            )
        ],
        metadata={
            "encoder": table([identity]),
            "embedded": run["embedded"],
            "held before": run["held"],
            "titles embedded": run["titles"],
            "cut at the maximum length": run["truncated"],
            **(_pace(run) if run["embedded"] else {}),
            **({"shares": work.shares.expected} if work.shares.expected else {}),
        },
        info=run,
    )


@published_asset(
    group="embeddings",
    kinds={"pytorch", "parquet"},
    inputs=("movie_embeddings", "movies"),
    code_version="2",
    gpu=True,
    table_file="neighbours.parquet",
)
def movie_neighbours(work: Work) -> Made:
    """The exact 100 nearest of each movie by cosine, nearest first: row numbers of the same table, and the cosines."""
    import numpy as np
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
    nearest_cosine = {"median cosine of the nearest": round(float(np.median(cosines[:, 0])), 4)} if examples else {}
    return Made(rows=len(documents), metadata={"nearest of the most voted": table(examples), **nearest_cosine})


@published_asset(
    group="embeddings",
    kinds={"umap", "parquet"},
    inputs=("movie_embeddings", "movie_neighbours", "movies"),
    warm_start=True,
    settings=lambda request: {"seed": request.compute.seed, **vars(request.settings.map)},
    code_version="2",
    gpu=True,
    table_file="map.parquet",
)
def movie_map(work: Work) -> Made:
    """UMAP coordinates of every embedded movie: tconst, x, y, laid out from the exact neighbours. It starts from the
    day before, so that it does not jump. With it how far to trust it, and the drift over release years."""
    import json

    import polars as pl

    from imdb_pipeline.embeddings.drift import measure_drift
    from imdb_pipeline.embeddings.layout import lay_out
    from imdb_pipeline.results.plots import draw_drift, draw_map

    documents, vectors = load_vectors(work)
    rows, cosines = load_neighbours(work)
    layout = lay_out(
        vectors,
        rows,
        cosines,
        work.settings.map,
        earlier=_earlier_map(work, documents),
        seed=work.compute.seed,
        device=work.compute.device,
    )
    frame = pl.DataFrame({"tconst": documents["tconst"], "x": layout.coordinates[:, 0], "y": layout.coordinates[:, 1]})
    frame.write_parquet(work.folder / "map.parquet")
    movies = pl.read_parquet(
        work.file("movies", "movies.parquet"), columns=["tconst", "release_year", "average_rating"]
    )
    points = frame.join(movies, on="tconst", how="left", maintain_order="left")
    release_year = points["release_year"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    drift = measure_drift(release_year, vectors, rows, layout.coordinates)
    shown = {"map": draw_map(points, width_inches=5, dots_per_inch=90)}
    figures = {}
    if drift is not None:
        drift.years.write_parquet(work.folder / "years.parquet")
        figures = drift.figures()
        (work.folder / "drift.json").write_text(json.dumps(figures, indent=2))
        shown["drift"] = draw_drift(points, drift.years, width_inches=7, dots_per_inch=80)
    measured = {
        "trustworthiness": layout.trustworthiness,
        "moved_median": layout.moved and layout.moved[0],
        "moved_95th_percentile": layout.moved and layout.moved[1],
        **figures,
    }
    return Made(
        rows=len(frame),
        metadata={
            "method": layout.method,
            "starts from": layout.start or "scratch",
            "because": layout.reason,
            **{name.replace("_", " "): value for name, value in measured.items() if value is not None},
            **pictures(shown),
        },
        info={
            "method": layout.method,
            "start": layout.start,
            "reason": layout.reason,
            "placed": layout.placed,
            "trustworthiness": layout.trustworthiness,
            "reference": layout.reference,
            "moved": layout.moved,
        },
    )


def _earlier_map(work: Work, documents: "pl.DataFrame") -> "Earlier | None":
    """Return the map that today's may start from, in today's rows: one of the same encoder under the same settings."""
    import json

    import polars as pl

    from imdb_pipeline.embeddings.layout import Earlier

    def encoder(embeddings: Revision) -> str:
        return json.loads(embeddings.file("encoder.json").read_bytes())["pool"]

    revision = work.previous("movie_map")
    if revision is None or revision.manifest["settings"] != work.values:
        return None
    reference = revision.manifest["info"].get("reference")
    try:
        embedded = work.store.referenced("movie_embeddings", revision.manifest["inputs"]["movie_embeddings"])
        if reference is None or encoder(embedded) != encoder(work.inputs["movie_embeddings"]):
            return None
        before = pl.read_parquet(embedded.file("embeddings.parquet"), columns=["tconst", "document_hash"])
    except NotPublishedError:
        return None
    places = pl.read_parquet(revision.file("map.parquet")).join(before, on="tconst")
    known = documents.join(places, on=["tconst", "document_hash"], how="left", maintain_order="left")
    return Earlier(revision.day, known.select(pl.col("x", "y").fill_null(float("nan"))).to_numpy(), reference)


def _matrix(lists: "pl.Series") -> "np.ndarray":
    """Return a column of lists, or of arrays, of one length as an array of two dimensions."""
    width = len(lists[0]) if len(lists) else 0
    return lists.explode(empty_as_null=False).to_numpy().reshape(len(lists), width)


def load_neighbours(work: Work) -> "tuple[np.ndarray, np.ndarray]":
    """Return the rows of each movie's nearest and their cosines, nearest first: shape (n, k)."""
    import polars as pl

    neighbours = pl.read_parquet(work.file("movie_neighbours", "neighbours.parquet"))
    return _matrix(neighbours["neighbours"]), _matrix(neighbours["cosines"])


def load_vectors(work: Work):
    """Return the day's (tconst, document_hash) frame and its vectors, float32, shape (n, dimension)."""
    from imdb_pipeline.embeddings.cache import load_embeddings

    return load_embeddings(work.inputs["movie_embeddings"], work.store)
