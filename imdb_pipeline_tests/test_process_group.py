"""A command in a process group of its own: whatever ends it, nothing of the group is left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imdb_pipeline.cli import process_group
from imdb_pipeline_tests.deployment import wait_for
from imdb_pipeline_tests.process_table import children, members

BY_ITSELF = "imdb-pipeline: the UI ended by itself; the lines above say why\n"
FAMILY = "sleep 600 & sleep 600 & echo $$; wait"
STUBBORN = "trap '' TERM; sleep 600 & echo $$; wait"
IN_THE_BACKGROUND = ["sh", "-c", '"$@" & wait $!', "sh"]
WITHOUT_HANGING_UP = ["sh", "-c", 'trap "" HUP; "$@"', "sh"]
WAITING = """
import os, pathlib, signal, sys, time
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
print(os.getpid(), flush=True)
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.05)
"""


@contextlib.contextmanager
def grouped(*words: object, starter: list[str] | None = None) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Yield the process that runs a command, and the command's group: the command says it as its first line."""
    command = [*(starter or []), sys.executable, "-I", process_group.__file__, *map(str, words)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, **options) as process:
        groups = [process.pid]
        try:
            assert process.stdout is not None
            groups.append(int(process.stdout.readline()))
            yield process, groups[-1]
        finally:
            for group in groups:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)


def guard_of(process: subprocess.Popen[str]) -> int:
    """The guard, which is started after the command."""

    def guards() -> list[int]:
        return [pid for pid, command in children(process.pid).items() if "--guard" in command]

    (guard,) = wait_for(guards, "the guard")
    return guard


def runner_of(process: subprocess.Popen[str]) -> int:
    """The process that runs the command, where a shell has started it."""
    (runner,) = (pid for pid, command in children(process.pid).items() if process_group.__file__ in command)
    return runner


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_command_and_all_that_it_started(number):
    with grouped("sh", "-c", FAMILY) as (process, group):
        process.send_signal(number)
        assert process.communicate() == ("", "")
        assert process.returncode == 0
        assert members(group) == []


@pytest.mark.parametrize("end", ["exit 0", "exit 3", "kill -9 $$"])
def test_a_command_that_ended_by_itself_is_a_failure_and_all_that_it_started_ends(end):
    with grouped("sh", "-c", f"sleep 600 & echo $$; {end}") as (process, group):
        assert process.communicate() == ("", BY_ITSELF)
        assert process.returncode == 1
        assert members(group) == []


def test_the_command_is_told_before_what_it_started_is():
    child = "(trap 'echo child; exit' TERM; while :; do sleep 0.05; done) &"
    with grouped("sh", "-c", f"{child} trap 'sleep 0.5; echo command; exit' TERM; echo $$; wait") as (process, group):
        process.terminate()
        assert process.communicate()[0].split() == ["command", "child"]
        assert members(group) == []


def test_all_ends_where_the_process_that_runs_the_command_is_killed():
    with grouped("sh", "-c", FAMILY) as (process, group):
        guard_of(process)
        process.kill()
        process.wait()
        wait_for(lambda: not members(group), "the end of the group")


def test_all_ends_where_the_guard_is_killed():
    with grouped("sh", "-c", STUBBORN) as (process, group):
        os.kill(guard_of(process), signal.SIGKILL)
        assert process.communicate() == ("", BY_ITSELF)
        assert members(group) == []


def test_ctrl_c_while_it_ends_kills_what_does_not_listen():
    with grouped("sh", "-c", STUBBORN) as (process, group):
        process.terminate()
        wait_for(
            lambda: process.poll() is not None or process.send_signal(signal.SIGINT),
            "the end, before what does not listen is killed anyway",
            seconds=process_group.COMMAND_SECONDS,
        )
        assert process.returncode == 0
        assert members(group) == []


@pytest.mark.slow
@pytest.mark.extra
def test_what_does_not_listen_is_killed_after_a_while():
    with grouped("sh", "-c", "(trap '' TERM; sleep 600) & echo $$; wait") as (process, group):
        process.terminate()
        assert process.communicate() == ("", "")
        assert process.returncode == 0
        assert members(group) == []


@pytest.mark.parametrize(
    ("starter", "ignored"), [(IN_THE_BACKGROUND, signal.SIGINT), (WITHOUT_HANGING_UP, signal.SIGHUP)]
)
def test_a_signal_that_it_was_started_to_ignore_does_not_end_it(starter, ignored, tmp_path: Path):
    with grouped(sys.executable, "-c", WAITING, tmp_path / "end", starter=starter) as (process, _):
        os.kill(runner_of(process), ignored)
        (tmp_path / "end").touch()
        assert process.communicate() == ("", BY_ITSELF)


def test_in_the_background_of_a_script_it_ends_on_sigterm(tmp_path: Path):
    words = [sys.executable, "-c", WAITING, tmp_path / "end"]
    with grouped(*words, starter=IN_THE_BACKGROUND) as (process, group):
        os.kill(runner_of(process), signal.SIGTERM)
        process.communicate()
        assert process.returncode == 0
        assert members(group) == []
