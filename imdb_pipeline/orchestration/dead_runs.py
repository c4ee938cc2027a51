"""Runs whose process was killed: Dagster goes on showing them as started, and they keep their places in a pool."""

import logging
import os
import time
from pathlib import Path

import dagster as dg
from filelock import FileLock, Timeout

log = logging.getLogger("imdb_pipeline.runs")

COMMAND_TAG = "imdb_pipeline/command"
"""Marks a run of the command line, which lives and dies with its process."""
RUN_LOCK = ".run.lock"
"""Held in the home by a run of the command line."""
_OPEN = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
_SAME_PROCESS_SECONDS = 5.0


def close_dead_commands(instance: dg.DagsterInstance) -> None:
    """Close the runs of the command line that are open, for a caller that holds the home's lock: theirs is gone.

    They are marked as canceled, since the next call goes on from them.
    """
    for run in instance.get_runs(dg.RunsFilter(tags={COMMAND_TAG: "yes"}, statuses=_OPEN)):
        instance.report_run_canceled(run, message="its process was killed")
        _free(instance, run)


def close_dead_workers(instance: dg.DagsterInstance, home: Path) -> None:
    """Close the runs of the UI, schedules and sensors whose process has died, for a caller in the code server.

    They are marked as failed. Run launchers that start containers look after them on their own.
    """
    try:
        with FileLock(home / RUN_LOCK, timeout=0):
            close_dead_commands(instance)
    except Timeout:
        pass
    if not isinstance(instance.run_launcher, dg.DefaultRunLauncher):
        return
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        started = _process_of(instance, run) if COMMAND_TAG not in run.tags else None
        if started is not None and not _is_alive(*started):
            instance.report_run_failed(run, message="its process was killed")
            _free(instance, run)


def _free(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    log.info("run %s was killed; it is closed now", run.run_id)


def _process_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> tuple[int, float] | None:
    """Return the process id that a run said it started under on this machine, and when (seconds since 1970)."""
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        pid = entry.get_dagster_event().engine_event_data.metadata.get("pid")
        if pid is not None:
            return int(str(pid.value)), entry.timestamp
    return None


def _is_alive(pid: int, at: float) -> bool:
    """Whether the process that had this id at a time is still there; another may have got its id since."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        cells = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # no Linux, or it ended this instant: the next look tells
        return True
    if cells[0] == b"Z":
        return False
    begun = time.time() - uptime + int(cells[19]) / os.sysconf("SC_CLK_TCK")
    # The clock may have been set since ``at``: what seems to be younger and may be the process of a run, as Dagster
    # spawns them, is taken for the same. Of two mistakes, closing a run that is at work is the worse.
    return begun < at + _SAME_PROCESS_SECONDS or b"multiprocessing.spawn" in command
