"""What the steps of runs printed: Dagster would keep it for ever. The runs themselves stay."""

from datetime import datetime, timedelta

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES

OUTPUT_DAYS = 30
"""Days after the end of a run."""


def delete_old_output(instance: dg.DagsterInstance, *, now: datetime) -> int:
    """Delete what runs printed that ended ``OUTPUT_DAYS`` ago or earlier; return how many such runs there are."""
    ended = dg.RunsFilter(statuses=FINISHED_STATUSES, updated_before=now - timedelta(days=OUTPUT_DAYS))
    runs = instance.get_run_ids(ended)
    for run in runs:
        instance.compute_log_manager.delete_logs(prefix=[run])
    return len(runs)
