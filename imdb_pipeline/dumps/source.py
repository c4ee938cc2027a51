"""Where the dumps come from: IMDb or another address over HTTP, a folder, or the sample.

Whether a file is whole, ``verify`` says. What the four are together belongs to ``snapshot``, what a file's rows mean to
``tables`` and ``catalogue``.
"""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from imdb_pipeline.dumps import download
from imdb_pipeline.dumps.tables import DUMPS, Dump
from imdb_pipeline.dumps.transport import without_userinfo
from imdb_pipeline.durable import remembered_sha256
from imdb_pipeline.errors import InputError
from imdb_pipeline.store import sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imdb_pipeline.settings import Settings
    from imdb_pipeline.store import Revision

log = logging.getLogger(__name__)

LICENCE = "https://developer.imdb.com/non-commercial-datasets/"
ONE_PUBLICATION = timedelta(hours=12)
"""Files dated so near each other belong together, also where midnight is between them; publications are a day apart."""


@dataclass(frozen=True)
class FetchedDump:
    """A file that was brought.

    Attributes
    ----------
    shown
        What messages call it: its address, or its path in the source.
    origin
        Where it came from; over HTTP with its ETag and Last-Modified.
    held
        The published file that it equals, where the server said so; then nothing was fetched.
    """

    shown: str
    origin: dict[str, Any]
    held: Path | None = None


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


def source_files(
    settings: Settings, *, timeout_seconds: float | None = None
) -> tuple[str | None, dict[str, dict[str, Any]]]:
    """Ask the source what it holds now, without fetching it.

    Parameters
    ----------
    timeout_seconds
        For all four files of an address together; None for as long as a run may wait.

    Returns
    -------
    day
        The date of the newest Last-Modified in UTC; None for a folder and the sample, whose files bear no date.
    files
        By asset, what identifies the bytes of its file.

    Raises
    ------
    InputError
        It does not hold a file, cannot be asked, or the four are of different publications.
    """
    url = base_url(settings)
    if url is None:
        return None, {dump.asset: _fingerprint(settings, dump) for dump in DUMPS}
    addresses = [url + dump.file for dump in DUMPS]
    if timeout_seconds is None:
        answers = download.heads(addresses)
    else:
        answers = download.heads(addresses, timeout_seconds=timeout_seconds, attempts=1)
    remote = dict(zip(DUMPS, answers, strict=True))
    oldest, newest = min(file.modified for file in answers), max(file.modified for file in answers)
    if newest - oldest > ONE_PUBLICATION:
        apart = "are of different days" if newest.date() != oldest.date() else "are more than twelve hours apart"
        listed = ", ".join(f"{dump.file} of {file.modified:%Y-%m-%d %H:%M}" for dump, file in remote.items())
        raise InputError(
            f"{without_userinfo(url)}: the files {apart} ({listed}, UTC); try again when all four are there"
        )
    return f"{newest:%Y-%m-%d}", {dump.asset: file.identity() for dump, file in remote.items()}


def fetch_dump(
    settings: Settings, dump: Dump, *, home: Path, path: Path, expected: Mapping[str, Any], newest: Revision | None
) -> FetchedDump:
    """Bring a file to ``path``; whether it is a whole dump is not looked at.

    Parameters
    ----------
    expected
        What identifies its bytes, as ``source_files`` said.
    newest
        The newest published file of this dump: a server is told of it, and need not send it again.

    Raises
    ------
    InputError
        The source does not hold it, or holds another since ``expected``.
    """
    url = base_url(settings)
    if url is not None:
        require_licence(settings, home)
        shown = without_userinfo(url + dump.file)
        came = download.get(url + dump.file, path, held=_as_remote(newest, shown))
        if came is None and newest is not None:  # not modified
            return FetchedDump(shown, {"url": shown, **expected}, held=newest.file(dump.file))
        assert came is not None
        identity = came.remote.identity()
        fetched = FetchedDump(shown, {"url": shown, **identity})
        told = {name: value for name, value in expected.items() if value and identity[name]}
        changed = any(_plain(identity[name]) != _plain(value) for name, value in told.items())
    else:
        source = _in_folder(_with_sample(settings, home), dump)
        shutil.copyfile(source, path)
        fetched = FetchedDump(str(source), {"path": str(source)})
        changed = settings.source != "sample" and sha256(path) != expected["sha256"]
    if changed:
        raise InputError(f"{fetched.shown}: changed while it was fetched; run again")
    return fetched


def _plain(value: Any) -> Any:
    """Return an ETag without the mark of a weak one: some servers give it to a HEAD only."""
    return value.removeprefix("W/") if isinstance(value, str) else value


def _as_remote(revision: Revision | None, shown: str) -> download.RemoteFile | None:
    """Return what the server said of a published file, if it came from this address."""
    origin = revision.manifest["info"]["origin"] if revision else {}
    if origin.get("url") != shown:
        return None
    return download.RemoteFile(shown, origin["etag"], origin["last_modified"], origin["bytes"])


def _fingerprint(settings: Settings, dump: Dump) -> dict[str, Any]:
    if settings.source == "sample":
        from imdb_pipeline.dumps.sample import SAMPLE_VERSION

        return {"sample": SAMPLE_VERSION, "movies": settings.sample.movies, "seed": settings.sample.seed}
    return {"sha256": remembered_sha256(_in_folder(settings, dump))}


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
