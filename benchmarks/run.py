"""What a whole run costs: the first, the same again, and the next day with the same files.

    python benchmarks/run.py [--source DIR] [--quick] [--json]

Each is the command `imdb-pipeline run` in a process of its own, in one fresh home; the first is the ratio's reference.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

QUICK_MOVIES = 400
DAY = date(2026, 3, 4)


def measure(name: str, arguments: list[str], log: Path) -> dict:
    """Run a command and return its row; the memory is the largest resident set of the process."""
    started = time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(arguments, stdout=file, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{name} failed:\n{log.read_text()}")
    return {
        "name": name,
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "wall_seconds": round(time.monotonic() - started, 1),
        "peak_mb": round(usage.ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="sample", help="sample, or a folder with the four dumps")
    parser.add_argument("--quick", action="store_true", help=f"a sample of {QUICK_MOVIES} rated movies")
    parser.add_argument("--json", action="store_true", help="print a list of rows")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home, log = Path(folder) / "home", Path(folder) / "log"
        home.mkdir()
        if arguments.quick:
            (home / "settings.toml").write_text(f"[sample]\nmovies = {QUICK_MOVIES}\n")
        command = [sys.executable, "-m", "imdb_pipeline.cli", "run", "--home", str(home)]
        command += ["--source", "sample" if arguments.quick else arguments.source, "--day"]
        rows = [measure("first run", [*command, str(DAY)], log)]
        board = log.read_text()
        rows.append(measure("the same again", [*command, str(DAY)], log))
        rows.append(measure("next day, same files", [*command, str(DAY + timedelta(days=1))], log))
    for row in rows:
        row["ratio"] = round(row["cpu_seconds"] / rows[0]["cpu_seconds"], 3)
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'':<22}{'CPU s':>9}{'wall s':>9}{'peak MB':>9}{'ratio':>8}")
    for row in rows:
        print(
            f"{row['name']:<22}{row['cpu_seconds']:>9.1f}{row['wall_seconds']:>9.1f}{row['peak_mb']:>9}{row['ratio']:>8.3f}"
        )
    print(board[board.index("steps in") :].split("nearest to")[0].partition("\n")[2])


if __name__ == "__main__":
    main()
