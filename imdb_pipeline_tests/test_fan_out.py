"""A day's documents embedded by several workers: real Dagster runs over several processes, a worker killed in the
middle, shares that are missing, and a local Ray cluster.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

import imdb_pipeline
from imdb_pipeline.catalogue.documents import document_hash
from imdb_pipeline.embeddings.cache import fill_cache, load_embeddings, read_embeddings
from imdb_pipeline.embeddings.encoder import Encoder
from imdb_pipeline.embeddings.model_files import choose_encoder
from imdb_pipeline.errors import InputError
from imdb_pipeline.orchestration.executors import GPU_TAGS, choose_executor
from imdb_pipeline.orchestration.fan_out import Share
from imdb_pipeline.orchestration.resources import Accelerator
from imdb_pipeline.settings import ExecutionSettings, Settings
from imdb_pipeline.store import Pool, Store
from imdb_pipeline_tests.children import started
from imdb_pipeline_tests.deployment import DEADLINE_SECONDS, wait_for
from imdb_pipeline_tests.fan_out_runs import DAY, KILL_ONCE, SHARD, SHARE
from imdb_pipeline_tests.tiny_encoders import write_encoder

pytestmark = pytest.mark.slow

WORKERS = 3
DOCUMENTS = 2 * SHARE + 1
"""The fewest that make three shares."""


@dataclass(frozen=True)
class Ran:
    run: str
    success: bool
    pools: dict[str, int]
    events: list[dict[str, str]]

    def of(self, kind: str, step: str) -> list[dict[str, str]]:
        """Return the events of a kind of the steps whose name begins so."""
        return [each for each in self.events if each["type"] == kind and each["step"].startswith(step)]


def child_environment(**variables: str) -> dict[str, str]:
    root = Path(imdb_pipeline.__file__).parent.parent
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # a job of Ray calls `dagster`
    return {**os.environ, "PATH": path, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", **variables}


def run_in_child(home: Path, *arguments: str, **variables: str) -> Ran:
    environment = child_environment(IMDB_PIPELINE_HOME=str(home), **variables)
    command = [sys.executable, "-m", "imdb_pipeline_tests.fan_out_runs", str(home), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if ran.returncode == -signal.SIGKILL:
        return Ran("dead", success=False, pools={}, events=[])
    assert ran.returncode == 0, ran.stderr
    return Ran(**json.loads(ran.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("tiny") / "encoder", length=64, num_hidden_layers=1)


@pytest.fixture(scope="module")
def documents() -> pl.DataFrame:
    texts = [f'{{\n  "title": "Film {i}",\n  "genres": null\n}}' for i in range(DOCUMENTS)]
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
    assert ran.pools["gpu"] == WORKERS

    shards = shards_of(home)
    assert sum(map(len, shards)) == 2 * DOCUMENTS  # with the titles; nothing that a shard holds was embedded twice
    revision = Store(home / "store").get("movie_embeddings", DAY)
    assert revision.manifest["info"]["embedded"] == DOCUMENTS - 2 * SHARD  # what the killed one published was kept
    assert revision.manifest["rows"] == DOCUMENTS
    listed, vectors = load_embeddings(revision, Store(home / "store"))

    plain = Pool(tmp_path / "plain")
    fill_cache(documents, plain, Encoder(choose_encoder(str(encoder)), device="cpu", dtype="float32"))
    np.testing.assert_allclose(vectors, read_embeddings(listed["document_hash"], plain), atol=3e-4)


@pytest.mark.extra
def test_a_share_that_a_re_execution_skips_is_missed_and_the_next_run_embeds_what_is_left(home, tmp_path, documents):
    dead = run_in_child(home, "alone", **{KILL_ONCE: str(tmp_path / "killed")})  # in the first share, before the others
    again = run_in_child(home, "alone", dead.run)
    (failure,) = again.of("STEP_FAILURE", "movie_embeddings.gather")
    assert "movie_embeddings: share 2, 3 of 3 did not end" in failure["message"]
    assert "materialize movie_embeddings again" in failure["message"]
    assert Store(home / "store").days("movie_embeddings") == []
    held = len(pl.concat(shards_of(home)).join(documents, on="document_hash", how="semi"))  # without the titles

    assert run_in_child(home, "command").success
    info = Store(home / "store").get("movie_embeddings", DAY).manifest["info"]
    assert (info["held"], info["embedded"]) == (held, DOCUMENTS - held)


@pytest.mark.parametrize("of", [1, 2, 3, 7, 16])
def test_every_document_is_of_exactly_one_share_and_the_shares_are_of_like_size(of):
    documents = pl.DataFrame({"document_hash": [document_hash(str(i)) for i in range(20_000)]})
    hashes = pl.col("document_hash")
    held = documents.select(
        pl.sum_horizontal(Share(number + 1, of).holds(hashes).cast(pl.Int64) for number in range(of))
    )
    assert held.to_series().unique().to_list() == [1]
    sizes = [len(documents.filter(Share(number + 1, of).holds(hashes))) for number in range(of)]
    assert max(sizes) < 1.2 * min(sizes)


@pytest.fixture
def ray_cluster(tmp_path) -> Iterator[tuple[str, dict[str, str]]]:
    """A Ray cluster of one machine, on loopback alone and with a token: its address, and its clients' variables."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray keeps to 127.0.0.1, where it would take the host's address
    }
    ray = Path(sys.executable).with_name("ray")
    assert ray.exists(), "Ray is not installed: pip install '.[ray]', or run `make test-all`"
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # the path of a socket in it must be short
    where = ["--node-ip-address", "127.0.0.1", "--port", "0", "--dashboard-host", "127.0.0.1", "--temp-dir", folder]
    size = ["--dashboard-port", str(port), "--num-cpus", str(WORKERS + 1), "--object-store-memory", "100000000"]
    address = f"http://127.0.0.1:{port}"
    command = [ray, "start", "--head", "--block", "--disable-usage-stats", *where, *size]
    environment = child_environment(**variables)
    try:
        with (
            (tmp_path / "ray.log").open("wb") as log,
            started(command, group=True, env=environment, stdout=log, stderr=subprocess.STDOUT) as head,
        ):

            def up() -> bool:
                try:
                    urllib.request.urlopen(f"{address}/api/version", timeout=5).close()
                except urllib.error.HTTPError:
                    return True  # it asks for the token
                except OSError:
                    assert head.poll() is None, (tmp_path / "ray.log").read_text()
                return False

            wait_for(up, "Ray")
            yield address, variables
            head.terminate()
            head.wait(DEADLINE_SECONDS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.extra
def test_the_shares_run_as_jobs_of_a_ray_cluster(home, ray_cluster):
    address, variables = ray_cluster
    (home / "ray.yaml").write_text(f"ray:\n  address: {address}\n  num_cpus: 1\n")
    path = home / "settings.toml"
    text = path.read_text().replace(f"workers = {WORKERS}", 'workers = 2\nexecutor = "ray"\nconfig = "ray.yaml"')
    path.write_text(text)
    ran = run_in_child(home, **variables)
    assert ran.success, ran.events
    started = ran.of("STEP_WORKER_STARTING", "movie_embeddings.embed_share")
    assert len(started) == 2
    assert all("in Ray job" in event["message"] for event in started)
    revision = Store(home / "store").get("movie_embeddings", DAY)
    assert revision.manifest["info"]["embedded"] == revision.manifest["info"]["titles"] == DOCUMENTS
    assert sum(map(len, shards_of(home))) == 2 * DOCUMENTS


def specs_in_child(home: Path) -> dict[str, Any]:
    """Return what the definitions of a home say of ``movie_embeddings``."""
    code = "from imdb_pipeline_tests.fan_out_runs import describe; describe()"
    environment = child_environment(IMDB_PIPELINE_HOME=str(home))
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_the_asset_is_the_same_however_many_workers_there_are(tmp_path):
    (tmp_path / "settings.toml").write_text("[execution]\nworkers = 3\n")
    several, one = specs_in_child(tmp_path), specs_in_child(tmp_path / "none")
    assert several.pop("ops") == {"plan": None, "embed_share": "gpu", "gather": "gpu"}
    assert one.pop("ops") == {"movie_embeddings": "gpu"}
    assert not any(several.pop("tags of a GPU").values())
    assert not any(one.pop("tags of a GPU").values())
    assert several == one


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (None, "executor.yaml: cannot be read"),
        ("- 1\n", "executor.yaml: not a mapping"),
        ("a: [", "executor.yaml: cannot be read"),
        ("max_processes: 8\n", "executor.yaml: wrong options of the executor multiprocess .*max_processes"),
    ],
)
def test_options_that_the_executor_does_not_have_are_refused_naming_the_file(options, message, tmp_path):
    if options is not None:
        (tmp_path / "executor.yaml").write_text(options)
    with pytest.raises(InputError, match=message):
        choose_executor(ExecutionSettings(config="executor.yaml"), tmp_path)


@pytest.mark.parametrize(
    ("execution", "file", "steps"),
    [
        (ExecutionSettings(), "", 2),
        (ExecutionSettings(workers=4), "", 4),
        (ExecutionSettings(workers=4, config="executor.yaml"), "max_concurrent: 3\n", 3),
    ],
)
def test_as_many_steps_run_at_once_as_there_are_workers_unless_the_options_say_otherwise(
    execution, file, steps, tmp_path
):
    (tmp_path / "executor.yaml").write_text(file)
    assert options_of(choose_executor(execution, tmp_path))["max_concurrent"] == steps


def options_of(executor: dg.ExecutorDefinition) -> dict:
    value = executor.apply_config_mapping({"config": {}}).value
    assert value is not None
    return value["config"]


def test_a_home_whose_settings_cannot_be_read_still_loads_and_its_runs_say_so(tmp_path):
    (tmp_path / "settings.toml").write_text("[execution]\nworkers = 0\n")
    assert specs_in_child(tmp_path)["ops"] == {"movie_embeddings": "gpu"}


@pytest.mark.extra
def test_the_options_shown_for_ray_and_kubernetes_are_those_of_their_executors():
    import yaml
    from dagster_k8s.job import get_user_defined_k8s_config  # pyright: ignore[reportMissingImports]
    from dagster_ray.configs import RayExecutionConfig  # pyright: ignore[reportMissingImports]

    shown = Path(imdb_pipeline.__file__).parent.parent / "docker"
    ray = options_of(choose_executor(ExecutionSettings(executor="ray", config=str(shown / "ray.yaml")), Path("/home")))
    assert ray["ray"]["env_vars"] == ["IMDB_PIPELINE_HOME=/home"]
    path = shown / "kubernetes" / "executor.yaml"
    pods = options_of(choose_executor(ExecutionSettings(executor="kubernetes", config=str(path)), Path("/home")))
    assert pods["env_vars"] == ["IMDB_PIPELINE_HOME=/home"]
    claim = yaml.safe_load((shown / "kubernetes" / "home.yaml").read_text())
    assert pods["volumes"][0]["persistent_volume_claim"]["claim_name"] == claim["metadata"]["name"]

    tags = {name: json.dumps(value) for name, value in GPU_TAGS.items()}
    assert RayExecutionConfig.from_tags(tags).num_gpus == 1
    container = get_user_defined_k8s_config(tags).container_config
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 1}


def test_a_cluster_is_asked_for_gpus_where_the_device_is_cuda(tmp_path):
    (tmp_path / "settings.toml").write_text('device = "cuda"\n\n[execution]\nworkers = 2\n')
    assert specs_in_child(tmp_path)["tags of a GPU"] == {"plan": {}, "embed_share": GPU_TAGS, "gather": GPU_TAGS}


def test_a_step_that_uses_no_gpu_runs_on_a_machine_without_cuda():
    import torch

    compute = Accelerator(device="cuda").choose(Settings(), gpu=False)
    assert compute.device == ("cuda" if torch.cuda.is_available() else "cpu")


def take_a_gpu(folder: Path) -> subprocess.Popen[str]:
    """Start a process that takes one of two GPUs, says which, and keeps it."""
    code = (
        "import sys; from pathlib import Path; from imdb_pipeline.compute import take_free\n"
        "with take_free(['GPU-a', 'GPU-b'], Path(sys.argv[1])) as index: print(index, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=child_environment())


def test_a_worker_takes_a_gpu_that_no_other_has_and_one_that_dies_gives_it_back(tmp_path):
    workers = [take_a_gpu(tmp_path), take_a_gpu(tmp_path)]
    try:
        held = [said(worker) for worker in workers]
        assert sorted(held) == ["0", "1"]
        workers.append(take_a_gpu(tmp_path))
        workers[1].kill()
        workers[1].wait()
        assert said(workers[2]) == held[1]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def said(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    return worker.stdout.readline().strip()
