"""The command that serves: serve."""

from __future__ import annotations

import logging
import os
import sys
from importlib.util import find_spec
from typing import Annotated

import typer

from imdb_pipeline.cli.app import HomeOption, app, fail
from imdb_pipeline.settings import home_path

_SWITCH_SECONDS = 0.001


@app.command()
def serve(
    home: HomeOption = None,
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one")] = 8000,
    host: Annotated[str, typer.Option(help="The address to listen on; there is no authentication")] = "127.0.0.1",
) -> None:
    """Answer over HTTP, on loopback, what the other commands answer: similar, predict, explain, leaderboard; and show
    the report and the map. A new release is served when it is published, without a restart.

    Examples: imdb-pipeline serve; imdb-pipeline serve --home imdb-home --port 8080
    """
    if find_spec("fastapi") is None or find_spec("uvicorn") is None:
        fail("serve needs fastapi and uvicorn: pip install 'imdb-pipeline[serve]'")
    _share_cores()
    from imdb_pipeline.service.server import application, bind, exit_when_told, is_loopback
    from imdb_pipeline.service.server import serve as run

    folder = home_path(home)
    application_ = application(folder, host=host)
    with bind(host, port) as listening:
        exit_when_told()
        _log_to_stderr()
        if not is_loopback(host):
            print(
                f"imdb-pipeline: {host} is no loopback address: whoever reaches it is answered, there is no "
                "authentication; names under which it may be reached stand in [serve] allowed_hosts",
                file=sys.stderr,
            )
        shown = f"[{host}]" if ":" in host else host
        print(f"http://{shown}:{listening.getsockname()[1]}  (home {folder}; stop with Ctrl+C)", flush=True)
        run(application_, listening)


def _share_cores() -> None:
    """Leave cores to the event loop: without this, the threads of a matrix product wait for work by spinning."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // 2)))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(max(1, cores // 2)))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.setswitchinterval(_SWITCH_SECONDS)  # Python work beside the loop gives way to it sooner


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("imdb_pipeline.service")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
