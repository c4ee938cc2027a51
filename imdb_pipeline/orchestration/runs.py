"""A Dagster run of a day in this process: what the command line starts; it is in the UI afterwards."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from imdb_pipeline.compute import choose_compute
from imdb_pipeline.definitions import defs
from imdb_pipeline.dumps.source import remote_snapshot
from imdb_pipeline.errors import GateError, InputError
from imdb_pipeline.orchestration.assets.results import TRAINED
from imdb_pipeline.orchestration.instance import open_instance
from imdb_pipeline.orchestration.partitions import DAYS, FIRST_DAY
from imdb_pipeline.orchestration.planning import Plan, plan
from imdb_pipeline.orchestration.publishing import REUSE_TAG, STAGES, Request
from imdb_pipeline.settings import Settings
from imdb_pipeline.store import Store

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
    return [name for name in STAGES if name not in TRAINED or not store.days("champion")]


def execute(prepared: Prepared, *, force: bool = False) -> str:
    """Make what the plan says, as one Dagster run, and return its id.

    Raises
    ------
    PipelineError
        A step failed for a reason that a user can do something about; the message is the step's.
    """
    request = prepared.request
    with open_instance(request.home) as instance:
        job = defs.resolve_job_def("everything")
        try:
            result = job.execute_in_process(
                instance=instance,
                partition_key=request.day,
                asset_selection=[dg.AssetKey(name) for name in prepared.plan.todo],
                tags={} if force else {REUSE_TAG: "yes"},
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
