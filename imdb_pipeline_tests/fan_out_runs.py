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
from imdb_pipeline.orchestration.instance import open_instance

DAY = "2026-03-04"
KILL_ONCE = "IMDB_PIPELINE_TESTS_KILL_ONCE"
"""A file: the first process that publishes its second shard makes it, and dies with SIGKILL."""
_published: list[str] = []


def everything() -> dg.JobDefinition:
    return defs.resolve_job_def("everything")


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


if KILL_ONCE in os.environ:
    durable.WATCHERS.append(_die_once)


def materialize(home: str, parent: str = "") -> None:
    """Run ``movie_embeddings``, or a failed run again from its failure; print id, success and events as JSON."""
    with open_instance(Path(home)) as instance:
        again = dg.ReexecutionOptions.from_failure(parent, instance) if parent else None
        result = dg.execute_job(
            dg.reconstructable(everything),
            instance,
            tags={"dagster/partition": DAY},
            asset_selection=None if parent else [dg.AssetKey("movie_embeddings")],
            reexecution_options=again,
        )
        events = [
            {"type": event.event_type_value, "step": event.step_key or "", "message": str(event.message)}
            for event in result.all_events
        ]
        print("\n" + json.dumps({"run": result.run_id, "success": result.success, "events": events}))


if __name__ == "__main__":
    materialize(*sys.argv[1:])
