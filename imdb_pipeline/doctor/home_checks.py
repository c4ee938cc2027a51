"""The home: its settings, disk, source, release, and Dagster's database in it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from imdb_pipeline.doctor.finding import Finding, fail, ok, warn
from imdb_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imdb_pipeline.settings import Settings

SOURCE_SECONDS = 10.0
IMDB_BYTES = 1.3e9
"""The four files of IMDb, compressed."""
_SPARE = 2e9
_PROBE = ".imdb-pipeline-doctor"
NEEDED = ("home", "settings", "release")
"""Checks without which nothing else of a home can be looked at."""


def examine(home: Path) -> Iterator[Finding]:
    """Look at a home, as far as it can be read."""
    from imdb_pipeline.settings import load_settings, settings_path

    writable = _writable(home)
    yield writable
    if writable.status == "fail":
        return
    try:
        settings = load_settings(home)
    except (PipelineError, OSError) as error:
        yield fail("settings", str(error), f"correct {settings_path(home)}")
        return
    yield ok("settings", str(settings_path(home)) if settings_path(home).exists() else "defaults, no settings.toml")
    yield _disk(home, settings)
    yield _source(home, settings)
    if (home / "store").is_dir():
        try:
            yield _release(home, settings)
            yield from _left_behind(home)
        except (PipelineError, OSError) as error:
            yield fail("release", str(error), "`imdb-pipeline run --force` on this home makes it again")
    yield from _dagster(home)


def _writable(home: Path) -> Finding:
    """Try what publication needs: a file, a rename, a hard link, a lock."""
    from imdb_pipeline.locks import hold

    for folder in (home, *home.parents):
        if folder.exists() and not folder.is_dir():
            return fail("home", f"{folder} is not a folder", "give a folder with --home")
    folder = _existing(home)
    probe, renamed, linked = (folder / f"{_PROBE}-{os.getpid()}{end}" for end in ("", "-renamed", "-linked"))
    try:
        probe.write_bytes(b"probe")
        with hold(probe, wait=False) as held:
            if not held:
                return fail("home", f"{folder}: its file system has no locks", "give a local one with --home")
        probe.rename(renamed)
        try:
            os.link(renamed, linked)
        except OSError:
            found = f"{folder}: its file system has no hard links"
            return warn("home", found, "it works, but kept files take their space twice; a local disk is better")
    except OSError as error:
        return fail("home", f"{folder}: {error.strerror}", "give another folder with --home, or its permissions")
    finally:
        for path in (probe, renamed, linked):
            path.unlink(missing_ok=True)
    return ok("home", f"{home}, files, renames, links and locks work")


def _disk(home: Path, settings: Settings) -> Finding:
    free = shutil.disk_usage(_existing(home)).free
    need = settings.retention.dumps_days * _source_bytes(settings) + _SPARE
    found = f"{free / 1e9:.0f} GB free"
    if free < need:
        advice = (
            f"{settings.retention.dumps_days} days of dumps and what is made of them want about {need / 1e9:.0f} GB: "
            "lower [retention] dumps_days in settings.toml, or give a larger disk with --home"
        )
        return (fail if free < _SPARE / 4 else warn)("disk", found, advice)
    return ok("disk", f"{found}, about {need / 1e9:.0f} GB wanted")


def _source_bytes(settings: Settings) -> float:
    from imdb_pipeline.dumps.source import base_url
    from imdb_pipeline.dumps.tables import DUMPS

    if base_url(settings):
        return IMDB_BYTES
    if settings.source == "sample":
        return settings.sample.movies * 2_000
    files = [Path(settings.source) / dump.file for dump in DUMPS]
    return sum(path.stat().st_size for path in files if path.is_file())


def _source(home: Path, settings: Settings) -> Finding:
    from imdb_pipeline.dumps.source import require_licence, source_files
    from imdb_pipeline.dumps.tables import DUMPS, read_header
    from imdb_pipeline.dumps.transport import without_userinfo

    shown = without_userinfo(settings.source)
    if settings.source == "sample":
        return ok("source", f"sample, {settings.sample.movies:,} synthetic movies with votes")
    if not settings.source.startswith(("http://", "https://")) and settings.source != "imdb":
        folder = home / settings.source
        missing = [dump.file for dump in DUMPS if not (folder / dump.file).is_file()]
        if missing:
            return fail("source", f"{shown} holds no {', '.join(missing)}", "put all four files there")
        try:
            for dump in DUMPS:
                read_header(folder / dump.file, dump)
        except (PipelineError, OSError) as error:
            return fail("source", str(error), "put the files there as IMDb publishes them")
        return ok("source", f"{shown}, the four files are there, and their columns are right")
    try:
        require_licence(settings, home)
        day, _ = source_files(settings, timeout_seconds=SOURCE_SECONDS)
    except PipelineError as error:
        return fail("source", str(error), "correct it, or look at the network and the proxy")
    return ok("source", f"{shown}, its files are of {day}")


def _release(home: Path, settings: Settings) -> Finding:
    from datetime import UTC, datetime

    from imdb_pipeline.freshness import freshness
    from imdb_pipeline.store import Store

    store = Store(home / "store")
    current = store.current()
    if current is None:
        return warn("release", "none yet", "`imdb-pipeline run` makes one")
    try:
        for asset in current["assets"]:
            revision = store.released(asset)
            if not revision.expired:
                store.verify(revision)
    except PipelineError as error:
        return fail("release", str(error), "`imdb-pipeline run --force` on this home makes it again")
    fresh = freshness(store)
    age = fresh.age_hours(datetime.now(UTC)) if fresh else None
    found = f"{current['day']}, every file is as it was published"
    if age is not None and age > settings.alerts.stale_hours:
        advice = "`imdb-pipeline refresh`, or leave `imdb-pipeline ui` on"
        return warn("release", f"{found}, but {age:.0f} hours old", advice)
    return ok("release", found)


def _left_behind(home: Path) -> Iterator[Finding]:
    from imdb_pipeline.status import home_status

    state = home_status(home)
    if state["locks"]:
        named = ", ".join(f"{lock['asset']} by process {lock['pid']}" for lock in state["locks"])
        yield ok("at work", named)
    if state["quarantine"]:
        last = state["quarantine"][-1]
        found = f"{len(state['quarantine'])} refused, the last {last['day']}: {last['reason']}"
        yield warn("refused", found, f"look at {last['folder']}; if the day is right: `imdb-pipeline run --override`")


def _dagster(home: Path) -> Iterator[Finding]:
    told = os.environ.get("DAGSTER_HOME")
    own = home / "dagster"
    if told and Path(told).resolve() != own.resolve():
        found = f"DAGSTER_HOME is {told}, not {own}"
        yield warn("dagster", found, "`dg` and `dagster` look at another home; unset it, or set it to this one")
    for path in sorted(own.rglob("*.db")) if own.is_dir() else []:
        try:
            with sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5) as database:
                (answer,) = database.execute("pragma quick_check(1)").fetchone()
        except sqlite3.Error as error:
            answer = str(error)
        if answer != "ok":
            advice = f"move {path} away: runs' history is lost, published data is not"
            yield fail("dagster", f"{path}: {answer}", advice)


def _existing(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that exists."""
    return next(each for each in (folder, *folder.parents) if each.is_dir())
