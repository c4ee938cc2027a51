"""The embedding cache after a kill, with damaged shards, with another model's, and on a day of few changes."""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from imdb_pipeline.embeddings import cache
from imdb_pipeline.embeddings.cache import fill_cache, mend_cache, read_embeddings
from imdb_pipeline.embeddings.encoder import Encoder
from imdb_pipeline.embeddings.model_files import choose_encoder
from imdb_pipeline.errors import PipelineError
from imdb_pipeline.store import Pool
from imdb_pipeline_tests.crash import kill
from imdb_pipeline_tests.test_embeddings import documents_of
from imdb_pipeline_tests.tiny_encoders import write_encoder

TEXTS = [f"film {number} of the harbour" + " and the sea" * (number % 23) for number in range(80)]
SHARD_DOCUMENTS = (12, 12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoder"), "ModernBert")


@pytest.fixture
def encoder(folder, monkeypatch):
    monkeypatch.setattr(cache, "SHARD_DOCUMENTS", SHARD_DOCUMENTS)
    return Encoder(choose_encoder(str(folder)), device="cpu", dtype="float32")


def fill(pool: str, folder: str) -> None:
    """What the child does that is killed."""
    cache.SHARD_DOCUMENTS = SHARD_DOCUMENTS
    fill_cache(documents_of(TEXTS), Pool(Path(pool)), Encoder(choose_encoder(folder), device="cpu", dtype="float32"))


@pytest.mark.parametrize("point", ["pool: shard written", "pool: shard renamed"])
def test_a_killed_run_loses_one_shard_at_most_and_the_next_one_makes_only_what_is_missing(
    point, folder, encoder, tmp_path
):
    whole, killed = Pool(tmp_path / "whole"), Pool(tmp_path / "killed")
    fill_cache(documents_of(TEXTS), whole, encoder)
    assert len(whole.shards()) > 4
    kill("imdb_pipeline_tests.test_embedding_cache:fill", killed.root, folder, nth=2, point=point)
    left = {shard.name for shard in killed.shards()}
    assert len(left) == (2 if point == "pool: shard written" else 3)
    held = killed.rows()
    run = fill_cache(documents_of(TEXTS), killed, encoder)
    assert (run.held, run.embedded) == (held, len(TEXTS) - held)
    assert left <= {shard.name for shard in killed.shards()} == {shard.name for shard in whole.shards()}
    hashes = documents_of(TEXTS)["document_hash"]
    np.testing.assert_array_equal(read_embeddings(hashes, killed), read_embeddings(hashes, whole))


def test_a_day_of_few_changes_embeds_these_and_a_day_without_any_loads_no_weights(folder, encoder, tmp_path):
    pool = Pool(tmp_path / "pool")
    fill_cache(documents_of(TEXTS), pool, encoder)
    shards = {shard: shard.stat().st_mtime_ns for shard in pool.shards()}
    changed = [*TEXTS[1:], "a new one"]
    run = fill_cache(documents_of(changed), pool, encoder)
    assert (run.embedded, run.held) == (1, 79)
    assert all(shard.stat().st_mtime_ns == written for shard, written in shards.items())
    later = Encoder(choose_encoder(str(folder)), device="cpu", dtype="float32")
    assert fill_cache(documents_of(changed), pool, later).embedded == 0
    assert "_model" not in vars(later)


def test_a_damaged_shard_is_put_aside_and_only_its_documents_are_embedded_again(encoder, tmp_path, caplog):
    pool = Pool(tmp_path / "pool")
    fill_cache(documents_of(TEXTS), pool, encoder)
    hashes = documents_of(TEXTS)["document_hash"]
    before = read_embeddings(hashes, pool)
    damaged = pool.shards()[1]
    rows = len(pl.read_parquet(damaged))
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged.write_bytes(content)
    mend_cache(pool, encoder)
    run = fill_cache(documents_of(TEXTS), pool, encoder)
    assert run.embedded == rows
    assert damaged.name in caplog.text
    assert (tmp_path / "pool.damaged" / damaged.name).exists()
    np.testing.assert_array_equal(read_embeddings(hashes, pool), before)


@pytest.mark.parametrize("column", ["embedding", "vector"])
def test_a_whole_shard_of_another_model_is_put_aside(column, encoder, tmp_path, caplog):
    pool = Pool(tmp_path / "pool")
    fill_cache(documents_of(TEXTS), pool, encoder)
    before = read_embeddings(documents_of(TEXTS)["document_hash"], pool)
    foreign = pl.DataFrame(
        {"document_hash": documents_of(TEXTS)["document_hash"], column: np.ones((80, 8), dtype=np.float16)},  # pyright: ignore[reportArgumentType]
    )
    path = pool.add(foreign)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
    mend_cache(pool, encoder)
    assert fill_cache(documents_of(TEXTS), pool, encoder).embedded == 0
    assert "not of this encoder" in caplog.text
    assert path not in pool.shards()
    np.testing.assert_array_equal(read_embeddings(documents_of(TEXTS)["document_hash"], pool), before)


def test_a_text_that_is_not_the_one_of_its_hash_is_never_embedded(encoder, tmp_path):
    documents = documents_of(TEXTS)
    wrong = documents.with_columns(document=pl.col("document").shift(1, fill_value="another"))
    with pytest.raises(PipelineError, match=r"document [0-9a-f]{64}: its text is another; materialize movie_documents"):
        fill_cache(wrong, Pool(tmp_path / "pool"), encoder)
    assert Pool(tmp_path / "pool").shards() == []
