"""What a person at a terminal sees: the lines of a run's steps, and a bar, which is not where nobody looks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from imdb_pipeline_tests.conftest import DAY
from imdb_pipeline_tests.tiny_dumps import write_dumps

HIDE_CURSOR = "\x1b[?25l"


def fetch(folder, *, terminal: bool) -> tuple[int, str]:
    """Fetch tiny dumps, with a terminal for its output or with a file; return the status and what it wrote."""
    source = write_dumps(folder / "source")
    command = [sys.executable, "-m", "imdb_pipeline.cli", "fetch", "--home", str(folder / "home")]
    command += ["--source", str(source), "--day", DAY]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"}
    if not terminal:
        ran = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        return ran.returncode, ran.stdout
    ours, its = os.openpty()
    with subprocess.Popen(command, env=environment, stdout=its, stdin=its) as running:
        os.close(its)
        written = bytearray()
        while True:
            try:
                read = os.read(ours, 65_536)
            except OSError:  # the other end is closed
                break
            if not read:
                break
            written += read
        os.close(ours)
        return running.wait(timeout=60), written.decode()


@pytest.mark.parametrize("terminal", [True, False])
def test_steps_are_listed_and_a_terminal_has_a_bar_with_the_step_at_work(tmp_path, terminal):
    status, written = fetch(tmp_path, terminal=terminal)
    assert status == 0, written
    for number, asset in enumerate(("name_basics_dump", "title_basics_dump"), start=1):
        assert f"[ {number}/4] {asset}" in written
    assert "4 steps in" in written
    assert (HIDE_CURSOR in written) == terminal
    assert ("4/4" in written.replace("[ 4/4]", "")) == terminal
