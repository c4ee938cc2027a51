"""Child processes that die with SIGKILL at a named point of a write, and the points that the package has."""

import ast
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import imdb_pipeline
from imdb_pipeline import durable

ROOT = Path(imdb_pipeline.__file__).parent


def points_in_the_code() -> set[str]:
    """Return the names of all ``reached("...")`` in the package, from its syntax trees."""
    points = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "reached":
                points.add(ast.literal_eval(node.args[0]))
    return points


def run_child(function: str, *arguments: object, watch: str = "none") -> subprocess.CompletedProcess[str]:
    """Run ``module:function`` with string arguments in a new Python.

    Parameters
    ----------
    watch
        ``none``; ``record``: print the points that were reached, as JSON, as the last line; ``kill N``: SIGKILL at the
        N-th point from 0; ``kill N POINT``: at the N-th time that POINT is reached.
    """
    command = [sys.executable, "-m", "imdb_pipeline_tests.crash", watch, function, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def record(function: str, *arguments: object) -> list[str]:
    """Run to the end and return the points in the order in which they were reached."""
    ran = run_child(function, *arguments, watch="record")
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def kill(function: str, *arguments: object, nth: int, point: str = "") -> None:
    """Run until the N-th point (the N-th time that ``point`` is reached, from 0), where it dies."""
    ran = run_child(function, *arguments, watch=f"kill {nth} {point}")
    assert ran.returncode == -signal.SIGKILL, ran.stderr


def _main(watch: str, function: str, *arguments: str) -> None:
    passed: list[str] = []

    def watcher(point: str) -> None:
        if watch.startswith("kill"):
            _, nth, *named = watch.split(maxsplit=2)
            if named in ([], [point]):
                if len(passed) == int(nth):
                    os.kill(os.getpid(), signal.SIGKILL)
                passed.append(point)
        else:
            passed.append(point)

    durable.WATCHERS.append(watcher)
    module, name = function.split(":")
    sys.argv = [name, *arguments]
    call = getattr(__import__(module, fromlist=[name]), name)
    call() if module == "imdb_pipeline.cli" else call(*arguments)
    if watch == "record":
        print(json.dumps(passed))


if __name__ == "__main__":
    _main(*sys.argv[1:])
