"""What the steps of runs printed: Dagster would keep it for ever. The runs themselves stay."""

from collections.abc import Collection
from datetime import datetime, timedelta

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES

OUTPUT_DAYS = 30
"""Days after the end of a run."""


def delete_old_output(
    instance: dg.DagsterInstance, *, jobs: Collection[str], assets: Collection[str], now: datetime
) -> int:
    """Delete what runs printed that ended ``OUTPUT_DAYS`` to twice as many days ago; return how many there are.

    What is older was deleted before, but for a home whose daemon did not run for so long.

    Parameters
    ----------
    jobs, assets
        Ours: what runs of other code in the same instance printed is not deleted.
    """
    ended = dg.RunsFilter(
        statuses=FINISHED_STATUSES,
        updated_before=now - timedelta(days=OUTPUT_DAYS),
        updated_after=now - timedelta(days=2 * OUTPUT_DAYS),
    )
    own = frozenset(assets)
    runs = [
        run.run_id
        for run in instance.get_runs(ended)
        if run.job_name in jobs
        or (run.asset_selection and own.issuperset(key.to_user_string() for key in run.asset_selection))
    ]
    for run in runs:
        instance.compute_log_manager.delete_logs(prefix=[run])
    return len(runs)
