"""The embedding cache: vectors kept once under the encoder and the hash of their document.

A day embeds only documents that the cache lacks; a killed run loses the shard that it computes, and on a GPU the one
before where that is still being written.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.catalogue.documents import document_hash
from imdb_pipeline.embeddings.progress import Progress, tell_estimate
from imdb_pipeline.errors import NotPublishedError, PipelineError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import polars as pl

    from imdb_pipeline.embeddings.encoder import Encoder
    from imdb_pipeline.embeddings.packing import Tokens
    from imdb_pipeline.store import Pool, Revision, Store

log = logging.getLogger(__name__)

SHARD_WORK = {"cpu": 3e12, "cuda": 3e15}
"""Bytes of text times weights of the encoder, a shard: some ten seconds of work."""
SHARD_DOCUMENTS = (256, 16_384)
"""At least, however long they take, lest there be thousands of files; and at most."""
COMPILED_WORK = 2e16
"""Bytes times weights from which a GPU is expected to have more of compiled layers than compiling them costs."""
PROBED_WORK = {"cpu": 3e12, "cuda": 1e16}
"""Bytes times weights from which trying a batch costs next to nothing of the whole."""


@dataclass(frozen=True)
class EmbeddingRun:
    """What filling the cache took.

    Attributes
    ----------
    embedded, held
        Documents that were embedded, and that were in the cache before.
    truncated
        Of the embedded ones, those cut at the encoder's maximum length.
    tokens
        Of the embedded ones, as far as the encoder read them.
    padding
        The share of padding in what was computed.
    packed
        Whether texts were computed without padding; None where none was.
    """

    embedded: int
    held: int
    truncated: int
    seconds: float
    tokens: int = 0
    padding: float = 0.0
    packed: bool | None = None


def mend_cache(pool: Pool, encoder: Encoder) -> None:
    """Put the shards aside that are damaged or of another encoder: ``fill_cache`` then makes their vectors again."""
    import polars as pl

    pool.set_damaged_aside()
    expected = {"document_hash": pl.String, "embedding": pl.Array(pl.Float16, encoder.identity.dimension)}
    for shard in pool.shards():
        try:
            found = pl.read_parquet_schema(shard)
        except FileNotFoundError:
            continue  # another worker was quicker
        if found != expected:
            aside = pool.set_aside(shard)
            log.warning("%s: not of this encoder; kept in %s, its documents are embedded again", shard, aside)


def fill_cache(documents: pl.DataFrame, pool: Pool, encoder: Encoder, *, what: str = "documents") -> EmbeddingRun:
    """Embed the documents that the pool does not hold yet, shard by shard, the longest first.

    Texts are tokenised ahead of the computation, and finished vectors are written beside it.

    Parameters
    ----------
    documents
        Columns document_hash and document.
    what
        What they are called in the log.

    Raises
    ------
    PipelineError
        A text is not the one that its hash names, a vector is not finite or not of unit length, or
        memory is too short for a single document.
    """
    started = time.monotonic()
    missing, held = _missing(documents, pool)
    if not len(missing):
        return EmbeddingRun(0, held, 0, time.monotonic() - started)
    _check_hashes(missing)
    log.info("embedding %d %s, %d are held already", len(missing), what, held)
    shards = _shards(missing, encoder)
    progress = Progress(what, len(missing), held)
    truncated, left = 0, int(missing["document"].str.len_bytes().sum())
    with ThreadPoolExecutor(1) as tokenizing, ThreadPoolExecutor(1) as storing:
        stored: Future | None = None
        ahead = tokenizing.submit(encoder.tokenize, shards[0]["document"].to_list())
        for number, shard in enumerate(shards):
            tokens = ahead.result()
            if number + 1 < len(shards):
                ahead = tokenizing.submit(encoder.tokenize, shards[number + 1]["document"].to_list())
            size = int(shard["document"].str.len_bytes().sum())
            left -= size
            # those known, and the rest by its bytes
            progress.tokens = progress.done_tokens + int(tokens.lengths.sum()) * (1 + left / max(1, size))
            if number == 0:
                _prepare(encoder, missing, tokens, progress)
            collect = encoder.encode(tokens, done=progress.batch_done)
            if stored is not None:
                stored.result()
            stored = storing.submit(_store, pool, shard["document_hash"], collect)
            if encoder.device == "cpu":
                stored.result()  # the vectors are there, and a kill shall cost no more than what is being computed
            truncated += tokens.truncated
        if stored is not None:
            stored.result()
    log.info("%s", progress.told())
    if truncated:
        log.info("%d of %d %s were cut at %d tokens", truncated, len(missing), what, encoder.identity.max_length)
    return EmbeddingRun(
        embedded=len(missing),
        held=held,
        truncated=truncated,
        seconds=time.monotonic() - started,
        tokens=progress.done_tokens,
        padding=progress.padding,
        packed=encoder.packed,
    )


def _missing(documents: pl.DataFrame, pool: Pool) -> tuple[pl.DataFrame, int]:
    """Return the documents that the pool lacks, the longest first, and how many it holds."""
    import polars as pl

    held = pool.read({"document_hash": pl.String})
    wanted = documents.select("document_hash", "document").unique("document_hash", maintain_order=True)
    missing = wanted.join(held, on="document_hash", how="anti")
    order = [pl.col("document").str.len_bytes(), pl.col("document_hash")]
    return missing.sort(order, descending=[True, False]), len(wanted) - len(missing)


def _check_hashes(documents: pl.DataFrame) -> None:
    for hashed, text in documents.select("document_hash", "document").iter_rows():
        if document_hash(text) != hashed:
            raise PipelineError(
                f"document {hashed}: its text is another; materialize movie_documents again, in the UI or by --force"
            )


def _shards(missing: pl.DataFrame, encoder: Encoder) -> list[pl.DataFrame]:
    """Cut the documents into shards of like work; the rest of a killed run is cut as it was."""
    shards = []
    sizes = missing["document"].str.len_bytes().to_numpy()
    limit = SHARD_WORK[encoder.device] / encoder.weights
    fewest, most = SHARD_DOCUMENTS
    first = 0
    while first < len(missing):
        within = int(sizes[first : first + most].cumsum().searchsorted(limit, side="right"))
        shards.append(missing[first : first + max(fewest, within)])
        first += len(shards[-1])
    return shards


def _prepare(encoder: Encoder, missing: pl.DataFrame, tokens: Tokens, progress: Progress) -> None:
    """Before long work: compile where that pays, try the device on a batch, and say how long it will take."""
    import numpy as np

    work = int(missing["document"].str.len_bytes().sum()) * encoder.weights
    if encoder.device == "cuda" and work >= COMPILED_WORK:
        encoder.compile(tokens.take(np.arange(min(8, len(tokens.lengths)))))
    if work >= PROBED_WORK[encoder.device]:
        rate = encoder.tokens_per_second(tokens)
        tell_estimate(encoder, progress, tokens_per_second=rate)
    progress.started = time.monotonic()


def _store(pool: Pool, hashes: pl.Series, collect: Callable[[], np.ndarray]) -> None:
    vectors = collect()
    _check(vectors, hashes)
    pool.add(_frame(hashes, vectors))


def require_embedded(hashes: pl.Series, pool: Pool) -> None:
    """Make sure that the pool has a vector for every document.

    Raises
    ------
    NotPublishedError
        The cache lacks one of them.
    """
    import polars as pl

    held = pool.read({"document_hash": pl.String})
    missing = len(hashes.rename("document_hash").to_frame().join(held, on="document_hash", how="anti"))
    if missing:
        raise NotPublishedError(
            f"{pool.root}: {missing} of {len(hashes)} documents have no vector; materialize movie_embeddings again"
        )


def read_embeddings(hashes: pl.Series, pool: Pool) -> np.ndarray:
    """Return the vectors of documents: float32, shape (n, dimension), unit rows, in the order of ``hashes``.

    Raises
    ------
    NotPublishedError
        The cache lacks one of them.
    """
    import numpy as np
    import polars as pl

    require_embedded(hashes, pool)
    wanted = hashes.rename("document_hash").to_frame()
    vectors = pool.read_matching({"document_hash": pl.String, "embedding": pl.Array}, wanted.unique())
    vectors = vectors.unique("document_hash")
    joined = wanted.join(vectors, on="document_hash", how="left", maintain_order="left")
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
