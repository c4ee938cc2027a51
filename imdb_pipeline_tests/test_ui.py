"""The Dagster UI as `imdb-pipeline ui` starts it: over its GraphQL, and in a browser."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imdb_pipeline.orchestration.stages import ALL_STAGES, STAGES
from imdb_pipeline.store import Store
from imdb_pipeline_tests.browser import browse
from imdb_pipeline_tests.conftest import DAY, MOVIES, copy_home
from imdb_pipeline_tests.deployment import free_port, wait_for
from imdb_pipeline_tests.process_table import children, members
from imdb_pipeline_tests.serving import date_files, serve_folder
from imdb_pipeline_tests.tiny_dumps import write_dumps

pytestmark = [pytest.mark.slow, pytest.mark.extra, pytest.mark.timeout(1800)]

STARTING_SECONDS = 600
RUN_SECONDS = 600
ENDING_SECONDS = 120
"""Twice what a UI may take to end all that it started."""
ENDED = ("SUCCESS", "FAILURE", "CANCELED")

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
SENSOR_RUN_SECONDS = 1200


class Ui:
    def __init__(self, address: str, process: subprocess.Popen) -> None:
        self.address = address
        self.process = process

    def group(self) -> int:
        """The process group of all that it has started; it has a guard."""

        def guarded() -> list[str]:
            assert self.process.poll() is None
            return re.findall(r"--guard (\d+)", " ".join(children(self.process.pid).values()))

        return int(wait_for(guarded, "the guard", seconds=STARTING_SECONDS)[0])

    def ask(self, query: str, **variables: object) -> dict:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.address}/graphql", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer
        return answer["data"]

    def launch(self, *assets: str) -> str:
        """Launch a run of these assets as the button does."""
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
        return self.ask(LAUNCH, params=params)["launchPipelineExecution"]["run"]["runId"]

    def state(self, run: str) -> tuple[str, list[str]]:
        """Return the status and the log messages of a run."""
        answer = self.ask(STATUS, run=run)
        events = answer["logsForRun"]["events"]
        return answer["runOrError"]["status"], [event["message"] for event in events if event.get("message")]

    def materialize(self, *assets: str) -> tuple[str, list[str]]:
        """Return the status and the log messages of a run of these assets, once it has ended."""
        run = self.launch(*assets)
        wait_for(lambda: self.state(run)[0] in ENDED, "the end of the run", seconds=RUN_SECONDS)
        return self.state(run)


def command_of(home: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "imdb_pipeline.cli", "ui", "--home", str(home), "--port", str(port)]


@pytest.fixture(scope="module")
def ui_home(held_home, tmp_path_factory):
    return copy_home(held_home, tmp_path_factory.mktemp("ui") / "home")


@contextlib.contextmanager
def opened(home: Path) -> Iterator[Ui]:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    log = home.parent / "ui.log"

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(f"{address}/server_info", timeout=60).close()
        except OSError:
            return False
        return True

    with (
        log.open("w") as output,
        subprocess.Popen(command_of(home, port), stdout=output, stderr=subprocess.STDOUT) as process,
    ):
        ui = Ui(address, process)
        groups = []
        try:
            wait_for(answers, "the UI", seconds=STARTING_SECONDS)
            groups.append(ui.group())
            yield ui
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=ENDING_SECONDS)
            process.kill()
            for group in groups:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)


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


def test_the_sensor_of_a_ui_that_is_left_alone_starts_the_run_of_a_new_day(tmp_path):
    source, home = write_dumps(tmp_path / "source"), tmp_path / "home"
    date_files(source, datetime(2026, 3, 4, 12, tzinfo=UTC))
    home.mkdir()

    def ended() -> list[dict]:
        runs = [run for run in ui.ask(RUNS)["runsOrError"]["results"] if run["jobName"] == "everything"]
        return runs if runs and runs[0]["status"] in ENDED else []

    with serve_folder(source) as (url, _):
        # In one process: what is started is looked at here, not how, and the start of each step's own takes seconds.
        (home / "settings.toml").write_text(f'source = "{url}"\n\n[execution]\nexecutor = "in_process"\n')
        with opened(home) as ui:
            (run,) = wait_for(ended, "the end of the sensor's run", seconds=SENSOR_RUN_SECONDS)
            tags = {tag["key"]: tag["value"] for tag in run["tags"]}
            assert run["status"] == "SUCCESS"
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


def test_a_second_ui_of_a_home_is_refused_in_one_line(ui, ui_home):
    second = subprocess.run(command_of(ui_home, free_port()), capture_output=True, text=True)
    assert (second.returncode, second.stdout) == (1, "")
    assert re.fullmatch(r"imdb-pipeline: another imdb-pipeline ui is at work in .*home; .*\n", second.stderr)
    assert ui.process.poll() is None


@pytest.mark.parametrize(("port", "reason"), [(None, "Address already in use"), (70_000, ".*0-65535.*")])
def test_a_port_that_cannot_be_had_is_refused_in_one_line(port, reason, home):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = port or taken.getsockname()[1]
        refused = subprocess.run(command_of(home, number), capture_output=True, text=True)
    assert (refused.returncode, refused.stdout) == (1, "")
    expected = rf"imdb-pipeline: port {number} on 127\.0\.0\.1: {reason}; give another --port\n"
    assert re.fullmatch(expected, refused.stderr)


def test_a_ui_whose_daemon_is_killed_ends_as_a_failure_and_leaves_nothing(home):
    with opened(home) as ui:
        group = ui.group()
        (daemon,) = (pid for pid, command in children(group).items() if "dagster._daemon" in command)
        os.kill(daemon, signal.SIGKILL)
        assert ui.process.wait(timeout=ENDING_SECONDS) == 1
        assert members(group) == []
    last = (home.parent / "ui.log").read_text().splitlines()[-1]
    assert last == "imdb-pipeline: the UI ended by itself; the lines above say why"


def test_a_ui_that_is_told_to_end_leaves_nothing_of_a_run_at_work(home):
    with opened(home) as ui:
        group = ui.group()
        run = ui.launch("svr_predictor", "transformer_predictor")
        wait_for(lambda: any("Started execution of step" in line for line in ui.state(run)[1]), "a step at work")
        ui.process.terminate()
        assert ui.process.wait(timeout=ENDING_SECONDS) == 0
        assert members(group) == []
