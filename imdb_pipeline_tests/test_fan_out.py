"""A day's documents embedded by several workers: real Dagster runs over several processes, a worker killed in the
middle, shares that are missing, and a local Ray cluster.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import imdb_pipeline
from imdb_pipeline.catalogue.documents import document_hash
from imdb_pipeline.embeddings.cache import fill_cache, load_embeddings, read_embeddings
from imdb_pipeline.embeddings.encoder import choose_encoder, load_encoder
from imdb_pipeline.orchestration.fan_out import ITEMS_A_SHARE, Share
from imdb_pipeline.store import Pool, Store
from imdb_pipeline_tests.fan_out_runs import DAY, KILL_ONCE
from imdb_pipeline_tests.test_embeddings import tiny_bert

pytestmark = pytest.mark.slow

WORKERS = 3
DOCUMENTS = 2 * ITEMS_A_SHARE + 1
"""The fewest that make three shares."""
SHARD = 512


@dataclass(frozen=True)
class Ran:
    run: str
    success: bool
    events: list[dict[str, str]]

    def of(self, kind: str, step: str) -> list[dict[str, str]]:
        """Return the events of a kind of the steps whose name begins so."""
        return [each for each in self.events if each["type"] == kind and each["step"].startswith(step)]


def run_in_child(home: Path, *arguments: str, **variables: str) -> Ran:
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(imdb_pipeline.__file__).parent.parent),
        "IMDB_PIPELINE_HOME": str(home),
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    command = [sys.executable, "-m", "imdb_pipeline_tests.fan_out_runs", str(home), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280, check=False)
    assert ran.returncode == 0, ran.stderr
    return Ran(**json.loads(ran.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("tiny") / "encoder")


@pytest.fixture(scope="module")
def documents() -> pl.DataFrame:
    texts = [f'{{"title": "Film {i}"}}' for i in range(DOCUMENTS)]
    return pl.DataFrame(
        {
            "tconst": [f"tt{i:07}" for i in range(DOCUMENTS)],
            "document_hash": [document_hash(text) for text in texts],
            "document": texts,
        }
    )


@pytest.fixture
def home(tmp_path, encoder, documents) -> Path:
    """A home with the documents of a day, three workers, and no vectors."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "settings.toml").write_text(
        f'encoder = "{encoder}"\ndevice = "cpu"\n\n[execution]\nworkers = {WORKERS}\n'
    )
    store = Store(folder / "store")
    store.pool("documents").add(documents.select("document_hash", "document"))
    with store.stage("movie_documents") as staged:
        documents.select("tconst", "document_hash").write_parquet(staged / "documents.parquet")
        store.publish(
            staged,
            asset="movie_documents",
            day=DAY,
            key="of the tests",
            code_version="1",
            inputs={},
            settings={},
            rows=DOCUMENTS,
            info={},
        )
    return folder


def shards_of(home: Path) -> list[pl.DataFrame]:
    (pool,) = [pool for pool in Store(home / "store").pools() if pool.root.name.startswith("embeddings_")]
    return [pl.read_parquet(shard) for shard in pool.shards()]


@pytest.mark.extra
def test_a_worker_that_is_killed_is_started_again_and_only_its_lost_documents_are_embedded_again(
    home, tmp_path, encoder, documents
):
    ran = run_in_child(home, **{KILL_ONCE: str(tmp_path / "killed")})
    assert ran.success, ran.events
    assert (tmp_path / "killed").exists()
    assert len(ran.of("STEP_RESTARTED", "movie_embeddings.embed_share")) == 1
    assert len(ran.of("STEP_SUCCESS", "movie_embeddings.embed_share")) == WORKERS

    shards = shards_of(home)
    assert sum(map(len, shards)) == DOCUMENTS  # nothing that a shard holds was embedded twice
    revision = Store(home / "store").get("movie_embeddings", DAY)
    assert revision.manifest["info"]["embedded"] == DOCUMENTS - 2 * SHARD  # what the killed one published was kept
    assert revision.manifest["rows"] == DOCUMENTS
    listed, vectors = load_embeddings(revision, Store(home / "store"))

    plain = Pool(tmp_path / "plain")
    fill_cache(
        documents, plain, load_encoder(choose_encoder(str(encoder)), device="cpu", dtype="float32"), device="cpu"
    )
    np.testing.assert_allclose(vectors, read_embeddings(listed["document_hash"], plain), atol=3e-4)


@pytest.mark.parametrize("of", [1, 2, 3, 7, 16])
def test_every_document_is_of_exactly_one_share(of, documents):
    hashes = pl.col("document_hash")
    held = documents.select(
        pl.sum_horizontal(Share(number + 1, of).holds(hashes).cast(pl.Int64) for number in range(of))
    )
    assert held.to_series().unique().to_list() == [1]
    sizes = [len(documents.filter(Share(number + 1, of).holds(hashes))) for number in range(of)]
    assert max(sizes) < 1.3 * min(sizes)
