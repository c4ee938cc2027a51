"""Telling a webhook of a failed run, of stale data, and of the recovery from either; docs/alerts.md has the JSON.

What has been told is in ``HOME/alerts.json``, which the command line, the schedules and restarts share. Nothing here
raises: a broken webhook must not break a run. When to call belongs to the caller.
"""

from __future__ import annotations

import json
import logging
import textwrap
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from imdb_pipeline.dumps.transport import without_userinfo
from imdb_pipeline.published import DAY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from imdb_pipeline.settings import Settings

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 5.0
_ATTEMPTS = 2
_PAUSE_SECONDS = 0.5
_LOCK_SECONDS = 30.0
_TEXT_CHARACTERS = 500
_MAKES_UP_FOR = {
    "everything": {"everything", "daily", "training", "fetch"},
    "everything_and_study": {"everything_and_study", "everything", "daily", "training", "fetch"},
    # A first run that failed once the champion was there is gone on with by `daily`.
    "daily": {"daily", "everything", "fetch"},
}
"""Job to the jobs whose failures its success ends; one that is not here ends its own."""


@dataclass(frozen=True)
class _Told:
    """What has been told and not yet recovered from."""

    failed: dict[str, str] = field(default_factory=dict)
    """job and day, as ``_run_of`` names them, to the id of the first failed run"""
    stale: bool = False


@dataclass(frozen=True)
class _News:
    event: str
    day: str | None
    run_id: str | None
    message: str
    text: str
    after: _Told


def tell_failure(
    home: Path, settings: Settings, *, job: str, day: str | None, run_id: str, message: str
) -> dict[str, Any] | None:
    """Post ``run_failed``, once for each job and day until a run that makes up for it succeeds.

    Parameters
    ----------
    day
        YYYY-MM-DD; None for a job that is of no day.

    Returns
    -------
    dict or None
        The JSON that was posted; None where there is no webhook, it did not take it, or it has been told.
    """
    run = _run_of(job, day)

    def news(told: _Told) -> _News | None:
        if run in told.failed:
            return None
        after = replace(told, failed={**told.failed, run: run_id})
        return _News("run_failed", day, run_id, message, f"{run} failed: {message}", after)

    return _tell(home, settings, news, datetime.now(UTC))


def tell_success(home: Path, settings: Settings, *, job: str, day: str | None, run_id: str) -> dict[str, Any] | None:
    """Post ``run_recovered`` if a failure has been told that this success makes up for: of the day or an earlier one,
    by the same job or by one that makes no more.

    A success of an earlier day than the failed one, a backfill, is no recovery. Returns as ``tell_failure`` does.
    """

    def news(told: _Told) -> _News | None:
        over = sorted(run for run in told.failed if _makes_up(job, day, run))
        if not over:
            return None
        message = f"recovered from the failure of {', '.join(over)}"
        left = {run: first for run, first in told.failed.items() if run not in over}
        text = f"{_run_of(job, day)} succeeded: {message}"
        return _News("run_recovered", day, run_id, message, text, replace(told, failed=left))

    return _tell(home, settings, news, datetime.now(UTC))


def _run_of(job: str, day: str | None) -> str:
    return f"{job} of {day}" if day else job


def _makes_up(job: str, day: str | None, failed: str) -> bool:
    failed_job, _, failed_day = failed.partition(" of ")
    return failed_job in _MAKES_UP_FOR.get(job, {job}) and failed_day <= (day or "")


def check_staleness(
    home: Path, settings: Settings, *, age_hours: float, day: str, now: datetime
) -> dict[str, Any] | None:
    """Post ``data_stale`` once when the data is older than ``stale_hours``, and ``data_fresh`` once it no longer is.

    Parameters
    ----------
    age_hours
        Of the newest good data.
    day
        Which it is of, YYYY-MM-DD.
    now
        The time of the check, with its time zone.

    Returns
    -------
    dict or None
        As of ``tell_failure``.
    """
    limit = settings.alerts.stale_hours
    stale = age_hours > limit

    def news(told: _Told) -> _News | None:
        if stale == told.stale:
            return None
        event = "data_stale" if stale else "data_fresh"
        message = f"the newest data, of {day}, is {age_hours:.0f} hours old; the limit is {limit}"
        text = f"{'data is stale' if stale else 'data is fresh again'}: {message}"
        return _News(event, day, None, message, text, replace(told, stale=stale))

    return _tell(home, settings, news, now)


def _tell(
    home: Path, settings: Settings, news: Callable[[_Told], _News | None], now: datetime
) -> dict[str, Any] | None:
    """Post what is new given what has been told, and write down that it is told."""
    webhook = settings.alerts.webhook
    if not webhook:
        return None
    with _alone(home):
        found = news(_read(home))
        if found is None:
            return None
        body = {
            "event": found.event,
            "home": str(home),
            "source": without_userinfo(settings.source),
            "day": found.day,
            "run_id": found.run_id,
            "message": found.message,
            "text": _sentence(found.text),
            "at": now.astimezone(UTC).isoformat(timespec="seconds"),
        }
        reason = _post(webhook, body)
        if reason is not None:
            log.warning(
                "the webhook at %s %s: %s was not told, the next call tries again",
                _without_secrets(webhook),
                reason,
                found.event,
            )
            return None
        _write(home, found.after)
        return body


def _post(webhook: str, body: dict[str, Any]) -> str | None:
    """Return None once the webhook has taken it, else why it has not, in words that do not hold its address."""
    import httpx

    from imdb_pipeline import __version__

    content = json.dumps(body).encode()
    headers = {"content-type": "application/json", "user-agent": f"imdb-pipeline/{__version__}"}
    reason = None
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        try:
            with (
                _address_not_logged(),
                httpx.Client(timeout=_TIMEOUT_SECONDS, headers=headers, follow_redirects=False) as client,
                # The answer's body is never read: it may have no end.
                client.stream("POST", webhook, content=content) as response,
            ):
                status = response.status_code
        except Exception as error:  # whatever is wrong with a webhook or a proxy, the run goes on
            reason = f"cannot be reached ({type(error).__name__})"
            continue
        if 200 <= status < 300:
            return None
        reason = f"answers {status}"
        if status < 500 and status != 429:
            break
    return reason


@contextmanager
def _address_not_logged() -> Iterator[None]:
    """Keep httpx, which logs the address of each request, silent in this thread: a webhook's address is a secret."""
    thread, logger = threading.get_ident(), logging.getLogger("httpx")

    def other_threads(record: logging.LogRecord) -> bool:
        return record.thread != thread

    logger.addFilter(other_threads)
    try:
        yield
    finally:
        logger.removeFilter(other_threads)


def _without_secrets(webhook: str) -> str:
    import httpx

    try:
        url = httpx.URL(webhook)
    except httpx.InvalidURL:
        return "an address that is not valid"
    return f"{url.scheme}://{url.host}"


def _sentence(text: str) -> str:
    """Return one line of bounded length, escaped as Slack asks, so that no title or message can address a channel."""
    line = textwrap.shorten(f"imdb_pipeline: {text}", _TEXT_CHARACTERS, placeholder=" …")
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold the lock of the state, so that two processes do not tell the same. Without it, rather twice than never."""
    from filelock import FileLock, Timeout

    lock = FileLock(home / ".alerts.lock")
    try:
        lock.acquire(timeout=_LOCK_SECONDS)
    except (Timeout, OSError) as error:
        log.warning("%s cannot be locked (%s); an alert may come twice", home / ".alerts.lock", type(error).__name__)
    try:
        yield
    finally:
        lock.release()


def _state_path(home: Path) -> Path:
    return home / "alerts.json"


def _read(home: Path) -> _Told:
    from pydantic import TypeAdapter, ValidationError

    path = _state_path(home)
    try:
        told = TypeAdapter(_Told).validate_json(path.read_bytes())
        # Earlier versions kept the day alone.
        failed = {_run_of("daily", run) if DAY.fullmatch(run) else run: first for run, first in told.failed.items()}
        return replace(told, failed=failed)
    except FileNotFoundError:
        return _Told()
    except (OSError, ValidationError) as error:
        log.warning("%s cannot be read (%s); taken as empty, so an alert may come twice", path, type(error).__name__)
        return _Told()


def _write(home: Path, told: _Told) -> None:
    from imdb_pipeline.store import write_atomically

    path = _state_path(home)
    try:
        write_atomically(path, json.dumps(asdict(told), indent=2).encode())
    except OSError as error:  # a full disk is among what there is to tell
        log.warning("%s cannot be written (%s); an alert may come twice", path, error.strerror)
