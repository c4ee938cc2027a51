"""What a webhook is told, when, and how often; and that a broken one breaks nothing."""

import json
import logging
import re
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from imdb_pipeline.alerts import check_staleness, tell_failure, tell_success
from imdb_pipeline.errors import InputError
from imdb_pipeline.orchestration.assets.results import TRAINED
from imdb_pipeline.orchestration.runs import DUMP_ASSETS, _told_as
from imdb_pipeline.orchestration.stages import STAGES
from imdb_pipeline.settings import AlertSettings, Settings, load_settings
from imdb_pipeline_tests.children import started
from imdb_pipeline_tests.webhook import SECRET, Webhook

DAY, LATER = "2026-03-04", "2026-03-05"
NOW = datetime(2026, 3, 5, 22, 0, tzinfo=timezone(timedelta(hours=1)))
ALERTS_PAGE = (Path(__file__).parents[1] / "docs" / "alerts.md").read_text()


def fail(
    home: Path,
    hook: Webhook,
    day: str | None = DAY,
    run_id: str = "r1",
    message: str = "a gate failed",
    job: str = "daily",
):
    return tell_failure(home, hook.settings, job=job, day=day, run_id=run_id, message=message)


def succeed(home: Path, hook: Webhook, day: str | None = DAY, run_id: str = "r2", job: str = "daily"):
    return tell_success(home, hook.settings, job=job, day=day, run_id=run_id)


def check(home: Path, hook: Webhook, age_hours: float):
    return check_staleness(home, hook.settings, age_hours=age_hours, day=DAY, now=NOW)


def test_a_failure_and_its_recovery_are_told_once_each(tmp_path, webhook):
    assert succeed(tmp_path, webhook) is None
    told = fail(tmp_path, webhook)
    assert fail(tmp_path, webhook) is None
    assert fail(tmp_path, webhook, run_id="another", message="something else") is None
    recovered = succeed(tmp_path, webhook)
    assert succeed(tmp_path, webhook) is None
    assert webhook.bodies == [told, recovered]
    assert told is not None
    at = datetime.fromisoformat(told.pop("at"))
    assert at.utcoffset() == timedelta(0)
    assert told == {
        "event": "run_failed",
        "home": str(tmp_path),
        "source": "sample",
        "day": DAY,
        "run_id": "r1",
        "message": "a gate failed",
        "text": f"imdb_pipeline: daily of {DAY} failed: a gate failed",
    }
    assert recovered is not None
    assert (recovered["event"], recovered["day"], recovered["run_id"]) == ("run_recovered", DAY, "r2")
    assert fail(tmp_path, webhook) is not None, "a day that recovered and fails again is news"


def test_each_failed_day_is_told_and_a_later_success_recovers_all_before_it(tmp_path, webhook):
    fail(tmp_path, webhook, DAY)
    fail(tmp_path, webhook, LATER)
    recovered = succeed(tmp_path, webhook, LATER)
    assert webhook.events == ["run_failed", "run_failed", "run_recovered"]
    assert recovered is not None
    assert recovered["message"] == f"recovered from the failure of daily of {DAY}, daily of {LATER}"
    assert succeed(tmp_path, webhook, DAY) is None


def test_a_backfill_of_an_earlier_day_is_no_recovery(tmp_path, webhook):
    fail(tmp_path, webhook, LATER)
    assert succeed(tmp_path, webhook, DAY) is None
    assert fail(tmp_path, webhook, LATER) is None
    assert succeed(tmp_path, webhook, LATER) is not None


@pytest.mark.parametrize(
    ("failed", "succeeded", "over"),
    [
        ("training", "daily", False),
        ("training", "training", True),
        ("training", "everything", True),
        ("daily", "training", False),
        ("daily", "everything", True),
        ("everything", "training", False),
        ("everything", "daily", True),
        ("everything", "everything_and_study", True),
        ("everything_and_study", "everything", False),
        ("evaluate", "everything", False),
        ("evaluate", "evaluate", True),
        ("housekeeping", "daily", False),
    ],
)
def test_a_failure_is_over_when_a_run_succeeds_that_makes_all_of_it(tmp_path, webhook, failed, succeeded, over):
    fail(tmp_path, webhook, job=failed)
    assert (succeed(tmp_path, webhook, LATER, job=succeeded) is not None) == over
    assert (fail(tmp_path, webhook, job=failed) is not None) == over


def test_failures_of_two_jobs_of_a_day_are_told_and_each_is_named(tmp_path, webhook):
    fail(tmp_path, webhook)
    training = fail(tmp_path, webhook, job="training")
    assert training is not None
    assert training["text"] == f"imdb_pipeline: training of {DAY} failed: a gate failed"
    recovered = succeed(tmp_path, webhook, LATER, job="everything")
    assert recovered is not None
    assert recovered["message"] == f"recovered from the failure of daily of {DAY}, training of {DAY}"
    assert webhook.events == ["run_failed", "run_failed", "run_recovered"]


def test_a_job_that_is_of_no_day_is_told_once_until_it_succeeds(tmp_path, webhook):
    told = fail(tmp_path, webhook, None, job="housekeeping")
    assert told is not None
    assert (told["day"], told["text"]) == (None, "imdb_pipeline: housekeeping failed: a gate failed")
    assert fail(tmp_path, webhook, None, job="housekeeping") is None
    recovered = succeed(tmp_path, webhook, None, job="housekeeping")
    assert recovered is not None
    assert (recovered["day"], recovered["message"]) == (None, "recovered from the failure of housekeeping")
    assert succeed(tmp_path, webhook, None, job="housekeeping") is None


def test_what_an_earlier_version_told_is_known(tmp_path, webhook):
    (tmp_path / "alerts.json").write_text(f'{{"failed": {{"{DAY}": "r0"}}, "stale": true}}')
    assert fail(tmp_path, webhook) is None
    assert check(tmp_path, webhook, 99) is None
    assert succeed(tmp_path, webhook, LATER) is not None
    assert fail(tmp_path, webhook) is not None


def test_stale_data_is_told_once_and_so_is_fresh_data(tmp_path, webhook):
    assert [check(tmp_path, webhook, age) is not None for age in (2, 36, 36.5, 50, 36, 3)] == [
        False,
        False,
        True,
        False,
        True,
        False,
    ]
    stale, fresh = webhook.bodies
    assert (stale["event"], fresh["event"]) == ("data_stale", "data_fresh")
    assert (stale["day"], stale["run_id"], stale["at"]) == (DAY, None, "2026-03-05T21:00:00+00:00")
    assert stale["message"] == f"the newest data, of {DAY}, is 36 hours old; the limit is 36"


def test_staleness_and_failure_do_not_hide_each_other(tmp_path, webhook):
    fail(tmp_path, webhook)
    check(tmp_path, webhook, 40)
    succeed(tmp_path, webhook)
    check(tmp_path, webhook, 1)
    assert webhook.events == ["run_failed", "data_stale", "run_recovered", "data_fresh"]


def test_nobody_is_told_without_a_webhook(tmp_path):
    assert tell_failure(tmp_path, Settings(), job="daily", day=DAY, run_id="r", message="m") is None
    assert tell_success(tmp_path, Settings(), job="daily", day=DAY, run_id="r") is None
    assert check_staleness(tmp_path, Settings(), age_hours=99, day=DAY, now=NOW) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answers", "requests", "told"),
    [
        ([500], 2, True),
        ([429], 2, True),
        ([500, 503], 2, False),
        ([404], 1, False),
        ([302], 1, False),
        ([308], 1, False),
    ],
)
def test_a_webhook_that_refuses_is_tried_twice_at_most_and_told_by_the_next_call(
    tmp_path, webhook, answers, requests, told
):
    webhook.answers = list(answers)
    assert (fail(tmp_path, webhook) is not None) == told
    assert webhook.paths == [f"/services/{SECRET}"] * requests
    assert (fail(tmp_path, webhook) is None) == told
    assert webhook.events == ["run_failed"]


def test_a_recovery_and_staleness_that_could_not_be_told_are_told_later(tmp_path, webhook):
    fail(tmp_path, webhook)
    for tell in (succeed, lambda home, hook: check(home, hook, 40), lambda home, hook: check(home, hook, 1)):
        webhook.answers = [500, 500]
        assert tell(tmp_path, webhook) is None
        assert tell(tmp_path, webhook) is not None
    assert webhook.events == ["run_failed", "run_recovered", "data_stale", "data_fresh"]


def closed_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}/{secret}", "http://[::1/{secret}", "http://:{secret}@/"])
def test_a_webhook_that_cannot_be_reached_is_a_warning_without_its_address(tmp_path, caplog, address):
    caplog.set_level(logging.DEBUG)
    settings = Settings(alerts=AlertSettings(webhook=address.format(port=closed_port(), secret=SECRET)))
    assert tell_failure(tmp_path, settings, job="daily", day=DAY, run_id="r", message="m") is None
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "run_failed was not told" in warning
    assert SECRET not in caplog.text
    assert not (tmp_path / "alerts.json").exists()


def test_the_address_is_in_no_log_and_no_settings_shown(tmp_path, webhook, caplog):
    caplog.set_level(logging.DEBUG)
    webhook.answers = [403]
    fail(tmp_path, webhook)
    assert fail(tmp_path, webhook) is not None
    assert "the webhook at http://127.0.0.1 answers 403" in caplog.text
    assert SECRET not in caplog.text
    assert SECRET not in repr(webhook.settings)
    assert SECRET not in (tmp_path / "alerts.json").read_text()
    (tmp_path / "settings.toml").write_text(f'[alerts]\nwebhook = "ftp://hooks/{SECRET}"')
    with pytest.raises(InputError, match=r"alerts\.webhook") as error:
        load_settings(tmp_path)
    assert SECRET not in str(error.value)


def test_a_webhook_that_does_not_answer_in_time_is_given_up(tmp_path, webhook, monkeypatch):
    monkeypatch.setattr("imdb_pipeline.alerts._TIMEOUT_SECONDS", 0.1)
    webhook.silent_seconds = 1
    assert fail(tmp_path, webhook) is None
    assert not (tmp_path / "alerts.json").exists()


def test_an_answer_without_end_is_not_read(tmp_path, webhook):
    webhook.endless = True
    try:
        assert fail(tmp_path, webhook) is not None
    finally:
        webhook.endless = False


@pytest.mark.parametrize("name", ["alerts.json", ".alerts.lock"])
def test_a_state_that_cannot_be_kept_is_told_rather_twice_than_never(tmp_path, webhook, caplog, name):
    (tmp_path / name).mkdir()
    assert fail(tmp_path, webhook) is not None
    assert "an alert may come twice" in caplog.text


@pytest.mark.parametrize("text", ["", "{", "[]", '{"failed": [1]}', '{"stale": "perhaps"}'])
def test_a_damaged_state_is_taken_as_empty(tmp_path, webhook, caplog, text):
    (tmp_path / "alerts.json").write_text(text)
    assert fail(tmp_path, webhook) is not None
    assert "cannot be read" in caplog.text
    assert succeed(tmp_path, webhook) is not None


def test_the_text_is_one_bounded_line_that_addresses_nobody_and_the_message_is_whole(tmp_path, webhook):
    message = "no\nrow <!channel> & <script>\udce9 " + "word " * 500
    told = fail(tmp_path, webhook, message=message)
    assert told is not None
    assert webhook.bodies == [told]
    assert told["message"] == message
    assert "&lt;!channel&gt; &amp; &lt;script&gt;" in told["text"]
    assert "\n" not in told["text"]
    assert len(told["text"]) < 600


@pytest.mark.parametrize(
    ("asked", "job"),
    [
        (STAGES, "everything"),
        ([name for name in STAGES if name not in TRAINED], "daily"),
        (DUMP_ASSETS, "fetch"),
        ([*STAGES, "study_reproduction"], "everything_and_study"),
        (["movies", "evaluation"], "evaluate"),
    ],
)
def test_a_run_of_the_command_line_is_told_as_what_it_was_asked_for_whatever_of_it_is_held(asked, job):
    assert _told_as(asked) == job


def test_a_fetch_ends_no_failure_of_a_day_and_a_day_ends_that_of_a_fetch(tmp_path, webhook):
    fail(tmp_path, webhook, job="daily")
    fail(tmp_path, webhook, job="fetch")
    fetched = succeed(tmp_path, webhook, job="fetch")
    assert fetched is not None
    assert fetched["message"] == f"recovered from the failure of fetch of {DAY}"
    fail(tmp_path, webhook, job="fetch")
    made = succeed(tmp_path, webhook, job="daily")
    assert made is not None
    assert made["message"] == f"recovered from the failure of daily of {DAY}, fetch of {DAY}"


def test_processes_that_fail_at_once_tell_it_once(tmp_path, webhook):
    webhook.silent_seconds = 0.3
    code = (
        "import sys; from pathlib import Path; from imdb_pipeline.alerts import tell_failure;"
        "from imdb_pipeline.settings import AlertSettings, Settings;"
        "settings = Settings(alerts=AlertSettings(webhook=sys.argv[2]));"
        "told = tell_failure(Path(sys.argv[1]), settings, job='daily', day=sys.argv[3], run_id='r', message='m');"
        "print(told is not None)"
    )
    command = [sys.executable, "-c", code, str(tmp_path), webhook.address, DAY]
    pipe = {"stdout": subprocess.PIPE, "text": True}
    with started(command, **pipe) as one, started(command, **pipe) as another, started(command, **pipe) as third:
        answers = [child.communicate()[0].strip() for child in (one, another, third)]
    assert sorted(answers) == ["False", "False", "True"]
    assert webhook.events == ["run_failed"]


def test_the_page_on_alerts_names_every_key_and_event(tmp_path, webhook):
    fail(tmp_path, webhook)
    succeed(tmp_path, webhook)
    check(tmp_path, webhook, 99)
    check(tmp_path, webhook, 1)
    example = re.search(r"```json\n(.*?)```", ALERTS_PAGE, re.DOTALL)
    assert example is not None
    assert all(list(body) == list(json.loads(example.group(1))) for body in webhook.bodies)
    assert re.findall(r"^\| `(\w+_\w+)` \|", ALERTS_PAGE, re.MULTILINE) == webhook.events


def test_another_limit_is_kept_to(tmp_path, webhook):
    settings = replace(webhook.settings, alerts=AlertSettings(webhook=webhook.address, stale_hours=3))
    assert check_staleness(tmp_path, settings, age_hours=3.1, day=DAY, now=NOW.astimezone(UTC)) is not None
