"""A second code location for the tests of a deployment: a schedule that ticks every minute, and asks for nothing."""

import dagster as dg


@dg.op
def nothing() -> None:
    """Is never run."""


@dg.job
def idle():
    nothing()


@dg.schedule(job=idle, cron_schedule="* * * * *", default_status=dg.DefaultScheduleStatus.RUNNING)
def every_minute(context: dg.ScheduleEvaluationContext):
    return dg.SkipReason("a tick is all that is wanted")


defs = dg.Definitions(jobs=[idle], schedules=[every_minute])
