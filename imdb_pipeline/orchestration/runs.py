"""A Dagster run of a day in this process: what the command line starts; it is in the UI afterwards."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from imdb_pipeline.compute import choose_compute
from imdb_pipeline.definitions import defs
from imdb_pipeline.dumps.source import remote_snapshot
from imdb_pipeline.errors import GateError, InputError, PipelineError
from imdb_pipeline.orchestration.assets.results import TRAINED
from imdb_pipeline.orchestration.instance import open_instance
from imdb_pipeline.orchestration.partitions import DAYS, FIRST_DAY
from imdb_pipeline.orchestration.planning import Plan, has_champion, plan
from imdb_pipeline.orchestration.publishing import GPU_POOL, REUSE_TAG, STAGES, Request
from imdb_pipeline.settings import Settings
from imdb_pipeline.store import Store

log = logging.getLogger("imdb_pipeline.runs")

COMMAND_TAG = "imdb_pipeline/command"
"""Marks a run of the command line, which lives and dies with its process."""
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
DUMP_ASSETS = tuple(name for name, stage in STAGES.items() if not stage.inputs)


@dataclass(frozen=True)
class Prepared:
    """A request with its plan, before anything is done."""

    request: Request
    plan: Plan


def choose_day(settings: Settings, store: Store, day: str | None) -> str:
    """Settle the day of a run: what the user says, else the date of the source's files, else today (UTC).

    Raises
    ------
    InputError
        No day of the calendar, outside the partitions, or not what the source holds now.
    """
    snapshot = remote_snapshot(settings)
    current = snapshot.day if snapshot else None
    chosen = day or current or f"{datetime.now(UTC):%Y-%m-%d}"
    if not DAYS.has_partition_key(chosen):
        raise InputError(f"day {chosen}: give YYYY-MM-DD, from {FIRST_DAY} to today (UTC)")
    if current is not None and chosen != current and store.latest(DUMP_ASSETS[0], chosen) is None:
        held = ", ".join(store.days(DUMP_ASSETS[0])[-5:]) or "none"
        raise InputError(f"day {chosen}: the source holds {current} only, and this home holds: {held}")
    return chosen


def prepare(
    home: Path, settings: Settings, *, day: str | None, assets: list[str] | None = None, force: bool = False
) -> Prepared:
    """Settle day and device, and sort what is held from what is to do. Nothing is written."""
    store = Store(home / "store")
    compute = choose_compute(device=settings.device, seed=settings.training.seed)
    request = Request(home, settings, store, choose_day(settings, store, day), compute)
    return Prepared(request, plan(request, assets=assets, force=force))


def refresh_assets(store: Store) -> list[str]:
    """Return what a refresh makes: all but the training, unless nothing has been trained yet."""
    return [name for name in STAGES if name not in TRAINED or not has_champion(store)]


def execute(prepared: Prepared, *, force: bool = False) -> str:
    """Make what the plan says, as one Dagster run, and return its id.

    Raises
    ------
    PipelineError
        A step failed for a reason that a user can do something about; the message is the step's.
    """
    request = prepared.request
    with _alone(request.home), open_instance(request.home) as instance:
        _clear_dead_runs(instance)
        job = defs.resolve_job_def("everything")
        try:
            result = job.execute_in_process(
                instance=instance,
                partition_key=request.day,
                asset_selection=[dg.AssetKey(name) for name in prepared.plan.todo],
                tags={COMMAND_TAG: "yes", **({} if force else {REUSE_TAG: "yes"})},
                run_config={
                    **_QUIET,
                    "resources": {
                        "home": {"config": {"path": str(request.home)}},
                        "accelerator": {"config": {"device": request.settings.device}},
                    },
                },
                raise_on_error=True,
            )
        except dg.Failure as failure:
            raise GateError(failure.description or "a step failed") from None
        except dg.DagsterExecutionInterruptedError:
            raise KeyboardInterrupt from None
        return result.run_id


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold the home's lock, which the system frees when the process ends, however it ends."""
    from filelock import FileLock, Timeout

    home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(home / ".run.lock", timeout=0):
            yield
    except Timeout:
        raise PipelineError(f"another imdb-pipeline run is at work in {home}; wait for its end, or stop it") from None


def _clear_dead_runs(instance: dg.DagsterInstance) -> None:
    """Close the runs that a killed command left open: their places in a pool would be waited for without end."""
    unfinished = dg.RunsFilter(
        tags={COMMAND_TAG: "yes"},
        statuses=[dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED],
    )
    for run in instance.get_runs(unfinished):
        instance.report_run_canceled(run, message="its process was killed")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        log.info("run %s was killed; it is closed now", run.run_id)
    holders = instance.event_log_storage.get_concurrency_info(GPU_POOL).active_run_ids
    if holders:
        log.info("waiting for the pool %s, held by run %s", GPU_POOL, ", ".join(sorted(holders)))
