"""What the child processes of the fan-out tests do: a run of ``movie_embeddings`` as the UI starts it, by the executor
that the home's settings name. Imported by every process of such a run.
"""

import json
import os
import signal
import sys
from pathlib import Path

import dagster as dg

from imdb_pipeline import durable
from imdb_pipeline.definitions import defs
from imdb_pipeline.embeddings import cache
from imdb_pipeline.orchestration import fan_out
from imdb_pipeline.orchestration.dead_runs import COMMAND_TAG
from imdb_pipeline.orchestration.executors import GPU_TAGS
from imdb_pipeline.orchestration.instance import open_instance

DAY = "2026-03-04"
SHARE, SHARD = 500, 64
"""Documents a share, and a shard where one is to be killed: few, so that the runs are short."""
KILL_ONCE = "IMDB_PIPELINE_TESTS_KILL_ONCE"
"""A file: the first process that publishes its second shard makes it, and dies with SIGKILL."""
_published: list[str] = []


def everything() -> dg.JobDefinition:
    return defs.resolve_job_def("everything")


def alone() -> dg.JobDefinition:
    """The same step after step in the run's own process, which costs less where that makes no difference."""
    job = dg.define_asset_job("alone", selection=["movie_embeddings"], executor_def=dg.in_process_executor)
    return dg.Definitions.merge(dg.Definitions(jobs=[job]), defs).resolve_job_def("alone")


def _die_once(point: str) -> None:
    if point != "pool: shard renamed":
        return
    _published.append(point)
    if len(_published) == 2:
        try:
            os.close(os.open(os.environ[KILL_ONCE], os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


fan_out.ITEMS_A_SHARE = SHARE
if KILL_ONCE in os.environ:
    cache.SHARD_DOCUMENTS = (SHARD, SHARD)
    durable.WATCHERS.append(_die_once)


def materialize(home: str, job: str = "everything", parent: str = "") -> None:
    """Run ``movie_embeddings``, or what failed of a parent run, whose process may be dead; print what came of it.

    Parameters
    ----------
    job
        ``everything``, by the executor of the settings; ``alone``, or ``command`` as the command line does.
    """
    tags = {"dagster/partition": DAY, **({COMMAND_TAG: "yes"} if job == "command" else {})}
    with open_instance(Path(home)) as instance:
        if parent == "dead":
            (dead,) = instance.get_runs()
            parent = dead.run_id
            instance.report_run_failed(dead)
        result = dg.execute_job(
            dg.reconstructable(everything if job == "everything" else alone),
            instance,
            tags=tags,
            asset_selection=None if parent else [dg.AssetKey("movie_embeddings")],
            reexecution_options=dg.ReexecutionOptions.from_failure(parent, instance) if parent else None,
        )
        events = [
            {"type": event.event_type_value, "step": event.step_key or "", "message": _message(event)}
            for event in result.all_events
        ]
        pools = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
        ran = {"run": result.run_id, "success": result.success, "pools": pools, "events": events}
        print("\n" + json.dumps(ran))


def describe() -> None:
    """Print what the definitions say of ``movie_embeddings``: its ops, their pools, how they ask for a GPU."""
    asset = defs.get_assets_def("movie_embeddings")
    spec = asset.get_asset_spec()
    ops = list(asset.node_def.iterate_op_defs())  # pyright: ignore[reportAttributeAccessIssue]
    described = {
        "deps": [dep.asset_key.to_user_string() for dep in spec.deps],
        "checks": sorted((check.name, check.description, check.blocking) for check in asset.check_specs),
        "partitions": repr(spec.partitions_def),
        **{name: getattr(spec, name) for name in ("group_name", "description", "code_version", "owners", "metadata")},
        "kinds": sorted(spec.kinds),
        "ops": {op.name: op.pool for op in ops},
        "tags of a GPU": {
            op.name: {name: json.loads(op.tags[name]) for name in GPU_TAGS if name in op.tags} for op in ops
        },
    }
    print(json.dumps(described, default=str))


def _message(event: dg.DagsterEvent) -> str:
    failure = event.step_failure_data if event.is_step_failure else None
    return failure.error.message if failure is not None and failure.error is not None else str(event.message)


if __name__ == "__main__":
    materialize(*sys.argv[1:])
