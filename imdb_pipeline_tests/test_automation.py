"""The sensors and schedules: when they ask for a run, when they do not, and whom they tell."""

import json
import os
import shutil
import sys
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import EngineEventData

from imdb_pipeline.definitions import defs
from imdb_pipeline.dumps.snapshot import find_snapshot
from imdb_pipeline.orchestration import automation
from imdb_pipeline.orchestration.dead_runs import close_dead_workers
from imdb_pipeline.orchestration.instance import open_instance
from imdb_pipeline.orchestration.publishing import SNAPSHOT_TAG
from imdb_pipeline.orchestration.resources import Home
from imdb_pipeline.settings import load_settings
from imdb_pipeline.store import Store
from imdb_pipeline_tests.children import started
from imdb_pipeline_tests.commands import run_command
from imdb_pipeline_tests.conftest import copy_home
from imdb_pipeline_tests.faulty_server import drip, instead, serve
from imdb_pipeline_tests.serving import date_files, serve_folder
from imdb_pipeline_tests.tiny_dumps import RATINGS, write_dumps

DAY = "2026-03-04"
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """A slow machine takes a while for four questions; the first that a process asks makes what TLS needs."""
    monkeypatch.setattr(automation, "ASKING_SECONDS", 60.0)


@pytest.fixture
def source(tmp_path):
    folder = write_dumps(tmp_path / "source")
    date_files(folder, NOON)
    return folder


@pytest.fixture
def url(source):
    with serve_folder(source) as (address, _):
        yield address


@pytest.fixture
def home(tmp_path, url):
    """A home that watches the server and holds nothing yet."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "settings.toml").write_text(f'source = "{url}"\n')
    return folder


def sensor(home) -> Any:
    with open_instance(home) as instance:
        return automation.new_dumps(dg.build_sensor_context(instance=instance), home=Home(path=str(home)))


def schedule(home, name: str) -> Any:
    with open_instance(home) as instance:
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=NOON)
        return getattr(automation, name)(context, home=Home(path=str(home)))


def add_run(
    instance: dg.DagsterInstance,
    status: dg.DagsterRunStatus,
    job: str = "daily",
    assets: list[str] | None = None,
    /,
    **tags: str,
) -> dg.DagsterRun:
    selected = None if assets is None else frozenset(map(dg.AssetKey, assets))
    definition = defs.resolve_job_def(job)
    return instance.create_run_for_job(definition, tags=tags, status=status, asset_selection=selected)


def snapshot_id(home) -> str:
    return find_snapshot(load_settings(home), Store(home / "store"), day=None, today=DAY).id


@pytest.mark.extra
def test_new_files_ask_for_a_run_held_ones_do_not_and_a_second_publication_does(home, source, tmp_path):
    first = sensor(home)
    assert (first.partition_key, first.job_name) == (DAY, "everything")
    assert "no champion yet" in schedule(home, "late_refresh").skip_message
    assert run_command("refresh", "--home", home).status == 0
    assert sensor(home).skip_message == f"the files of {DAY} are held already"
    write_dumps(source, title_ratings=RATINGS.replace("7.4", "7.5"))
    date_files(source, NOON + timedelta(hours=3))
    again = sensor(home)
    assert (again.partition_key, again.job_name) == (DAY, "everything")
    assert again.run_key != first.run_key


def test_of_the_sensor_and_the_late_schedule_one_gets_the_run(held_home, home, url, monkeypatch):
    monkeypatch.setattr(automation, "has_champion", lambda store: True)
    request = sensor(home)
    assert (request.partition_key, request.job_name) == (DAY, "daily")
    assert "has just been asked for" in schedule(home, "late_refresh").skip_message
    assert sensor(home).run_key == request.run_key  # which Dagster does not start twice


def test_a_sensor_that_asks_in_vain_does_not_keep_the_late_schedule_from_it(home, url, monkeypatch):
    monkeypatch.setattr(automation, "has_champion", lambda store: True)
    first = sensor(home)
    claim = json.loads((home / ".requested.json").read_text())
    asked = datetime.fromisoformat(claim["at"]) - timedelta(hours=2)
    (home / ".requested.json").write_text(json.dumps({**claim, "at": asked.isoformat()}))
    assert sensor(home).run_key == first.run_key
    assert schedule(home, "late_refresh").partition_key == DAY


def test_files_older_than_the_release_are_left_alone(home, source):
    assert run_command("refresh", "--home", home).status == 0
    date_files(source, NOON - timedelta(days=1))
    assert f"{DAY} is released already" in sensor(home).skip_message


def test_a_day_at_work_is_not_started_again(home):
    with open_instance(home) as instance:
        run = add_run(instance, dg.DagsterRunStatus.STARTED, **{automation.PARTITION_TAG: DAY})
    assert sensor(home).skip_message == f"run {run.run_id} is at work on {DAY}"


SUCCESS, FAILURE, CANCELED = (dg.DagsterRunStatus[name] for name in ("SUCCESS", "FAILURE", "CANCELED"))


@pytest.mark.parametrize(
    ("statuses", "says"),
    [
        ([CANCELED, SUCCESS, FAILURE, CANCELED], "3 runs of the files of 2026-03-04 have failed or were canceled"),
        ([SUCCESS] * 3, "3 runs of the files of 2026-03-04 have succeeded, and they are not held"),
    ],
)
def test_files_that_are_not_held_after_a_run_are_asked_for_again_but_not_for_ever(home, statuses, says):
    keys = [sensor(home).run_key]
    with open_instance(home) as instance:
        for status in statuses:
            add_run(instance, status, **{SNAPSHOT_TAG: snapshot_id(home)})
            outcome = sensor(home)
            keys.append(getattr(outcome, "run_key", None) or outcome.skip_message)
    assert len(set(keys)) == len(statuses) + 1
    assert says in keys[-1]


def test_runs_that_were_to_fetch_alone_are_no_attempts_at_a_day(home):
    with open_instance(home) as instance:
        for _ in range(automation.ATTEMPTS):
            add_run(instance, CANCELED, "everything", ["title_basics_dump"], **{SNAPSHOT_TAG: snapshot_id(home)})
    assert sensor(home).partition_key == DAY


def test_where_there_is_no_champion_the_next_day_waits_for_the_training_that_makes_one(home):
    tags = {automation.PARTITION_TAG: "2026-03-03"}
    with open_instance(home) as instance:
        refreshing = add_run(instance, dg.DagsterRunStatus.STARTED, "everything", ["movies"], **tags)
        assert sensor(home).job_name == "everything"
        instance.delete_run(refreshing.run_id)
        run = add_run(instance, dg.DagsterRunStatus.STARTED, "everything", **tags)
    assert f"run {run.run_id} is training already" in sensor(home).skip_message


@pytest.mark.parametrize("name", [".run.lock", ".requested.lock"])
def test_a_home_that_cannot_be_written_costs_the_sensor_a_tick_that_says_so(home, name):
    (home / name).mkdir()
    assert sensor(home).skip_message.startswith(f"{home / name}: ")


def test_refused_files_wait_for_others_or_for_somebodys_word(home, source):
    path = source / "title.ratings.tsv.gz"
    path.write_bytes(path.read_bytes()[:-9])
    date_files(source, NOON)
    assert run_command("refresh", "--home", home).status == 1
    assert "were refused: " in sensor(home).skip_message
    assert "title.ratings.tsv.gz" in sensor(home).skip_message
    write_dumps(source)
    date_files(source, NOON + timedelta(hours=1))
    assert sensor(home).partition_key == DAY


def test_files_of_two_days_are_waited_for(home, source):
    os.utime(source / "name.basics.tsv.gz", (NOON.timestamp() - 86_400, NOON.timestamp() - 86_400))
    assert "the files are of different days" in sensor(home).skip_message
    assert "name.basics.tsv.gz of 2026-03-03" in sensor(home).skip_message


@pytest.mark.parametrize(
    ("fault", "seconds", "says"),
    [
        # A tenth of the time is left for saying it: a second, and the head would take a minute.
        pytest.param(drip(head=True, pause_seconds=0.3), 10.0, "in time", marks=pytest.mark.extra),
        (instead(503), 60.0, "503"),
    ],
)
def test_a_server_that_does_not_answer_costs_a_tick_and_no_more(home, source, monkeypatch, fault, seconds, says):
    monkeypatch.setattr(automation, "ASKING_SECONDS", seconds)
    with serve(source, {"HEAD title.basics.tsv.gz": repeat(fault)}) as (address, _):
        (home / "settings.toml").write_text(f'source = "{address}"\n')
        assert says in sensor(home).skip_message


def test_a_source_without_dates_is_not_watched(held_home):
    assert "is not watched" in sensor(held_home).skip_message


def test_training_waits_for_its_cadence_and_for_a_new_day(held_home, tmp_path):
    assert "no day is held yet" in schedule(tmp_path / "none", "retraining").skip_message
    skipped = schedule(held_home, "retraining").skip_message
    assert "has been trained on already" in skipped or "days old, of 7" in skipped


def test_training_waits_for_the_one_that_is_at_work(held_home, tmp_path):
    home = copy_home(held_home, tmp_path / "copy")
    shutil.rmtree(home / "store" / "champion")
    day = schedule(home, "retraining").partition_key
    assert day == Store(home / "store").released("movies").day
    with open_instance(home) as instance:
        run = add_run(instance, dg.DagsterRunStatus.STARTING, "training", **{automation.PARTITION_TAG: day})
    assert schedule(home, "retraining").skip_message == f"run {run.run_id} is training already"


def test_a_run_whose_process_was_killed_is_closed_and_one_at_work_is_not(home):
    with open_instance(home) as instance:
        with started([sys.executable, "-c", "import time; time.sleep(600)"]) as child:
            dead = add_run(instance, dg.DagsterRunStatus.STARTED)
            living = add_run(instance, dg.DagsterRunStatus.STARTED)
            instance.report_engine_event("started", dead, EngineEventData.in_process(child.pid))
            instance.report_engine_event("started", living, EngineEventData.in_process(os.getpid()))
            close_dead_workers(instance, home)
            assert instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])) == 2
        close_dead_workers(instance, home)
        (open_run,) = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        assert open_run.run_id == living.run_id
        (failed,) = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
        assert failed.run_id == dead.run_id


def tell(home, webhook: str) -> None:
    with (home / "settings.toml").open("a") as file:
        file.write(f'\n[alerts]\nwebhook = "{webhook}"\nstale_hours = 36\n')


@pytest.mark.extra
def test_a_failed_refresh_old_data_and_the_recovery_are_told_once_each(home, source, webhook):
    tell(home, webhook.address)
    told = webhook.bodies
    good = (source / "title.ratings.tsv.gz").read_bytes()
    (source / "title.ratings.tsv.gz").write_bytes(good[:-9])
    date_files(source, NOON)
    for _ in range(2):
        assert run_command("refresh", "--home", home).status == 1
    assert webhook.events == ["run_failed"]
    assert "title.ratings.tsv.gz" in told[0]["message"]
    (source / "title.ratings.tsv.gz").write_bytes(good)
    date_files(source, NOON + timedelta(hours=1))
    for _ in range(2):
        assert run_command("refresh", "--home", home).status == 0
    assert webhook.events == ["run_failed", "run_recovered", "data_stale"]
    write_dumps(source, title_ratings=RATINGS.replace("7.4", "7.5"))
    date_files(source, datetime.now(UTC) - timedelta(minutes=5))
    assert run_command("refresh", "--home", home).status == 0
    assert webhook.events[3:] == ["data_fresh"]


@pytest.mark.parametrize(("job", "day"), [("daily", DAY), ("training", DAY), ("housekeeping", None)])
def test_the_sensors_tell_of_runs_that_the_daemon_started(home, webhook, job, day):
    tell(home, webhook.address)
    told = webhook.bodies
    with open_instance(home) as instance:
        tags = {automation.PARTITION_TAG: day} if day else {}
        run = add_run(instance, dg.DagsterRunStatus.STARTED, job, **tags)
        instance.report_run_failed(run)
        failure = next(
            entry.get_dagster_event()
            for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
        )
        context = dg.build_run_status_sensor_context("failed_runs", failure, instance, run)
        automation.failed_runs(context.for_run_failure(), home=Home(path=str(home)))
        assert [(each["event"], each["day"], each["run_id"]) for each in told] == [("run_failed", day, run.run_id)]
        context = dg.build_run_status_sensor_context("succeeded_runs", failure, instance, run)
        automation.succeeded_runs(context, home=Home(path=str(home)))
    assert told[-1]["event"] == "run_recovered"


def test_the_webhook_is_told_of_all_that_runs_by_itself():
    started = {schedule.job_name for schedule in automation.SCHEDULES} | {job.name for job in automation.new_dumps.jobs}
    assert started <= {job.name for job in automation.WATCHED}


def test_the_watchdog_says_how_old_the_data_is_and_tells_it_though_it_can_mend_nothing(home, webhook):
    def says() -> str:
        with open_instance(home) as instance:
            tick: Any = automation.watchdog(dg.build_sensor_context(instance=instance), home=Home(path=str(home)))
            return tick.skip_message

    assert "nothing is released" in says()
    assert run_command("refresh", "--home", home).status == 0
    assert f"the data of {DAY} is" in says()
    tell(home, webhook.address)
    (home / ".run.lock").unlink(missing_ok=True)
    (home / ".run.lock").mkdir()
    with pytest.raises(OSError, match=r"\.run\.lock"):  # the tick fails, for somebody to see
        says()
    assert webhook.events == ["data_stale"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("store/CURRENT", "garbage"),
        ("store/CURRENT", "{}"),
        (f"store/movies/{DAY}/LATEST", "garbage"),
        (f"store/title_ratings_dump/{DAY}/LATEST", ""),
    ],
)
def test_what_was_damaged_by_hand_is_mended_by_the_next_refresh(held_home, tmp_path, monkeypatch, file, text):

    monkeypatch.setattr("imdb_pipeline.orchestration.runs.today", lambda: DAY)
    home = copy_home(held_home, tmp_path / "copy")
    (home / file).write_text(text)
    for _ in range(2):
        result = run_command("refresh", "--home", home)
        assert result.status == 0, result.err
    assert Store(home / "store").released("movies").day == DAY
    assert run_command("status", "--home", home).status == 0


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("overrides.json", "{"),
        ("overrides.json", '[{"gate": "x"}]'),
        (".requested.json", "{"),
        ("quarantine/2026-03-04-00/reason.json", '{"a": 1}'),
    ],
)
def test_a_file_that_somebody_damaged_stops_no_sensor(home, file, text):
    (home / file).parent.mkdir(parents=True, exist_ok=True)
    (home / file).write_text(text)
    outcome = sensor(home)
    assert getattr(outcome, "partition_key", DAY) == DAY
    result = run_command("refresh", "--home", home)
    assert (result.status, len(result.err.splitlines())) in ((0, 0), (1, 1)), result.err


def test_housekeeping_recovers_and_collects(home):
    assert run_command("fetch", "--home", home).status == 0
    left = home / "store" / ".staging" / f".movies-{'0' * 32}"
    left.mkdir(parents=True)
    with open_instance(home) as instance:
        result = defs.resolve_job_def("housekeeping").execute_in_process(
            instance=instance, run_config={"resources": {"home": {"config": {"path": str(home)}}}}
        )
    assert result.success
    assert not left.exists()


def test_housekeeping_that_fails_says_in_one_line_what_is_wrong(held_home, tmp_path, webhook):
    home = copy_home(held_home, tmp_path / "copy")
    tell(home, webhook.address)
    told = webhook.bodies
    (manifest,) = (home / "store" / "movies").glob("*/*/manifest.json")
    manifest.write_text("garbage")
    with open_instance(home) as instance:
        job = defs.resolve_job_def("housekeeping")
        result = job.execute_in_process(
            instance=instance,
            run_config={"resources": {"home": {"config": {"path": str(home)}}}},
            raise_on_error=False,
        )
        assert not result.success
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        (failure,) = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
        context = dg.build_run_status_sensor_context("failed_runs", failure.get_dagster_event(), instance, run)
        automation.failed_runs(context.for_run_failure(), home=Home(path=str(home)))
    assert [(each["event"], each["day"]) for each in told] == [("run_failed", None)]
    assert told[0]["message"].count("\n") == 0
    assert str(manifest.parent) in told[0]["message"]
