"""The ``imdb-pipeline`` command. Every command says what it did and where it is; bad input costs one line."""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from imdb_pipeline.errors import PipelineError
from imdb_pipeline.settings import home_path

if TYPE_CHECKING:
    from imdb_pipeline.orchestration.runs import Prepared
    from imdb_pipeline.settings import Settings

app = typer.Typer(
    name="imdb-pipeline",
    help="IMDb's daily dumps to tables, documents, embeddings, a map and honestly compared rating predictors.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_NOT_OURS = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
"""What the file system refuses; other errors are bugs and keep their traceback."""

INTERRUPTED = 130
"""The shell's exit status for Ctrl+C."""

HomeOption = Annotated[
    Path | None, typer.Option("--home", metavar="DIR", help="The home [default: IMDB_PIPELINE_HOME, else ./data]")
]
SourceOption = Annotated[
    str | None,
    typer.Option(
        "--source", metavar="sample|imdb|DIR|URL", help="Where the dumps come from; recorded by the first run"
    ),
]
DayOption = Annotated[
    str | None,
    typer.Option(
        "--day", metavar="YYYY-MM-DD", help="The day [default: the date of the source's files, else today, UTC]"
    ),
]
OverrideOption = Annotated[
    list[str] | None,
    typer.Option(
        "--override", metavar="ASSET/GATE", help="Let the day's files through this gate, whatever it finds; repeatable"
    ),
]
BecauseOption = Annotated[str, typer.Option("--because", metavar="TEXT", help="Why; recorded with --override")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON value and nothing else")]


@app.command()
def run(
    home: HomeOption = None,
    source: SourceOption = None,
    day: DayOption = None,
    device: Annotated[str | None, typer.Option(metavar="auto|cpu|cuda", help="What to compute on, this time")] = None,
    encoder: Annotated[
        str | None, typer.Option(metavar="auto|ID|DIR", help="The encoder; recorded by the first run")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Make every step again, held or not")] = False,
    override: OverrideOption = None,
    because: BecauseOption = "",
) -> None:
    """Materialise the whole graph for a day as a Dagster run.

    Steps whose result is held are skipped. Example: imdb-pipeline run --source sample
    """
    folder, settings = _settle(home, source=source, encoder=encoder, device=device)
    prepared = _prepare(folder, settings, day=day, force=force)
    _override(prepared, override, because)
    _execute(prepared, force=force)
    _show_results(folder, prepared.request.day)


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

    folder, settings = _settle(home, source=source)
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
    """
    from imdb_pipeline.orchestration.automation import tell_staleness
    from imdb_pipeline.orchestration.resources import Home
    from imdb_pipeline.orchestration.runs import refresh_assets
    from imdb_pipeline.store import Store

    folder, settings = _settle(home)
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
def leaderboard(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show the predictors side by side, the best on validation first."""
    from imdb_pipeline import api

    rows = api.leaderboard(home_path(home))
    if as_json:
        _print_json(rows)
    else:
        _show_leaderboard(home_path(home), rows)


@app.command()
def similar(
    movie: Annotated[str, typer.Argument(metavar="TCONST_OR_TITLE")],
    k: Annotated[int, typer.Option("--k", help="How many")] = 10,
    mask_title: Annotated[
        bool, typer.Option("--mask-title", help="Let a title count only as far as people or genres support it")
    ] = False,
    from_year: Annotated[int | None, typer.Option(metavar="YEAR", help="Only movies of this year or later")] = None,
    to_year: Annotated[int | None, typer.Option(metavar="YEAR", help="Only movies of this year or earlier")] = None,
    min_votes: Annotated[int, typer.Option(metavar="N", help="Only movies with so many votes or more")] = 0,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the nearest movies with their cosine: of all, or of those of some years or with enough votes.

    Several movies may have a title: add the year, as in 'Frozen (2013)', or give the id.

    Examples: imdb-pipeline similar tt0120737 --k 5; imdb-pipeline similar 'Frozen (2013)' --mask-title --from-year 2000
    --min-votes 1000
    """
    from imdb_pipeline import api

    rows = api.similar(
        movie,
        k=k,
        mask_title=mask_title,
        years=(from_year, to_year),
        min_votes=min_votes,
        home=home_path(home),
    )
    if as_json:
        _print_json(rows)
        return
    for row in rows:
        print(f"{row['cosine']:.3f}  {row['tconst']:<11} {_titled(row)}")


@app.command()
def status(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show the days held, which one is current, and what each asset takes on disk."""
    from imdb_pipeline.status import home_status

    state = home_status(home_path(home))
    if as_json:
        _print_json(state)
        return
    print(f"home     {state['home']}\nsource   {state['source']}\nencoder  {state['encoder']}")
    print(f"current  {state['current'] or 'no release yet: `imdb-pipeline run` makes one'}{_age(state)}")
    for name, what in (("good_days", "days"), ("archived_days", "archive")):
        listed = state[name]
        print(f"{what:<8} {len(listed)}" + (f", {listed[0]} to {listed[-1]}" if listed else ""))
    for told in state["quarantine"]:
        print(f"refused  {told['day']}: {told['reason']} ({told['folder']})")
    for lock in state["locks"]:
        print(f"at work  {lock['asset']} of {lock['day']}, process {lock['pid']}, since {lock['since']}")
    for asset in state["assets"]:
        print(
            f"{asset['asset']:<24} {asset['days']:>4} days, latest {asset['latest']}, {asset['rows']:>10,} rows, "
            f"{asset['bytes'] / 1e6:>8.1f} MB"
        )
    for pool in state["pools"]:
        print(
            f"{pool['pool']:<24} {pool['live_rows']:>10,} of {pool['rows']:,} rows in use, {pool['bytes'] / 1e6:.1f} MB"
        )
    if state["leftovers"]:
        print(f"left over by killed runs, and deleted by the next: {len(state['leftovers'])}")


def _age(state: dict[str, Any]) -> str:
    if state["age_hours"] is None:
        return ""
    since = state["unchanged_since"]
    unchanged = f", unchanged since {since}" if since != state["current"] else ""
    return f", published {state['age_hours']:.0f} hours ago{unchanged}"


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
def report(
    home: HomeOption = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser")] = False,
) -> None:
    """Print the path of the report."""
    from imdb_pipeline.store import Store

    path = Store(home_path(home) / "store").released("report").file("report.html")
    print(path)
    if open_it:
        import webbrowser

        webbrowser.open(path.as_uri())


@app.command()
def ui(
    home: HomeOption = None,
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1")] = 3000,
) -> None:
    """Open the Dagster UI and its daemon on loopback, on the same home."""
    from imdb_pipeline.orchestration.instance import prepare_instance

    folder, _ = _settle(home)
    workspace = prepare_instance(folder) / "workspace.yaml"
    print(f"http://127.0.0.1:{port}  (home {folder}; stop with Ctrl+C)", flush=True)
    os.environ["PYTHONSAFEPATH"] = "1"  # a file in the working folder shall not stand in for a module
    arguments = ["-P", "-m", "dagster", "dev", "-w", str(workspace), "-h", "127.0.0.1", "-p", str(port)]
    os.execv(sys.executable, [sys.executable, *arguments])


def main() -> None:
    """Run the command; what a user can mend is one line on stderr and exit status 1."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        app()
    except PipelineError as error:
        _fail(str(error))
    except BrokenPipeError:
        os._exit(0)
    except OSError as error:
        if error.errno not in _NOT_OURS:
            raise
        _fail(f"{error.filename or 'the home'}: {error.strerror}; check the path, its permissions and the free space")
    except Exception as error:
        if not type(error).__module__.startswith("sqlalchemy"):
            raise
        reason = str(error).splitlines()[0]
        _fail(f"Dagster's database in the home cannot be used ({reason}); check permissions and free space")


def _fail(message: str, *, status: int = 1) -> NoReturn:
    print("imdb-pipeline: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(status)


def _settle(home: Path | None, **asked: Any) -> tuple[Path, Settings]:
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
    with _Progress(len(plan.todo)):
        try:
            run_id = execute(prepared, force=force)
        except KeyboardInterrupt:
            _fail("stopped; run the same command again, it goes on from what is held", status=INTERRUPTED)
    print(f"{len(plan.todo)} steps in {time.monotonic() - started:.0f} s, Dagster run {run_id}")


class _Progress(logging.Handler):
    """Shows the stages' log lines while a run goes on: a line a step, and what a long step says in between."""

    def __init__(self, steps: int) -> None:
        super().__init__(logging.INFO)
        self._steps, self._done = steps, 0
        self._logger = logging.getLogger("imdb_pipeline")

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "step", None) == "finished":
            self._done += 1
            print(f"[{self._done:>2}/{self._steps}] {record.getMessage()}", flush=True)
        elif record.levelno >= logging.INFO and not hasattr(record, "step"):
            print(f"        {record.getMessage()}", flush=True)

    def __enter__(self) -> None:
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False
        self._logger.addHandler(self)

    def __exit__(self, *exception: object) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = True


def _show_results(folder: Path, day: str) -> None:
    from imdb_pipeline import api
    from imdb_pipeline.store import Store

    current = Store(folder / "store").current()
    if current is not None and current["day"] != day:
        print(f"the release stays at {current['day']}, which is newer than {day}; what follows is of it")
    rows = api.leaderboard(folder)
    if rows:
        _show_leaderboard(folder, rows)
    embedded = api.load_map(folder).select("tconst")
    movies = api.load_movies(folder).join(embedded, on="tconst", how="semi")
    known = movies.sort("num_votes", "tconst", descending=[True, False], nulls_last=True).row(0, named=True)
    print(f"\nnearest to {_titled(known)}:")
    for row in api.similar(known["tconst"], k=3, home=folder):
        print(f"  {row['cosine']:.3f}  {_titled(row)}")
    released = Store(folder / "store").released("report")
    print(f"\nreport: {released.file('report.html')}")
    if not rows:
        print(api.too_few_movies(folder))
    elif not any(row["beats_mean"] for row in rows):
        print("no champion, so no predictions: no predictor beats the mean on validation")
    elif rows[0]["r2_low"] is not None and rows[0]["r2_low"] <= 0:
        print(f"the test interval of {rows[0]['model']} reaches 0: it may be no better than the mean")


def _titled(row: dict[str, Any]) -> str:
    """Return title and year, with what a terminal would obey made visible."""
    title = "".join(sign if sign.isprintable() else "\ufffd" for sign in row["title"])
    return f"{title} ({row['release_year'] or 'no year'})"


def _show_leaderboard(folder: Path, rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from imdb_pipeline import api

    if not rows:
        print(api.too_few_movies(folder))
        return
    table = Table(title=f"leaderboard ({rows[0]['n_train']:,} training movies; validation chooses, test reports)")
    for name in ("model", "validation MSE", "test MSE", "test R²", "95 % interval", "beats mean (val.)", "seconds"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for row in rows:
        table.add_row(
            row["model"],
            f"{row['validation_mse']:.3f}",
            f"{row['test_mse']:.3f}",
            "-" if row["r2"] is None else f"{row['r2']:.3f}",
            "-" if row["r2"] is None else f"{row['r2_low']:.3f} to {row['r2_high']:.3f}",
            "-" if row["model"] == "mean" else "yes" if row["beats_mean"] else "no",
            f"{row['fit_seconds']:.1f}",
        )
    Console(width=None if sys.stdout.isatty() else 110).print(table)


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))


if __name__ == "__main__":
    main()
