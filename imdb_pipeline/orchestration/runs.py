"""A Dagster run of a day in this process: what the command line starts; it is in the UI afterwards."""

import logging
import os
import signal
import sys
import threading
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from imdb_pipeline import alerts
from imdb_pipeline.compute import choose_compute
from imdb_pipeline.definitions import defs
from imdb_pipeline.dumps.snapshot import find_snapshot
from imdb_pipeline.errors import GateError, InputError, PipelineError
from imdb_pipeline.orchestration.assets.results import TRAINED
from imdb_pipeline.orchestration.dead_runs import COMMAND_TAG, RUN_LOCK, close_dead_commands
from imdb_pipeline.orchestration.instance import open_instance
from imdb_pipeline.orchestration.partitions import DAYS, FIRST_DAY
from imdb_pipeline.orchestration.planning import Plan, has_champion, plan
from imdb_pipeline.orchestration.publishing import REUSE_TAG, SNAPSHOT_TAG
from imdb_pipeline.orchestration.requests import GPU_POOL, Request
from imdb_pipeline.orchestration.stages import STAGES
from imdb_pipeline.retention import collect
from imdb_pipeline.settings import Settings
from imdb_pipeline.store import Store

log = logging.getLogger("imdb_pipeline.runs")

_LOCK_SECONDS = 2.0
"""The watchdog holds the home's lock for an instant at a time."""
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
RESULT_ASSETS = ("rating_predictions", "prediction_ledger", "model_card", "report", "map_page", "release")
"""What a day makes from its champion."""
GRAPH_ASSETS = tuple(STAGES)
STUDY_ASSET = "study_reproduction"
EVALUATION_ASSETS = ("evaluation", "report", "release")
DUMP_ASSETS = tuple(name for name, stage in STAGES.items() if not stage.inputs)


@dataclass(frozen=True)
class Prepared:
    """A request with its plan, before anything is done."""

    request: Request
    plan: Plan


def prepare(
    home: Path, settings: Settings, *, day: str | None, assets: list[str] | None = None, force: bool = False
) -> Prepared:
    """Settle day and device, and sort what is held from what is to do. Only what killed runs left is mended or deleted.

    Parameters
    ----------
    day
        None for the date of the source's files, else today (UTC).

    Raises
    ------
    InputError
        The day is none of the calendar, outside the partitions, or can be had nowhere.
    """
    store = Store(home / "store")
    store.recover()
    compute = choose_compute(device=settings.device, seed=settings.training.seed)
    if day is not None:
        _require_partition(day)
    snapshot = find_snapshot(settings, store, day=day, today=today())
    _require_partition(snapshot.day)
    request = Request(home, settings, store, snapshot.day, compute, lambda: snapshot)
    return Prepared(request, plan(request, assets=assets, force=force))


def today() -> str:
    """Return the date in UTC."""
    return f"{datetime.now(UTC):%Y-%m-%d}"


def _require_partition(day: str) -> None:
    if not DAYS.has_partition_key(day):
        raise InputError(f"day {day}: give YYYY-MM-DD, from {FIRST_DAY} to today (UTC)")


def refresh_assets(store: Store) -> list[str]:
    """Return what a refresh makes: all but the training, unless nothing has been trained yet."""
    return [name for name in STAGES if name not in TRAINED or not has_champion(store)]


def execute(prepared: Prepared, *, force: bool = False) -> str:
    """Make what the plan says, as one Dagster run, and return its id; the webhook is told how it went.

    Raises
    ------
    PipelineError
        A step failed for a reason that a user can do something about; the message is the step's.
    """
    request = prepared.request
    run_id = str(uuid.uuid4())
    with _alone(request.home), open_instance(request.home) as instance:
        close_dead_commands(instance)
        _tell_waiting(instance)
        job = defs.resolve_job_def(_job_of(prepared.plan.todo))
        with _interrupts_kept():
            result = job.execute_in_process(
                instance=instance,
                partition_key=request.day,
                asset_selection=[dg.AssetKey(name) for name in prepared.plan.todo],
                run_id=run_id,
                tags={
                    COMMAND_TAG: "yes",
                    SNAPSHOT_TAG: request.snapshot.id,
                    **({} if force else {REUSE_TAG: "yes"}),
                },
                run_config={
                    **_QUIET,
                    "resources": {
                        "home": {"config": {"path": str(request.home)}},
                        "accelerator": {"config": {"device": request.settings.device}},
                    },
                },
                raise_on_error=False,  # the other files of a refused snapshot shall show their checks too
            )
        told_as = _told_as({*prepared.plan.todo, *prepared.plan.held})
        if not result.success:
            told, traceback = _first_failure(result)
            alerts.tell_failure(
                request.home, request.settings, job=told_as, day=request.day, run_id=run_id, message=told
            )
            raise GateError(told) if traceback is None else RuntimeError(traceback)
        alerts.tell_success(request.home, request.settings, job=told_as, day=request.day, run_id=run_id)
        collect(request.store, request.settings.retention, today=date.fromisoformat(today()))
        return run_id


def _job_of(assets: Collection[str]) -> str:
    """Return the name of the job that has all these assets."""
    if "evaluation" in assets:
        return "evaluate"
    return "everything_and_study" if STUDY_ASSET in assets else "everything"


def _told_as(asked: Collection[str]) -> str:
    """Return as what the webhook is told of a run that was asked for these assets, held ones too."""
    if set(DUMP_ASSETS).issuperset(asked):
        return "fetch"
    job = _job_of(asked)
    return "daily" if job == "everything" and not set(TRAINED).intersection(asked) else job


@contextmanager
def _interrupts_kept() -> Iterator[None]:
    """Turn Dagster's interruption into Python's, and send again one that Python dropped.

    Dagster raises it in the signal's handler; where that runs inside a destructor, Python reports it and goes on.
    """

    def send_again(unraisable: Any) -> None:
        if unraisable.exc_type is dg.DagsterExecutionInterruptedError:
            timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
            timer.daemon = True
            timer.start()
        else:
            before(unraisable)

    before, sys.unraisablehook = sys.unraisablehook, send_again
    try:
        yield
    except dg.DagsterExecutionInterruptedError:
        raise KeyboardInterrupt from None
    finally:
        sys.unraisablehook = before


def _first_failure(result: dg.ExecuteInProcessResult) -> tuple[str, str | None]:
    """Return what the first failed step says, with its traceback where no user can do something about it."""
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                return data.user_failure_data.description, None
            if data.error:
                if data.error.cls_name == dg.DagsterExecutionInterruptedError.__name__:
                    raise KeyboardInterrupt
                return data.error.message.strip(), data.error.to_string()
    return "the run failed", None


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold the home's lock, which the system frees when the process ends, however it ends."""
    from filelock import FileLock, Timeout

    home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(home / RUN_LOCK, timeout=_LOCK_SECONDS):
            yield
    except Timeout:
        raise PipelineError(f"another imdb-pipeline run is at work in {home}; wait for its end, or stop it") from None


def _tell_waiting(instance: dg.DagsterInstance) -> None:
    holders = instance.event_log_storage.get_concurrency_info(GPU_POOL).active_run_ids
    if holders:
        log.info("waiting for the pool %s, held by run %s", GPU_POOL, ", ".join(sorted(holders)))
