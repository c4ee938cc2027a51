"""Jobs, schedules and sensors: what runs without anyone asking."""

import json
from datetime import UTC, date, datetime, timedelta

import dagster as dg
from pydantic import Field

from imdb_pipeline import alerts
from imdb_pipeline.champions import restore_champion
from imdb_pipeline.dumps.snapshot import Snapshot
from imdb_pipeline.dumps.source import needs_licence, source_files
from imdb_pipeline.dumps.tables import DUMPS
from imdb_pipeline.errors import PipelineError
from imdb_pipeline.freshness import freshness
from imdb_pipeline.orchestration.assets.results import TRAINED
from imdb_pipeline.orchestration.dead_runs import close_dead_workers
from imdb_pipeline.orchestration.planning import has_champion
from imdb_pipeline.orchestration.presentation import is_watched
from imdb_pipeline.orchestration.publishing import REUSE_TAG, SNAPSHOT_TAG
from imdb_pipeline.orchestration.requests import failures
from imdb_pipeline.orchestration.resources import Home
from imdb_pipeline.orchestration.run_logs import delete_old_output
from imdb_pipeline.orchestration.stages import ALL_STAGES, STAGES
from imdb_pipeline.overrides import overrides
from imdb_pipeline.quarantine import refusal
from imdb_pipeline.retention import collect
from imdb_pipeline.store import write_atomically

SENSOR_SECONDS = 30 * 60
WATCHDOG_SECONDS = 5 * 60
ASKING_SECONDS = 2.0
"""All that a tick of the sensor may take to ask the source."""
PATIENT_SECONDS = 30.0
"""The same for the late schedule: a slow server shall not stop the pipeline."""
ATTEMPTS = 3
"""Runs of the same four files that may fail or be canceled before the sensor leaves them alone."""
PARTITION_TAG = "dagster/partition"
_CLAIMED = timedelta(hours=1)
_TAGS = {REUSE_TAG: "yes"}
_AT_WORK = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]

_GRAPH = dg.AssetSelection.assets(*STAGES)
everything = dg.define_asset_job(
    "everything", selection=_GRAPH, description="The whole graph of a day, training included."
)
daily = dg.define_asset_job(
    "daily",
    selection=_GRAPH - dg.AssetSelection.assets(*TRAINED),
    description="A day without training: dumps to map, predictions by the newest champion, report, release.",
)
training = dg.define_asset_job(
    "training",
    selection=_GRAPH & dg.AssetSelection.groups("models", "results"),
    description="Train and compare the predictors on a day that is held, then predict, report and release.",
)
evaluating = dg.define_asset_job(
    "evaluate",
    selection=dg.AssetSelection.assets("evaluation", "report", "release"),
    description="On demand: the protocol put to the test on a day that was trained on, and the report with it.",
)
studying = dg.define_asset_job(
    "study",
    selection=dg.AssetSelection.assets("study_reproduction", "report", "release"),
    description="On demand: the study done again to the letter on a day that is held, and the report with it.",
)
everything_and_study = dg.define_asset_job(
    "everything_and_study",
    selection=_GRAPH | dg.AssetSelection.assets("study_reproduction"),
    description="The whole graph of a day, and the study done again: `run --preset study`.",
)
_TRAINING = {job.name for job in (everything, training, everything_and_study)}


@dg.op(description="Deletes what killed runs left, what [retention] does not keep, and what old runs printed.")
def clean_up(context: dg.OpExecutionContext, home: Home) -> None:
    now = datetime.now(UTC)
    with failures(home):
        for line in home.store.recover():
            context.log.info(line)
        delete_old_output(context.instance, jobs=[job.name for job in JOBS], assets=[*ALL_STAGES], now=now)
        collected = collect(home.store, home.settings().retention, today=now.date())
    if collected.busy:
        context.log.info("a run is at work; nothing was collected")
    for shard in collected.damaged:
        context.log.warning(f"{shard}: not the bytes that were written; it was put aside")
    context.add_output_metadata(
        {
            "revisions expired": len(collected.expired),
            "revisions removed": len(collected.removed),
            "shards retired": len(collected.retired),
            "shards damaged": len(collected.damaged),
            "refused days deleted": len(collected.quarantined),
            "dead trainings deleted": len(collected.checkpoints),
            "MB freed": round(collected.bytes_freed / 1e6, 1),
        }
    )


class RestoreConfig(dg.Config):
    """Which champion serves again."""

    champion: str = Field(description="its id, or its day as YYYY-MM-DD; `imdb-pipeline champions` lists them")


@dg.op(description="Publishes an earlier champion as that of the newest day that holds one.")
def restore(context: dg.OpExecutionContext, home: Home, config: RestoreConfig) -> None:
    with failures(home):
        revision = restore_champion(home.store, config.champion)
    context.log_event(
        dg.AssetMaterialization(
            "champion",
            partition=revision.day,
            description=f"restored: {config.champion}",
            metadata={"revision": revision.id},
        )
    )
    context.log.info(f"serves from {revision.day} on; materialize rating_predictions and what follows from it")


@dg.job(description="Lets an earlier champion serve again; then launch the results of the newest day.")
def restore_a_champion():
    restore()


@dg.job(description="Recovery after kills, and retention.")
def housekeeping():
    clean_up()


WATCHED = [everything, daily, training, everything_and_study, housekeeping]
"""Of these the webhook is told."""


def request_refresh(
    home: Home, instance: dg.DagsterInstance, *, by: str, timeout_seconds: float
) -> dg.RunRequest | dg.SkipReason:
    """Ask for a run when the source holds files that no published day holds.

    Parameters
    ----------
    by
        Who asks: of two who ask for the same files within an hour, only the first gets the run.
    timeout_seconds
        All that may pass while the source is asked.

    Returns
    -------
    RunRequest
        Of ``daily``, or of ``everything`` while there is no champion; its key names the day, the four files, and the
        newest run of them that has ended: Dagster starts no second run of a key, however the first ended.
    SkipReason
        Nothing new, nothing to watch, at work already, refused by a gate, or the source or the home cannot be read;
        the reason says which.
    """
    try:
        settings = home.settings()
        if needs_licence(settings):
            return dg.SkipReason(
                "the licence of IMDb's data has not been acknowledged: `imdb-pipeline run` asks for it"
            )
        if not is_watched(settings):
            return dg.SkipReason(f"the source {settings.source} is not watched: only an address changes by itself")
        day, files = source_files(settings, timeout_seconds=timeout_seconds)
        assert day is not None
        close_dead_workers(instance, home.folder)
        return _request(home, instance, Snapshot(day, files), by=by)
    except PipelineError as error:
        return dg.SkipReason(str(error))
    except OSError as error:
        return dg.SkipReason(
            f"{error.filename or home.folder}: {error.strerror or error}; check permissions and free space"
        )


def _request(home: Home, instance: dg.DagsterInstance, snapshot: Snapshot, *, by: str) -> dg.RunRequest | dg.SkipReason:
    day = snapshot.day
    current = home.store.current()
    if current is not None and current["day"] > day:
        return dg.SkipReason(f"the files are of {day}, and {current['day']} is released already")
    if current is not None and all(
        home.store.released(dump.asset).manifest["settings"].get("snapshot") == snapshot.id for dump in DUMPS
    ):
        return dg.SkipReason(f"the files of {day} are held already")
    refused = refusal(home.folder, snapshot.id)
    if refused and not overrides(home.folder, snapshot.id):
        return dg.SkipReason(f"the files of {day} were refused: {refused['reason']}; kept aside in {refused['folder']}")
    at_work = instance.get_runs(dg.RunsFilter(tags={PARTITION_TAG: day}, statuses=_AT_WORK), limit=1)
    if at_work:
        return dg.SkipReason(f"run {at_work[0].run_id} is at work on {day}")
    job = "daily" if has_champion(home.store) else "everything"
    trains = _at_training(instance) if job == "everything" else None
    if trains:
        return dg.SkipReason(f"run {trains} is training already; the files of {day} wait for its end")
    ended = instance.get_runs(dg.RunsFilter(tags={SNAPSHOT_TAG: snapshot.id}, statuses=_ENDED))
    whole = [run for run in ended if not run.asset_selection or dg.AssetKey("release") in run.asset_selection]
    succeeded = sum(run.status is dg.DagsterRunStatus.SUCCESS for run in whole)
    # Also runs that succeeded, should the files not be held after them, are not asked for without end.
    outcomes = [
        (len(whole) - succeeded, "have failed or were canceled"),
        (succeeded, "have succeeded, and they are not held"),
    ]
    for count, how in outcomes:
        if count >= ATTEMPTS:
            return dg.SkipReason(
                f"{count} runs of the files of {day} {how}; mend what they say, then `imdb-pipeline refresh`"
            )
    key = f"{day}:{snapshot.id}:{ended[0].run_id if ended else 'first'}"
    if not _claim(home, key, by=by):
        return dg.SkipReason(f"the run of the files of {day} has just been asked for")
    return dg.RunRequest(
        run_key=key,
        partition_key=day,
        tags={**_TAGS, SNAPSHOT_TAG: snapshot.id},
        job_name=job,
    )


def _at_training(instance: dg.DagsterInstance) -> str | None:
    """Return the id of a run that is to train and has not ended."""
    for run in instance.get_runs(dg.RunsFilter(statuses=_AT_WORK)):
        selected = run.asset_selection
        if dg.AssetKey("champion") in selected if selected else run.job_name in _TRAINING:
            return run.run_id
    return None


def _claim(home: Home, key: str, *, by: str) -> bool:
    """Whether the run of this key is for ``by`` to ask for: Dagster tells runs apart only within one sensor."""
    from filelock import FileLock

    path = home.folder / ".requested.json"
    with FileLock(home.folder / ".requested.lock"):
        now = datetime.now(UTC)
        try:
            last = json.loads(path.read_bytes())
            if last["key"] == key and last["by"] == by:
                return True  # as of then: who asks again and again in vain shall not keep the other from it
            if last["key"] == key and now - datetime.fromisoformat(last["at"]) < _CLAIMED:
                return False
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            pass  # nobody has asked yet, or what is written cannot be read
        write_atomically(path, json.dumps({"key": key, "by": by, "at": now.isoformat()}).encode())
        return True


@dg.sensor(
    jobs=[daily, everything],
    minimum_interval_seconds=SENSOR_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Every 30 minutes: asks the source for the ETags of its four files; new ones start the day's run.",
)
def new_dumps(context: dg.SensorEvaluationContext, home: Home):
    return request_refresh(home, context.instance, by="new_dumps", timeout_seconds=ASKING_SECONDS)


@dg.schedule(
    job=daily,
    cron_schedule="30 20 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="The safety net: late in the day, the day's run if the sensor has not started it.",
)
def late_refresh(context: dg.ScheduleEvaluationContext, home: Home):
    if not has_champion(home.store):
        return dg.SkipReason(
            "there is no champion yet; the first run is `everything`, by the sensor or `imdb-pipeline run`"
        )
    outcome = request_refresh(home, context.instance, by="late_refresh", timeout_seconds=PATIENT_SECONDS)
    if isinstance(outcome, dg.SkipReason):
        return outcome
    return dg.RunRequest(run_key=outcome.run_key, partition_key=outcome.partition_key, tags=outcome.tags)


@dg.schedule(
    job=training,
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
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
    trains = _at_training(context.instance)
    if trains:
        return dg.SkipReason(f"run {trains} is training already")
    return dg.RunRequest(run_key=f"training:{current['day']}", partition_key=current["day"], tags=_TAGS)


@dg.schedule(
    job=housekeeping,
    cron_schedule="0 2 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Recovery and retention, every night.",
)
def cleaning(context: dg.ScheduleEvaluationContext):
    return dg.RunRequest(run_key=f"{context.scheduled_execution_time:%Y-%m-%d}")


@dg.sensor(
    minimum_interval_seconds=WATCHDOG_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Every 5 minutes: mends what killed processes left; tells the webhook when the release is "
    "older than [alerts] stale_hours.",
)
def watchdog(context: dg.SensorEvaluationContext, home: Home):
    try:
        close_dead_workers(context.instance, home.folder)
        home.store.recover()
    finally:  # data grows old just where these fail, and then the tick does too
        found = tell_staleness(home)
    return dg.SkipReason(found)


def tell_staleness(home: Home) -> str:
    """Compare the age of the release with the limit, tell the webhook once, and return what was found."""
    try:
        settings = home.settings()
        found = freshness(home.store)
    except PipelineError as error:
        return str(error)
    if found is None:
        return "nothing is released, or its source bears no date"
    now = datetime.now(UTC)
    age = found.age_hours(now)
    told = alerts.check_staleness(home.folder, settings, age_hours=age, day=found.day, now=now)
    return f"the data of {found.day} is {age:.0f} hours old" + (f": told {told['event']}" if told else "")


@dg.run_failure_sensor(
    monitored_jobs=WATCHED,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells the webhook that a day's run, a training or the housekeeping failed.",
)
def failed_runs(context: dg.RunFailureSensorContext, home: Home):
    run = context.dagster_run
    alerts.tell_failure(
        home.folder,
        home.settings(),
        job=run.job_name,
        day=run.tags.get(PARTITION_TAG),
        run_id=run.run_id,
        message=_reason(context),
    )


def _reason(context: dg.RunFailureSensorContext) -> str:
    """Return what the first failed step says, else what the run says."""
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        if data.user_failure_data and data.user_failure_data.description:
            return data.user_failure_data.description
        if data.error:
            return data.error.message.strip()
    return context.failure_event.message or "the run failed"


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=WATCHED,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells the webhook that a day's run, a training or the housekeeping succeeded again.",
)
def succeeded_runs(context: dg.RunStatusSensorContext, home: Home):
    run = context.dagster_run
    day = run.tags.get(PARTITION_TAG)
    alerts.tell_success(home.folder, home.settings(), job=run.job_name, day=day, run_id=run.run_id)


JOBS = [*WATCHED, studying, evaluating, restore_a_champion]
SCHEDULES = [late_refresh, retraining, cleaning]
SENSORS = [new_dumps, watchdog, failed_runs, succeeded_runs]
