"""Where the dumps come from: IMDb or another address over HTTP, a folder, or the sample.

A source is asked for one file at a time. Whether that is whole, ``verify`` says; what its rows mean belongs to
``tables`` and ``catalogue``.
"""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from imdb_pipeline.dumps import download
from imdb_pipeline.dumps.tables import DUMPS, Dump
from imdb_pipeline.dumps.verify import verify
from imdb_pipeline.errors import InputError
from imdb_pipeline.store import sha256

if TYPE_CHECKING:
    from imdb_pipeline.settings import Settings

log = logging.getLogger(__name__)

LICENCE = "https://developer.imdb.com/non-commercial-datasets/"


@dataclass(frozen=True)
class FetchedDump:
    """A dump that was fetched and verified.

    Attributes
    ----------
    shown
        What messages call it: its address, or its path in the source.
    rows
        Lines after the header.
    origin
        Where it came from; over HTTP with its ETag and Last-Modified.
    """

    path: Path
    shown: str
    rows: int
    unpacked_bytes: int
    origin: dict[str, Any] = field(default_factory=dict)


def base_url(settings: Settings) -> str | None:
    """Return the address that the dumps are fetched from, or None for a folder and the sample."""
    if settings.source == "imdb":
        url = settings.imdb.base_url
        return url if url.endswith("/") else url + "/"
    return settings.source if settings.source.startswith(("http://", "https://")) else None


def needs_licence(settings: Settings) -> bool:
    """Whether the licence of IMDb's data has to be acknowledged first, and has not been."""
    url = base_url(settings)
    host = (urlsplit(url).hostname or "") if url else ""
    from_imdb = settings.source == "imdb" or host.endswith(("imdb.com", "imdbws.com"))
    accepted = settings.imdb.accept_licence or os.environ.get("IMDB_PIPELINE_ACCEPT_LICENCE", "").lower() == "yes"
    return from_imdb and not accepted


def require_licence(settings: Settings, home: Path) -> None:
    """Refuse to go on while the licence of IMDb's data has not been acknowledged.

    Raises
    ------
    InputError
        It has not; the message names both ways to do so.
    """
    if needs_licence(settings):
        raise InputError(
            f"IMDb's data is for personal and non-commercial use ({LICENCE}); to accept, set "
            f"IMDB_PIPELINE_ACCEPT_LICENCE=yes or write [imdb] accept_licence = true into {home / 'settings.toml'}"
        )


def fingerprint(settings: Settings, dump: Dump) -> dict[str, Any]:
    """Return what identifies the bytes that the source holds now, without fetching them.

    Raises
    ------
    InputError
        The source does not hold the file.
    """
    url = base_url(settings)
    if url is not None:
        return download.head(url + dump.file).identity()
    if settings.source == "sample":
        from imdb_pipeline.dumps.sample import SAMPLE_VERSION

        return {"sample": SAMPLE_VERSION, "movies": settings.sample.movies, "seed": settings.sample.seed}
    return {"sha256": sha256(_in_folder(settings, dump))}


@dataclass(frozen=True)
class RemoteSnapshot:
    """The four files that an address holds: their day (UTC, by Last-Modified), and by asset what identifies them."""

    day: str
    files: dict[str, dict[str, Any]]


def remote_snapshot(settings: Settings) -> RemoteSnapshot | None:
    """Ask an address what it holds; None where the source is a folder or the sample, whose files bear no date.

    Raises
    ------
    InputError
        It does not hold a file, or the four are of different days.
    """
    url = base_url(settings)
    if url is None:
        return None
    remote = {dump: download.head(url + dump.file) for dump in DUMPS}
    days = {file.day for file in remote.values()}
    if len(days) > 1:
        listed = ", ".join(f"{dump.file} of {file.day}" for dump, file in remote.items())
        raise InputError(f"{url}: the files are of different days ({listed}); try again when all four are there")
    return RemoteSnapshot(days.pop(), {dump.asset: file.identity() for dump, file in remote.items()})


def fetch_dump(
    settings: Settings, dump: Dump, *, home: Path, day: str, folder: Path, expected: dict[str, Any]
) -> FetchedDump:
    """Bring a dump into ``folder`` and verify it: a whole gzip file, the right columns, at least one row.

    Parameters
    ----------
    expected
        What ``fingerprint`` said of it.

    Raises
    ------
    InputError
        The source does not hold it for that day, it is damaged, or it has changed since ``expected``.
    """
    path = folder / dump.file
    url = base_url(settings)
    if url is not None:
        require_licence(settings, home)
        response = download.get(url + dump.file, path)
        if response.day != day:
            raise InputError(
                f"{url}{dump.file} is of {response.day}, not of {day}; only the current day can be fetched"
            )
        shown = f"{url}{dump.file}"
        origin = {"url": shown, **response.identity()}
        changed = response.identity() != expected
    else:
        source = _in_folder(_with_sample(settings, home), dump)
        shutil.copyfile(source, path)
        shown = str(source)
        origin = {"path": shown}
        changed = settings.source != "sample" and sha256(path) != expected["sha256"]
    if changed:
        raise InputError(f"{shown}: changed while it was fetched; run again")
    rows, unpacked = verify(path, dump, shown=shown)
    return FetchedDump(path, shown, rows, unpacked, origin)


def _in_folder(settings: Settings, dump: Dump) -> Path:
    path = Path(settings.source) / dump.file
    if not path.is_file():
        raise InputError(f"{path}: no such file; the source must hold {', '.join(each.file for each in DUMPS)}")
    return path


def _with_sample(settings: Settings, home: Path) -> Settings:
    """Return the settings with the sample written to a folder, once a home."""
    from dataclasses import replace

    if settings.source != "sample":
        return settings
    from imdb_pipeline.dumps.sample import SAMPLE_VERSION, write_sample

    sample = settings.sample
    folder = home / "sample" / f"v{SAMPLE_VERSION}-{sample.movies}-{sample.seed}"
    if not folder.is_dir():
        staged = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
        try:
            write_sample(staged, movies=sample.movies, seed=sample.seed)
            staged.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        log.info("wrote the sample catalogue to %s", folder)
    return replace(settings, source=str(folder))
