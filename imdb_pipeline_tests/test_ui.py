"""The Dagster UI as `imdb-pipeline ui` starts it: over its GraphQL, and in a browser."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imdb_pipeline.orchestration.stages import ALL_STAGES, STAGES
from imdb_pipeline.store import Store
from imdb_pipeline_tests.browser import browse
from imdb_pipeline_tests.conftest import DAY, MOVIES, copy_home
from imdb_pipeline_tests.serving import date_files, serve_folder
from imdb_pipeline_tests.tiny_dumps import write_dumps

pytestmark = [pytest.mark.slow, pytest.mark.extra]

STARTING_SECONDS = 90

LAUNCH = """mutation ($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
STATUS = """query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } }
  logsForRun(runId: $run, limit: 1000) { ... on EventConnection { events { ... on MessageEvent { message } } } } }"""
CONTENT = """{ repositoriesOrError { ... on RepositoryConnection { nodes { location { name }
  schedules { name } sensors { name } jobs { name } assetNodes { assetKey { path }
  latestMaterializationByPartition(partitions: ["2026-03-04"]) { runId } hasAssetChecks } } } }
  runsOrError { ... on Runs { results { jobName status } } } }"""


RUNS = """{ runsOrError { ... on Runs { results { jobName status tags { key value } } } } }"""
STATES = """{ repositoriesOrError { ... on RepositoryConnection { nodes {
  sensors { sensorState { status } } schedules { scheduleState { status } } } } } }"""
SENSOR_RUN_SECONDS = 480


class Ui:
    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, query: str, **variables: object) -> dict:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.address}/graphql", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer
        return answer["data"]

    def materialize(self, *assets: str) -> tuple[str, list[str]]:
        """Return the status and the log messages of a run of these assets, launched as the button does."""
        params = {
            "selector": {
                "repositoryLocationName": "imdb_pipeline",
                "repositoryName": "__repository__",
                "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": [asset]} for asset in assets],
            },
            "runConfigData": "{}",
            "mode": "default",
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": DAY}]},
        }
        launched = self.ask(LAUNCH, params=params)["launchPipelineExecution"]
        run = launched["run"]["runId"]
        for _ in range(240):
            answer = self.ask(STATUS, run=run)
            if answer["runOrError"]["status"] in ("SUCCESS", "FAILURE", "CANCELED"):
                break
            time.sleep(0.5)
        events = answer["logsForRun"]["events"]
        return answer["runOrError"]["status"], [event["message"] for event in events if event.get("message")]


@pytest.fixture(scope="module")
def ui_home(held_home, tmp_path_factory):
    return copy_home(held_home, tmp_path_factory.mktemp("ui") / "home")


@contextlib.contextmanager
def opened(home: Path) -> Iterator[Ui]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "imdb_pipeline.cli", "ui", "--home", str(home), "--port", str(port)]
    log = (home.parent / "ui.log").open("w")
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(STARTING_SECONDS):
            try:
                urllib.request.urlopen(f"{address}/server_info", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, (home.parent / "ui.log").read_text()
                time.sleep(1)
        yield Ui(address)
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
        log.close()


@pytest.fixture(scope="module")
def ui(ui_home):
    with opened(ui_home) as started:
        yield started


def test_the_ui_shows_the_run_the_assets_the_schedules_and_the_sensor(ui):
    content = ui.ask(CONTENT)
    node = content["repositoriesOrError"]["nodes"][0]
    assert node["location"]["name"] == "imdb_pipeline"
    held = {asset["assetKey"]["path"][0]: asset for asset in node["assetNodes"]}
    assert set(held) == set(ALL_STAGES)
    assert all(held[name]["latestMaterializationByPartition"][0]["runId"] for name in STAGES)
    assert {name for name, asset in held.items() if asset["hasAssetChecks"]} == {
        name for name, stage in ALL_STAGES.items() if stage.checks
    }
    assert {schedule["name"] for schedule in node["schedules"]} == {"late_refresh", "retraining", "cleaning"}
    assert {sensor["name"] for sensor in node["sensors"]} == {"new_dumps", "watchdog", "failed_runs", "succeeded_runs"}
    assert {"everything", "daily", "training"} <= {job["name"] for job in node["jobs"]}
    assert {"jobName": "everything", "status": "SUCCESS"} in content["runsOrError"]["results"]


def test_the_ui_listens_on_loopback_alone(ui):
    port = int(ui.address.rsplit(":", 1)[1])
    listening = Path("/proc/net/tcp").read_text().splitlines()[1:]
    addresses = {line.split()[1].split(":")[0] for line in listening if line.split()[1].endswith(f":{port:04X}")}
    assert addresses == {"0100007F"}


def test_assets_materialize_from_the_ui_in_processes_of_their_own_and_their_logs_are_shown(ui, ui_home):
    before = {asset: Store(ui_home / "store").get(asset, DAY) for asset in ("rating_split", "mean_predictor")}
    status, messages = ui.materialize("rating_split", "mean_predictor")
    assert status == "SUCCESS", messages
    for asset, revision in before.items():
        again = Store(ui_home / "store").get(asset, DAY)
        assert again.id != revision.id
        assert again.data_hash == revision.data_hash
    assert any(message.startswith("rating_split") and f"{MOVIES} rows" in message for message in messages)


@pytest.mark.timeout(900)
def test_the_sensor_of_a_ui_that_is_left_alone_starts_the_run_of_a_new_day(tmp_path):
    source, home = write_dumps(tmp_path / "source"), tmp_path / "home"
    date_files(source, datetime(2026, 3, 4, 12, tzinfo=UTC))
    home.mkdir()
    with serve_folder(source) as (url, _):
        (home / "settings.toml").write_text(f'source = "{url}"\n')
        with opened(home) as ui:
            for _ in range(SENSOR_RUN_SECONDS):
                runs = ui.ask(RUNS)["runsOrError"]["results"]
                if runs and runs[0]["status"] in ("SUCCESS", "FAILURE"):
                    break
                time.sleep(1)
            (run,) = runs
            tags = {tag["key"]: tag["value"] for tag in run["tags"]}
            assert (run["status"], run["jobName"]) == ("SUCCESS", "everything")
            assert (tags["dagster/sensor_name"], tags["dagster/partition"]) == ("new_dumps", DAY)
            states = ui.ask(STATES)["repositoriesOrError"]["nodes"][0]
            switches = [each[kind] for kind in ("sensorState", "scheduleState") for each in states[kind[:-5] + "s"]]
            assert [switch["status"] for switch in switches] == ["RUNNING"] * 7
    assert Store(home / "store").released("movies").day == DAY


def test_the_asset_page_shows_checks_and_metadata_in_a_browser(ui, tmp_path):
    page, _ = browse(f"{ui.address}/assets/movies", tmp_path)
    for text in ("movies", "One row per movie or tvMovie", "title_basics_dump", "most voted", DAY):
        assert text in page, text
    page, _ = browse(f"{ui.address}/assets/movies?view=checks", tmp_path)
    assert "readable_rows" in page
    assert "movies_table" in page
