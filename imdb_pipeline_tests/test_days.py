"""Simulated days in a row, good and bad: the short form of ``benchmarks/days.py``, which judges what is held."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "days.py"


@pytest.mark.extra
@pytest.mark.timeout(1800)
def test_after_ten_days_every_good_one_is_held_no_bad_one_and_replays_are_equal(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, "--quick", "--json"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    said = {row["name"].split(" ", 1)[1]: row for row in rows}
    assert "not a whole gzip file" in said["truncated file"]["said"]
    assert "-4." in said["4 % of the credits missing"]["said"]
    assert "are of different days" in said["files of two days"]["said"]
    assert "nothing new" in said["yesterday's files again"]["said"]
    first, *later = [row for row in rows if row["embedded"] is not None]
    assert all(row["embedded"] < first["embedded"] / 2 for row in later)
    graded = [row["graded"] for row in rows if row["graded"] is not None]
    assert graded == sorted(graded)
    assert graded[-1] > 0  # movies that were predicted while they had few votes, and got enough since
