"""The embedding cache: vectors kept once under the encoder and the hash of their document.

A day embeds only documents that the cache lacks; a killed run loses at most one shard.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import NotPublishedError, PipelineError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from imdb_pipeline.embeddings.encoder import Encoder
    from imdb_pipeline.store import Pool, Revision, Store

log = logging.getLogger(__name__)

SHARD_DOCUMENTS = {"cpu": 512, "cuda": 16_384}
"""Documents a shard: some 10 seconds of work."""


@dataclass(frozen=True)
class EmbeddingRun:
    """What filling the cache took."""

    embedded: int
    held: int
    truncated: int
    seconds: float


def fill_cache(documents: pl.DataFrame, pool: Pool, encoder: Encoder, *, device: str) -> EmbeddingRun:
    """Embed the documents that the pool does not hold yet, shard by shard; a damaged shard is put aside first.

    Parameters
    ----------
    documents
        Columns document_hash and document.

    Raises
    ------
    PipelineError
        The encoder gave a vector that is not finite or not of unit length.
    """
    import polars as pl

    started = time.monotonic()
    pool.set_damaged_aside()
    held = pool.read({"document_hash": pl.String})
    wanted = documents.select("document_hash", "document").unique("document_hash", maintain_order=True)
    missing = wanted.join(held, on="document_hash", how="anti", maintain_order="left")
    missing = missing.sort(pl.col("document").str.len_bytes(), descending=True, maintain_order=True)
    truncated = done = 0
    if len(missing):
        log.info("embedding %d documents, %d are held already", len(missing), len(wanted) - len(missing))
    for shard in missing.iter_slices(SHARD_DOCUMENTS[device]):
        tokens, cut = encoder.tokenize(shard["document"].to_list())
        vectors = encoder.encode(tokens)
        _check(vectors, shard["document_hash"])
        pool.add(_frame(shard["document_hash"], vectors))
        truncated += cut
        done += len(shard)
        rate = done / (time.monotonic() - started)
        log.info(
            "embedded %d of %d documents, %.0f a second, %.0f s left",
            done,
            len(missing),
            rate,
            (len(missing) - done) / rate,
        )
    if truncated:
        log.info("%d of %d documents were cut at %d tokens", truncated, len(missing), encoder.identity.max_length)
    return EmbeddingRun(len(missing), len(wanted) - len(missing), truncated, time.monotonic() - started)


def read_embeddings(hashes: pl.Series, pool: Pool) -> np.ndarray:
    """Return the vectors of documents: float32, shape (n, dimension), unit rows, in the order of ``hashes``.

    Raises
    ------
    NotPublishedError
        The cache lacks one of them.
    """
    import numpy as np
    import polars as pl

    wanted = hashes.rename("document_hash").to_frame()
    if not pool.shards():
        raise NotPublishedError(f"{pool.root}: the embedding cache is empty; materialize movie_embeddings again")
    vectors = pool.read({"document_hash": pl.String, "embedding": pl.Array}).unique("document_hash")
    joined = wanted.join(vectors, on="document_hash", how="left", maintain_order="left")
    missing = joined["embedding"].null_count()
    if missing:
        raise NotPublishedError(
            f"{pool.root}: the vectors of {missing} documents are missing; materialize movie_embeddings again"
        )
    array = joined["embedding"].to_numpy().astype(np.float32)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def _frame(hashes: pl.Series, vectors: np.ndarray) -> pl.DataFrame:
    import numpy as np
    import polars as pl

    half: Any = vectors.astype(np.float16)
    return pl.DataFrame({"document_hash": hashes, "embedding": half}).cast(
        {"embedding": pl.Array(pl.Float16, vectors.shape[1])}
    )


def _check(vectors: np.ndarray, hashes: pl.Series) -> None:
    import numpy as np

    wrong = ~np.isclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)
    if wrong.any():
        raise PipelineError(
            f"the encoder gave no unit vector for document {hashes[int(wrong.argmax())]} "
            f"({int(wrong.sum())} such documents); try --device cpu, or another encoder"
        )


def load_embeddings(revision: Revision, store: Store) -> tuple[pl.DataFrame, np.ndarray]:
    """Return a published ``movie_embeddings``.

    Returns
    -------
    documents
        tconst, document_hash.
    vectors
        float32, shape (n, dimension), unit rows, in the order of ``documents``.
    """
    import json

    import polars as pl

    documents = pl.read_parquet(revision.file("embeddings.parquet"))
    pool = store.pool(json.loads(revision.file("encoder.json").read_bytes())["pool"])
    return documents, read_embeddings(documents["document_hash"], pool)
