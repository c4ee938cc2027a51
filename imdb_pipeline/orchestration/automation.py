"""Jobs, schedules and the sensor: what runs without anyone asking."""

from datetime import UTC, date, datetime

import dagster as dg

from imdb_pipeline.dumps.source import needs_licence, remote_snapshot
from imdb_pipeline.errors import PipelineError
from imdb_pipeline.orchestration.assets.results import TRAINED
from imdb_pipeline.orchestration.planning import has_champion
from imdb_pipeline.orchestration.publishing import ASSETS, REUSE_TAG
from imdb_pipeline.orchestration.resources import Home

SENSOR_SECONDS = 30 * 60
_TAGS = {REUSE_TAG: "yes"}

everything = dg.define_asset_job(
    "everything", selection=list(ASSETS), description="The whole graph of a day, training included."
)
daily = dg.define_asset_job(
    "daily",
    selection=dg.AssetSelection.assets(*ASSETS) - dg.AssetSelection.assets(*TRAINED),
    description="A day without training: dumps to map, predictions by the newest champion, report, release.",
)
training = dg.define_asset_job(
    "training",
    selection=dg.AssetSelection.groups("models", "results"),
    description="Train and compare the predictors on a day that is held, then predict, report and release.",
)


def request_refresh(home: Home) -> dg.RunRequest | dg.SkipReason:
    """Ask for a run when the source holds files that no published day holds.

    Returns
    -------
    RunRequest
        Of ``daily``, or of ``everything`` while there is no champion; its key names the day and the four files.
    SkipReason
        Nothing new, nothing to watch, or the source cannot be read; the reason says which.
    """
    try:
        settings = home.settings()
        if needs_licence(settings):
            return dg.SkipReason(
                "the licence of IMDb's data has not been acknowledged: `imdb-pipeline run` asks for it"
            )
        snapshot = remote_snapshot(settings)
    except PipelineError as error:
        return dg.SkipReason(str(error))
    if snapshot is None:
        return dg.SkipReason(f"the source {settings.source} is not watched: only an address changes by itself")
    current = home.store.current()
    if current is not None and current["day"] > snapshot.day:
        return dg.SkipReason(f"the files are of {snapshot.day}, and {current['day']} is released already")
    if current is not None and all(
        home.store.released(asset).manifest["settings"]["source"] == files for asset, files in snapshot.files.items()
    ):
        return dg.SkipReason(f"the files of {snapshot.day} are held already")
    files = "-".join(str(file["etag"] or file["last_modified"]) for file in snapshot.files.values())
    job = "daily" if has_champion(home.store) else "everything"
    return dg.RunRequest(run_key=f"{snapshot.day}:{files}", partition_key=snapshot.day, tags=_TAGS, job_name=job)


@dg.sensor(
    jobs=[daily, everything],
    minimum_interval_seconds=SENSOR_SECONDS,
    description="Every 30 minutes: asks the source for the ETags of its four files; new ones start the day's run.",
)
def new_dumps(context: dg.SensorEvaluationContext, home: Home):
    return request_refresh(home)


@dg.schedule(
    job=daily,
    cron_schedule="30 20 * * *",
    execution_timezone="UTC",
    description="The safety net: late in the day, the day's run if the sensor has not started it.",
)
def late_refresh(context: dg.ScheduleEvaluationContext, home: Home):
    outcome = request_refresh(home)
    if isinstance(outcome, dg.SkipReason):
        return outcome
    if outcome.job_name != daily.name:
        return dg.SkipReason(
            "there is no champion yet; the first run is `everything`, by the sensor or `imdb-pipeline run`"
        )
    return dg.RunRequest(run_key=outcome.run_key, partition_key=outcome.partition_key, tags=outcome.tags)


@dg.schedule(
    job=training,
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    description="Trains on the newest day held, when the newest champion is as old as [training] every_days says.",
)
def retraining(context: dg.ScheduleEvaluationContext, home: Home):
    settings = home.settings()
    current = home.store.current()
    if current is None:
        return dg.SkipReason("no day is held yet")
    trained = home.store.days("champion")
    if trained:
        age = (datetime.now(UTC).date() - date.fromisoformat(trained[-1])).days
        if age < settings.training.every_days:
            return dg.SkipReason(f"the champion of {trained[-1]} is {age} days old, of {settings.training.every_days}")
        if trained[-1] == current["day"]:
            return dg.SkipReason(f"the newest day, {trained[-1]}, has been trained on already")
    return dg.RunRequest(run_key=f"training:{current['day']}", partition_key=current["day"], tags=_TAGS)


JOBS = [everything, daily, training]
SCHEDULES = [late_refresh, retraining]
SENSORS = [new_dumps]
