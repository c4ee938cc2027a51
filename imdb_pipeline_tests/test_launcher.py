"""Runs of a deployment whose process is gone, processes whose run is gone, and which instance a home has."""

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from imdb_pipeline.errors import InputError
from imdb_pipeline.orchestration.dead_runs import _is_alive
from imdb_pipeline.orchestration.instance import DAGSTER_YAML, instance_folder, open_instance, prepare_instance
from imdb_pipeline.orchestration.launcher import CodeServerRunLauncher
from imdb_pipeline.orchestration.run_logs import OUTPUT_DAYS, delete_old_output
from imdb_pipeline_tests.children import started
from imdb_pipeline_tests.deployment import free_port, wait_for
from imdb_pipeline_tests.process_table import members

PARENT = """
import multiprocessing, sys, time
from imdb_pipeline.orchestration.orphans import end_with_parent

def child(path):
    end_with_parent()
    open(path, "w").close()
    while True:  # holding the interpreter most of the time
        sum(range(100_000))

if __name__ == "__main__":
    end_with_parent()
    process = multiprocessing.get_context("spawn").Process(target=child, args=sys.argv[1:])
    process.start()
    time.sleep(600)
"""


def a_run(**where: object) -> dg.DagsterRun:
    return dg.DagsterRun("everything", tags={GRPC_INFO_TAG: json.dumps(where)} if where else {})


def test_a_code_server_that_does_not_answer_is_waited_for_and_then_given_up():
    run = a_run(host="127.0.0.1", port=free_port())
    patient = CodeServerRunLauncher(unreachable_seconds=3600)
    assert [patient.check_run_worker_health(run).status for _ in range(2)] == [WorkerStatus.RUNNING] * 2
    given_up = CodeServerRunLauncher(unreachable_seconds=0).check_run_worker_health(run)
    assert given_up.status == WorkerStatus.FAILED
    assert "has not answered for 0 seconds" in str(given_up)


def test_a_run_of_the_command_line_is_not_judged_by_a_code_server():
    assert CodeServerRunLauncher().check_run_worker_health(a_run()).status == WorkerStatus.RUNNING


def test_a_child_ends_when_its_parent_is_killed_and_nobody_else_does(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    began = tmp_path / "began"
    command = [sys.executable, str(script), str(began)]
    with started(command, group=True, cwd=Path.cwd()) as grandparent:
        wait_for(began.exists, "the child")
        grandparent.kill()
        grandparent.wait()
        wait_for(lambda: not members(grandparent.pid), "the child to end")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_a_process_that_got_the_number_of_a_run_is_not_the_run_and_a_clock_that_was_set_ends_none():
    before = time.time() - 3600  # as the clock had it, or when another process had the number
    code = "import time; time.sleep(600)"
    spawned = [
        sys.executable,
        "-c",
        code,
        "multiprocessing.spawn",
    ]  # as the process of a run
    with started(spawned) as of_a_run, started([sys.executable, "-c", code]) as other:
        assert _is_alive(of_a_run.pid, before)
        assert not _is_alive(other.pid, before)
        assert _is_alive(other.pid, time.time())
    assert not _is_alive(other.pid, time.time())


def test_a_home_has_its_own_instance_unless_it_is_the_one_of_the_deployment(tmp_path, monkeypatch):
    home, deployed = tmp_path / "home", tmp_path / "etc"
    deployed.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(deployed))
    monkeypatch.delenv("IMDB_PIPELINE_HOME", raising=False)
    assert instance_folder(home) == home / "dagster"
    monkeypatch.setenv("IMDB_PIPELINE_HOME", str(home))
    assert instance_folder(tmp_path / "another") == tmp_path / "another" / "dagster"
    with pytest.raises(InputError, match=r"has no dagster\.yaml"):
        prepare_instance(home)
    (deployed / "dagster.yaml").write_text(DAGSTER_YAML)
    with open_instance(home) as instance:
        assert instance.root_directory == str(deployed)
    assert not home.exists()
    assert not (deployed / "workspace.yaml").exists()


def test_what_old_runs_printed_is_deleted_and_the_runs_stay(tmp_path):
    job = dg.GraphDefinition("nothing").to_job()
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        ended = instance.create_run_for_job(job, status=dg.DagsterRunStatus.SUCCESS)
        at_work = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        others = instance.create_run_for_job(
            dg.GraphDefinition("of_somebody_else").to_job(), status=dg.DagsterRunStatus.SUCCESS
        )
        for run in (ended, at_work, others):
            key = [run.run_id, "compute_logs", "step"]
            printed = Path(instance.compute_log_manager.get_captured_local_path(key, "out"))  # pyright: ignore[reportAttributeAccessIssue]
            printed.parent.mkdir(parents=True)
            printed.write_text("a line\n")
        kept = {path.name for path in (tmp_path / "storage").iterdir()}
        now = datetime.now(UTC)
        ours = {"jobs": ["nothing"], "assets": ["movies"]}
        assert delete_old_output(instance, **ours, now=now + timedelta(days=OUTPUT_DAYS - 1)) == 0
        assert {path.name for path in (tmp_path / "storage").iterdir()} == kept
        assert delete_old_output(instance, **ours, now=now + timedelta(days=OUTPUT_DAYS, minutes=1)) == 1
        assert kept - {path.name for path in (tmp_path / "storage").iterdir()} == {ended.run_id}
        assert instance.get_runs_count() == 3
