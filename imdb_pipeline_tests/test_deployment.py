"""docker/compose.yaml's services as processes, with docker/dagster.yaml as it is, against a real PostgreSQL."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from imdb_pipeline.store import Store
from imdb_pipeline_tests.commands import run_command
from imdb_pipeline_tests.conftest import DAY, copy_home
from imdb_pipeline_tests.deployment import (
    DEADLINE_SECONDS,
    PASSWORD,
    Deployment,
    ask_postgres,
    free_port,
    postgres,
    postgres_folder,
    wait_for,
)
from imdb_pipeline_tests.test_docker import DAGSTER_FILES
from imdb_pipeline_tests.test_production import compose_lines
from imdb_pipeline_tests.webhook import Webhook, listening_webhook

pytestmark = [pytest.mark.slow, pytest.mark.extra]

LONG_MAP = "[map]\nepochs = 1000000\n"
"""UMAP is at it for minutes, with a place in the pool ``gpu``."""
NEXT_DAY = "2026-03-05"
COPYING = {"tar", "pg_dump", "pg_restore"}
LAUNCH = """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
RUN = """query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } }
  logsForRun(runId: $run, limit: 5000) { ... on EventConnection { events { __typename
  ... on MessageEvent { message stepKey } } } } }"""
POOL = '{ instance { concurrencyLimit(concurrencyKey: "gpu") { slotCount claimedSlots { runId } pendingStepCount } } }'
TICKS = """query ($selector: InstigationSelector!) { instigationStateOrError(instigationSelector: $selector) {
  ... on InstigationState { status ticks { timestamp status } } } }"""
FAILED = "{ runsOrError(filter: {statuses: [FAILURE]}) { ... on Runs { results { runId } } } }"
HEALTH = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    with listening_webhook() as listening:
        yield listening


@pytest.fixture(scope="module")
def deployed(held_home, tmp_path_factory, webhook) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployed")
    home = copy_home(held_home, folder / "home")
    shutil.rmtree(home / "dagster")
    write_settings(home, webhook.address)
    with postgres() as port:
        deployment = Deployment(home, folder, postgres_port=port)
        try:
            start(deployment)
            yield deployment
        finally:
            deployment.stop()


def start(deployment: Deployment) -> None:
    migrate = deployment.start("migrate")
    port = free_port()
    grpc = [*deployment.command("code")[:3], "--host", "127.0.0.1", "--port", str(port)]
    ticking = Path(__file__).parent / "ticking.py"  # by its path: the tests are not installed
    deployment.start("ticking", command=[*grpc, "--python-file", str(ticking)])
    second = deployment.folder / "ticking.yaml"
    second.write_text(f"load_from:\n  - grpc_server: {{host: 127.0.0.1, port: {port}, location_name: ticking}}\n")
    deployment.extra = ["--workspace", str(second)]
    assert migrate.wait(timeout=DEADLINE_SECONDS) == 0, deployment.log("migrate")
    del deployment.processes["migrate"]
    deployment.start("code")
    deployment.healthy("code")
    for service in ("webserver", "daemon"):
        deployment.start(service)
    for service in ("webserver", "daemon"):
        deployment.healthy(service)


def write_settings(home: Path, webhook: str, more: str = "") -> None:
    """What the home was made with, the webhook, and more."""
    text = (home / "settings.toml").read_text().split("[alerts]")[0]
    (home / "settings.toml").write_text(f'{text}[alerts]\nwebhook = "{webhook}"\nstale_hours = 1000000\n{more}')


def launch(deployment: Deployment, *assets: str, reuse: bool = False) -> str:
    """Launch these assets as a run of the job ``everything``, and return its id."""
    tags = [{"key": "dagster/partition", "value": DAY}]
    tags += [{"key": "imdb_pipeline/reuse", "value": "yes"}] if reuse else []
    params = {
        "selector": {
            "repositoryLocationName": "imdb_pipeline",
            "repositoryName": "__repository__",
            "jobName": "everything",
            "assetSelection": [{"path": [asset]} for asset in assets],
        },
        "runConfigData": "{}",
        "mode": "default",
        "executionMetadata": {"tags": tags},
    }
    launched = deployment.ask(LAUNCH, params=params)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return launched["run"]["runId"]


def status(deployment: Deployment, run: str) -> str:
    return deployment.ask(RUN, run=run)["runOrError"]["status"]


def events(deployment: Deployment, run: str) -> list[dict[str, Any]]:
    return deployment.ask(RUN, run=run)["logsForRun"]["events"]


def ended(deployment: Deployment, run: str) -> str:
    """Wait for the end of a run, and return how it ended."""
    wait_for(lambda: status(deployment, run) in ("SUCCESS", "FAILURE", "CANCELED"), f"the end of run {run}")
    return status(deployment, run)


def descendants(pid: int) -> set[int]:
    """The processes below one, by /proc."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found, new = set(), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new}
        found |= new
    return found


def wait_for_the_map(deployment: Deployment, run: str) -> None:
    wait_for(
        lambda: any("movie_map: started" in (event.get("message") or "") for event in events(deployment, run)),
        f"the map of run {run}",
    )


def test_every_service_is_healthy_and_what_dagster_stores_is_in_postgresql(deployed):
    statuses = deployed.ask(HEALTH)["instance"]["daemonHealth"]["allDaemonStatuses"]
    required = {each["daemonType"] for each in statuses if each["required"]}
    assert {"SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR", "MONITORING"} <= required
    tables = {name for (name,) in ask_postgres(deployed.postgres_port, "SELECT tablename FROM pg_tables")}
    assert {"runs", "event_logs", "job_ticks"} <= tables


def test_a_run_launched_over_graphql_goes_through_the_queue_and_succeeds(deployed):
    before = Store(deployed.home / "store").get("mean_predictor", DAY)
    run = launch(deployed, "mean_predictor")
    assert ended(deployed, run) == "SUCCESS", deployed.log("code")
    kinds = [event["__typename"] for event in events(deployed, run)]
    order = [kinds.index(f"Run{each}Event") for each in ("Enqueued", "Starting", "Start")]
    assert order == sorted(order), kinds
    after = Store(deployed.home / "store").get("mean_predictor", DAY)
    assert after.id != before.id
    assert after.data_hash == before.data_hash
    assert list((deployed.files / run / "compute_logs").iterdir())


def test_a_run_whose_code_server_is_killed_ends_with_all_its_processes_and_the_next_one_succeeds(deployed, webhook):
    before = Store(deployed.home / "store").get("movie_map", DAY)
    write_settings(deployed.home, webhook.address, LONG_MAP)
    run = launch(deployed, "movie_map")
    wait_for_the_map(deployed, run)
    assert deployed.ask(POOL)["instance"]["concurrencyLimit"]["claimedSlots"] == [{"runId": run}]
    workers = descendants(deployed.processes["code"].pid)
    assert len(workers) >= 2
    deployed.kill("code")
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the run's processes to end")
    assert Store(deployed.home / "store").get("movie_map", DAY).id == before.id
    deployed.start("code")
    deployed.healthy("code")
    write_settings(deployed.home, webhook.address)
    following = launch(deployed, "movie_map", reuse=True)
    assert ended(deployed, run) == "FAILURE"
    assert "its process was killed" in events(deployed, run)[-1]["message"], events(deployed, run)[-3:]
    assert ended(deployed, following) == "SUCCESS", deployed.log("code")
    assert deployed.ask(POOL)["instance"]["concurrencyLimit"]["claimedSlots"] == []


def test_a_daemon_that_is_killed_goes_on_where_it_was_and_does_nothing_twice(deployed, webhook):
    failed = deployed.ask(FAILED)["runsOrError"]["results"]  # of the test before, where it has run
    run = launch(deployed, "mean_predictor")
    wait_for(lambda: status(deployed, run) == "STARTED", "the run to start")
    deployed.kill("daemon")
    waiting = launch(deployed, "mean_predictor")
    held = ticks(deployed)
    deployed.start("daemon")
    deployed.healthy("daemon")
    assert [ended(deployed, each) for each in (run, waiting)] == ["SUCCESS", "SUCCESS"]
    wait_for(lambda: len(ticks(deployed)) > len(held), "the schedule to go on")
    minutes = sorted(ticks(deployed))
    assert [later - earlier for earlier, later in pairwise(minutes)] == [60] * (len(minutes) - 1)
    events = ["run_failed", "run_recovered"] if failed else []
    told = "the webhook to be told of the run that was killed, and of the next"
    wait_for(lambda: len(webhook.events) >= len(events), told)
    assert webhook.events == events


def test_what_is_copied_as_the_page_says_can_be_restored_as_it_says(deployed, tmp_path):
    create, dump, extract, restore = filter(None, map(copying, compose_lines()))
    there = {"PGHOST": "127.0.0.1", "PGPORT": str(deployed.postgres_port), "PGPASSWORD": PASSWORD}

    def execute(words: list[str], **streams: Any) -> None:
        subprocess.run(words, check=True, timeout=DEADLINE_SECONDS, env={**os.environ, **there}, **streams)

    with (tmp_path / "home.tar").open("wb") as archive:
        execute([str(deployed.home) if word == "/srv/imdb" else word for word in create], stdout=archive)
    home = tmp_path / "home"
    home.mkdir()
    with (tmp_path / "home.tar").open("rb") as archive:
        execute([str(home) if word == "/srv/imdb" else word for word in extract], stdin=archive)
    assert Store(home / "store").current() == Store(deployed.home / "store").current()
    assert run_command("leaderboard", "--home", home).status == 0

    counting = "SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM job_ticks)"
    with (tmp_path / "dagster.dump").open("wb") as archive:
        execute([str(postgres_folder() / dump[0]), *dump[1:]], stdout=archive)
    before = ask_postgres(deployed.postgres_port, counting)
    ask_postgres(deployed.postgres_port, "CREATE DATABASE restored", database="postgres")
    with (tmp_path / "dagster.dump").open("rb") as archive:
        restore[restore.index("dagster", restore.index("--dbname"))] = "restored"
        execute([str(postgres_folder() / restore[0]), *restore[1:]], stdin=archive)
    ((runs, ticked),) = ask_postgres(deployed.postgres_port, counting, database="restored")
    assert runs == before[0][0] > 0
    assert 0 < ticked <= before[0][1]


def copying(words: list[str]) -> list[str]:
    """What a line of Compose runs in the container, where that copies something."""
    return next((words[at:] for at, word in enumerate(words) if word in COPYING), [])


def test_a_code_server_that_is_told_to_stop_ends_its_run_in_order(deployed, webhook):
    write_settings(deployed.home, webhook.address, LONG_MAP)
    run = launch(deployed, "movie_map")
    wait_for_the_map(deployed, run)
    process = deployed.processes["code"]
    os.killpg(process.pid, signal.SIGTERM)  # as the init process of its container does
    assert ended(deployed, run) in ("FAILURE", "CANCELED")
    assert "its process was killed" not in str(events(deployed, run))
    process.wait(timeout=DEADLINE_SECONDS)


def test_a_command_in_a_container_uses_the_same_dagster_and_nothing_is_written_beside_it(deployed, monkeypatch):
    for name, value in deployed.variables("code").items():
        monkeypatch.setenv(name, value)
    fetched = run_command("fetch", "--home", deployed.home, "--day", NEXT_DAY)
    assert fetched.status == 0, fetched.err
    (run,) = re.findall(r"Dagster run (\S+)", fetched.out)
    assert status(deployed, run) == "SUCCESS"
    assert [path for path in deployed.settings.rglob("*") if path.is_file() and path.name not in DAGSTER_FILES] == []
    assert not (deployed.home / "dagster").exists()


def ticks(deployment: Deployment) -> list[int]:
    """The times that the schedule of every minute has ticked for, in seconds since 1970."""
    selector = {"repositoryLocationName": "ticking", "repositoryName": "__repository__", "name": "every_minute"}

    def found() -> dict:  # an error while the webserver loads the location again
        state = deployment.ask(TICKS, selector=selector)["instigationStateOrError"]
        return state if "status" in state else {}

    state = wait_for(found, "the schedule of every minute")
    assert state["status"] == "RUNNING"
    return [int(tick["timestamp"]) for tick in state["ticks"]]
