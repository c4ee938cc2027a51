"""Commands that make something: run, fetch, refresh, evaluate, restore, sample, ui."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imdb_pipeline.cli.app import (
    INTERRUPTED,
    BecauseOption,
    DayOption,
    HomeOption,
    OverrideOption,
    SourceOption,
    app,
    fail,
)
from imdb_pipeline.cli.progress import Progress
from imdb_pipeline.cli.show import show_results
from imdb_pipeline.settings import home_path

if TYPE_CHECKING:
    from imdb_pipeline.orchestration.runs import Prepared
    from imdb_pipeline.settings import Settings


@app.command()
def run(
    home: HomeOption = None,
    source: SourceOption = None,
    day: DayOption = None,
    device: Annotated[str | None, typer.Option(metavar="auto|cpu|cuda", help="What to compute on, this time")] = None,
    encoder: Annotated[
        str | None, typer.Option(metavar="auto|ID|DIR", help="The encoder; recorded by the first run")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="study", help="Also do the study again to the letter, for the report")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Make every step again, held or not")] = False,
    override: OverrideOption = None,
    because: BecauseOption = "",
) -> None:
    """Materialise the whole graph for a day as a Dagster run.

    Steps whose result is held are skipped.

    Examples: imdb-pipeline run --source sample; imdb-pipeline run --source imdb --preset study
    """
    if preset not in (None, "study"):
        fail(f"preset {preset}: unknown; there is study")
    from imdb_pipeline.orchestration.runs import GRAPH_ASSETS, STUDY_ASSET

    folder, settings = settle_home(home, source=source, encoder=encoder, device=device)
    assets = [*GRAPH_ASSETS, STUDY_ASSET] if preset else None
    prepared = _prepare(folder, settings, day=day, assets=assets, force=force)
    _override(prepared, override, because)
    _execute(prepared, force=force)
    show_results(folder, prepared.request.day)


@app.command()
def fetch(
    home: HomeOption = None,
    source: SourceOption = None,
    day: DayOption = None,
    override: OverrideOption = None,
    because: BecauseOption = "",
) -> None:
    """Fetch the four dumps alone: verified, gated, published.

    Example: imdb-pipeline fetch --source imdb
    """
    from imdb_pipeline.orchestration.runs import DUMP_ASSETS

    folder, settings = settle_home(home, source=source)
    prepared = _prepare(folder, settings, day=day, assets=list(DUMP_ASSETS))
    _override(prepared, override, because)
    _execute(prepared)
    store = prepared.request.store
    for asset in DUMP_ASSETS:
        revision = store.get(asset, prepared.request.day)
        print(f"{asset}: {revision.manifest['rows']:,} rows in {revision.folder}")


@app.command()
def refresh(home: HomeOption = None, override: OverrideOption = None, because: BecauseOption = "") -> None:
    """Do once what the sensor does: nothing when there is nothing new, else the run of a day.

    Trains only while there is no champion; the training job does it otherwise. Old data is told to the webhook.

    Example: imdb-pipeline refresh --home imdb-home
    """
    from imdb_pipeline.orchestration.automation import tell_staleness
    from imdb_pipeline.orchestration.resources import Home
    from imdb_pipeline.orchestration.runs import refresh_assets
    from imdb_pipeline.store import Store

    folder, settings = settle_home(home)
    try:
        prepared = _prepare(folder, settings, day=None, assets=refresh_assets(Store(folder / "store")))
        _override(prepared, override, because)
        if not prepared.plan.todo:
            print(f"nothing new: {prepared.request.day} is held")
            return
        _execute(prepared)
        print(f"{prepared.request.day} is current")
    finally:
        tell_staleness(Home(path=str(folder)))


@app.command()
def evaluate(home: HomeOption = None) -> None:
    """Put the protocol to the test on the newest day that was trained on; the report shows it afterwards.

    Every predictor in ten-fold rotation, the trees on shuffled ratings, whether a feature knows a rating, what
    forbidden features would give. Every predictor is fitted ten times: it takes a while.

    Example: imdb-pipeline evaluate
    """
    from imdb_pipeline.orchestration.runs import EVALUATION_ASSETS
    from imdb_pipeline.store import Store

    folder, settings = settle_home(home)
    store = Store(folder / "store")
    days = store.days("champion")
    if not days:
        fail("nothing is trained yet: `imdb-pipeline run` does it")
    _execute(_prepare(folder, settings, day=days[-1], assets=list(EVALUATION_ASSETS)))
    current = store.current()
    if current is not None and current["day"] > days[-1]:
        _execute(_prepare(folder, settings, day=current["day"], assets=list(EVALUATION_ASSETS[1:])))
    evaluation = store.get("evaluation", days[-1]).file("evaluation.json")
    found = json.loads(evaluation.read_bytes())
    if "too_few" in found:
        fail(f"nothing to evaluate: {found['too_few']}")
    print(f"evaluation: {evaluation}")
    print(f"report: {store.released('report').file('report.html')}")


@app.command()
def restore(
    champion: Annotated[str, typer.Argument(metavar="DAY_OR_ID", help="As `imdb-pipeline champions` lists them")],
    home: HomeOption = None,
) -> None:
    """Let an earlier champion serve again, and make predictions, report and release anew.

    Example: imdb-pipeline restore 2026-03-01
    """
    from imdb_pipeline.champions import restore_champion
    from imdb_pipeline.orchestration.runs import RESULT_ASSETS
    from imdb_pipeline.store import Store

    folder, settings = settle_home(home)
    store = Store(folder / "store")
    revision = restore_champion(store, champion)
    print(f"the champion {champion} serves from {revision.day} on, until a training finds one that is not worse")
    newest = max(revision.day, *store.days("movies"))
    _execute(_prepare(folder, settings, day=newest, assets=list(RESULT_ASSETS)))


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(metavar="DIR")],
    movies: Annotated[int, typer.Option(help="Movies with 30 votes or more")] = 3000,
    seed: Annotated[int, typer.Option(help="Another seed, another catalogue")] = 0,
    scale: Annotated[float | None, typer.Option(help="Instead of --movies: 1.0 has the real dumps' row counts")] = None,
) -> None:
    """Write a synthetic catalogue in IMDb's format.

    Example: imdb-pipeline sample /tmp/catalogue --movies 500
    """
    from imdb_pipeline.dumps.sample import write_sample

    for name, rows in write_sample(folder, movies=movies, seed=seed, scale=scale).items():
        print(f"{folder / name}: {rows:,} rows")


@app.command()
def ui(
    home: HomeOption = None,
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1")] = 3000,
) -> None:
    """Open the Dagster UI and its daemon on loopback, on the same home.

    Example: imdb-pipeline ui --home imdb-home --port 3001
    """
    from imdb_pipeline.cli import process_group
    from imdb_pipeline.orchestration.instance import prepare_instance

    folder, _ = settle_home(home)
    workspace = prepare_instance(folder) / "workspace.yaml"
    _hold_ui_lock(folder)
    _require_free(port)
    print(f"http://127.0.0.1:{port}  (home {folder}; stop with Ctrl+C)", flush=True)
    os.environ["PYTHONSAFEPATH"] = "1"  # a file in the working folder shall not stand in for a module
    arguments = ["-P", "-m", "dagster", "dev", "-w", str(workspace), "-h", "127.0.0.1", "-p", str(port)]
    os.execv(sys.executable, [sys.executable, "-I", process_group.__file__, sys.executable, *arguments])


def _hold_ui_lock(folder: Path) -> None:
    """Lock the home's `.ui.lock` until this process, or what it becomes, has ended."""
    from imdb_pipeline.locks import claim

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".ui.lock"
    path.touch()
    descriptor = claim(path)
    if descriptor is None:
        fail(f"another imdb-pipeline ui is at work in {folder}; stop it first: two daemons would ask for runs twice")
    os.set_inheritable(descriptor, True)  # os.execv closes what is not


def _require_free(port: int) -> None:
    """Dagster would go on without its UI."""
    import socket

    try:
        socket.create_server(("127.0.0.1", port)).close()
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        fail(f"port {port} on 127.0.0.1: {reason}; give another --port")


def settle_home(home: Path | None, **asked: Any) -> tuple[Path, Settings]:
    from imdb_pipeline.dumps.source import require_licence
    from imdb_pipeline.settings import settle

    folder = home_path(home)
    settings = settle(folder, **asked)
    _ask_licence(folder, settings)
    require_licence(settle(folder, **asked), folder)
    return folder, settings


def _ask_licence(folder: Path, settings: Settings) -> None:
    from imdb_pipeline.dumps.source import LICENCE, needs_licence
    from imdb_pipeline.settings import accept_licence

    if needs_licence(settings) and sys.stdin.isatty():
        print(f"IMDb's data is for personal and non-commercial use and may not be republished: {LICENCE}")
        if input("Type yes to accept: ").strip().lower() == "yes":
            accept_licence(folder)


def _prepare(
    folder: Path, settings: Settings, *, day: str | None, assets: list[str] | None = None, force: bool = False
) -> Prepared:
    from imdb_pipeline.dumps.transport import without_userinfo
    from imdb_pipeline.orchestration.runs import prepare
    from imdb_pipeline.settings import record

    prepared = prepare(folder, settings, day=day, assets=assets, force=force)
    record(folder, settings)
    compute = prepared.request.compute
    print(f"home {folder}, source {without_userinfo(settings.source)}, day {prepared.request.day}")
    print(f"encoder {settings.encoder} @ {settings.encoder_revision[:12]}, {compute.dtype} on {compute.device_name}")
    return prepared


def _override(prepared: Prepared, gates: list[str] | None, because: str) -> None:
    if not gates and not because:
        return
    from imdb_pipeline.orchestration.publishing import OVERRIDABLE
    from imdb_pipeline.overrides import record_overrides

    request = prepared.request
    record_overrides(
        request.home, gates or [], day=request.day, snapshot=request.snapshot.id, because=because, known=OVERRIDABLE
    )


def _execute(prepared: Prepared, *, force: bool = False) -> None:
    from imdb_pipeline.orchestration.runs import execute

    plan = prepared.plan
    if plan.held:
        print(f"skipped, held already ({len(plan.held)}): {', '.join(plan.held)}")
    if plan.expired:
        print(f"of these the files expired, by [retention] in settings.toml: {', '.join(plan.expired)}")
    if not plan.todo:
        print("nothing to do")
        return
    started = time.monotonic()
    with Progress(len(plan.todo)):
        try:
            run_id = execute(prepared, force=force)
        except KeyboardInterrupt:
            fail("stopped; run the same command again, it goes on from what is held", status=INTERRUPTED)
    print(f"{len(plan.todo)} steps in {time.monotonic() - started:.0f} s, Dagster run {run_id}")
