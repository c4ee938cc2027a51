"""Publishing: the only place that puts bytes in their final path.

The unit is an asset of a day: ``ASSET/DAY/REVISION/`` with its files and a manifest, and ``ASSET/DAY/LATEST`` that
names the newest revision. A stage writes into a staging folder on the same file system; publishing syncs it, writes the
manifest, renames the folder and moves the pointer, so a reader sees the old revision or the new one. ``CURRENT`` names
one consistent revision of every asset: what readers outside the pipeline use.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import InputError, NotPublishedError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

MANIFEST = "manifest.json"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Revision:
    """A published revision of an asset of a day."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def asset(self) -> str:
        return self.manifest["asset"]

    @property
    def day(self) -> str:
        return self.manifest["day"]

    @property
    def id(self) -> str:
        return self.manifest["revision"]

    @property
    def key(self) -> str:
        return self.manifest["key"]

    @property
    def data_hash(self) -> str:
        """sha256 over the names and contents of the data files; equal bytes, equal hash."""
        return self.manifest["data_hash"]

    def file(self, name: str) -> Path:
        """Return the path of one of its files."""
        if name not in self.manifest["files"]:
            raise NotPublishedError(f"{self.folder} holds no {name}; materialize {self.asset} again")
        return self.folder / name

    def reference(self) -> dict[str, str]:
        """Return what a manifest records of an input."""
        return {"day": self.day, "revision": self.id, "data_hash": self.data_hash}


def step_key(asset: str, code_version: str, inputs: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """Return the sha256 of all that decides a step's result: same key, same result.

    ``inputs`` maps the name of each input to its data hash.
    """
    parts = {"asset": asset, "code_version": code_version, "inputs": dict(inputs), "settings": dict(settings)}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Store:
    """The published revisions under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def pool(self, name: str) -> Pool:
        """Return the pool of that name: ``documents``, or ``embeddings`` with the key of an encoder."""
        return Pool(self.root / "pool" / _checked(name, _NAME))

    def latest(self, asset: str, day: str) -> Revision | None:
        """Return the newest revision of an asset of a day, or None."""
        folder = self._day_folder(asset, day)
        try:
            revision = (folder / "LATEST").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        return self._read(folder / revision)

    def get(self, asset: str, day: str) -> Revision:
        """Return the newest revision of an asset of a day.

        Raises
        ------
        NotPublishedError
            There is none; the message names the days that there are.
        """
        revision = self.latest(asset, day)
        if revision is None:
            days = self.days(asset)
            have = f"days held: {', '.join(days[-5:])}" if days else "no day is held"
            raise NotPublishedError(f"{asset} of {day} is not published ({have}); materialize {asset} for {day} first")
        return revision

    def at_or_before(self, asset: str, day: str) -> Revision | None:
        """Return the newest revision of the latest day not after ``day``, or None."""
        for held in reversed(self.days(asset)):
            if held <= day:
                return self.latest(asset, held)
        return None

    def days(self, asset: str) -> list[str]:
        """Return the days that hold the asset, in order."""
        folder = self.root / _checked(asset, _NAME)
        if not folder.is_dir():
            return []
        return sorted(
            path.name for path in folder.iterdir() if _DAY.fullmatch(path.name) and (path / "LATEST").is_file()
        )

    def assets(self) -> list[str]:
        """Return the names of the assets that have been published, in order."""
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if _NAME.fullmatch(path.name) and self.days(path.name))

    def find(self, asset: str, key: str) -> Revision | None:
        """Return the newest day's latest revision that was made under this key, or None."""
        for day in reversed(self.days(asset)):
            revision = self.latest(asset, day)
            if revision is not None and revision.key == key:
                return revision
        return None

    @contextmanager
    def stage(self, asset: str) -> Iterator[Path]:
        """Give an empty folder to write into; what was not published from it is deleted."""
        _checked(asset, _NAME)
        folder = self.root / ".staging" / f"{asset}-{uuid.uuid4().hex}"
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(
        self,
        staged: Path,
        *,
        asset: str,
        day: str,
        key: str,
        code_version: str,
        inputs: Mapping[str, Revision],
        settings: Mapping[str, Any],
        rows: int,
        info: Mapping[str, Any],
        content: str | None = None,
    ) -> Revision:
        """Publish a staged folder as the newest revision of an asset of a day.

        Parameters
        ----------
        staged
            A flat folder of data files, on the store's file system.
        info
            What describes the making but not the data: seconds, device, library versions, outcomes of checks.
        content
            Identifies data that the folder only refers to (vectors in a cache); part of the data hash.
        """
        folder = self._day_folder(asset, day)
        folder.mkdir(parents=True, exist_ok=True)
        files = {path.name: {"sha256": sha256(path), "bytes": path.stat().st_size} for path in sorted(staged.iterdir())}
        digest = hashlib.sha256((content or "").encode())
        for name, entry in files.items():
            digest.update(f"\n{name} {entry['sha256']}".encode())
        data_hash = digest.hexdigest()
        now = datetime.now(UTC)
        manifest = {
            "asset": asset,
            "day": day,
            "revision": f"{now:%Y%m%dT%H%M%S.%f}-{data_hash[:8]}",
            "created_at": now.isoformat(timespec="seconds"),
            "key": key,
            "data_hash": data_hash,
            "code_version": code_version,
            "rows": rows,
            "schema": _schemas(staged),
            "files": files,
            "inputs": {name: revision.reference() for name, revision in inputs.items()},
            "settings": dict(settings),
            "info": dict(info),
        }
        (staged / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False), encoding="utf-8")
        for path in staged.iterdir():
            _sync(path)
        _sync(staged)
        final = folder / manifest["revision"]
        staged.rename(final)
        _sync(folder)
        write_atomically(folder / "LATEST", manifest["revision"].encode("ascii"))
        return Revision(final, manifest)

    def adopt(self, revision: Revision, day: str, inputs: Mapping[str, Revision]) -> Revision:
        """Publish for ``day`` what another day already holds under the same key, by hard links."""
        with self.stage(revision.asset) as staged:
            for name in revision.manifest["files"]:
                os.link(revision.file(name), staged / name)
            manifest = revision.manifest
            return self.publish(
                staged,
                asset=revision.asset,
                day=day,
                key=revision.key,
                code_version=manifest["code_version"],
                inputs=inputs,
                settings=manifest["settings"],
                rows=manifest["rows"],
                info={**manifest["info"], "adopted_from": {"day": revision.day, "revision": revision.id}},
                content=manifest["info"].get("content"),
            )

    def release(self, day: str, revisions: Mapping[str, Revision], *, trained: Collection[str] = ()) -> dict[str, Any]:
        """Point ``CURRENT`` at one revision of each asset, unless it already points at a later day.

        Parameters
        ----------
        trained
            Assets that may be older than what they were made from: a training stands until the next one.

        Returns
        -------
        dict
            What ``CURRENT`` holds afterwards.

        Raises
        ------
        NotPublishedError
            The set is not consistent: an asset was made from another content of its input than the set holds for the
            same day.
        """
        for name, revision in revisions.items():
            for source, reference in revision.manifest["inputs"].items():
                if name in trained and source not in trained:
                    continue
                held = revisions.get(source)
                if held and held.day == reference["day"] and held.data_hash != reference["data_hash"]:
                    raise NotPublishedError(
                        f"{name} of {day} was made from an older {source}; materialize {name} again before release"
                    )
        current = self.current()
        if current is not None and current["day"] > day:
            return current
        release = {
            "day": day,
            "released_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "assets": {name: revision.reference() for name, revision in sorted(revisions.items())},
        }
        write_atomically(self.root / "CURRENT", json.dumps(release, indent=2).encode())
        return release

    def current(self) -> dict[str, Any] | None:
        """Return the release that readers use, or None before the first."""
        try:
            return json.loads((self.root / "CURRENT").read_bytes())
        except FileNotFoundError:
            return None

    def released(self, asset: str) -> Revision:
        """Return the revision of an asset that the current release names.

        Raises
        ------
        NotPublishedError
            Nothing has been released, or the release has no such asset.
        """
        current = self.current()
        if current is None:
            raise NotPublishedError(
                f"{self.root.parent} holds no release yet; make one with `imdb-pipeline run --home {self.root.parent}`"
            )
        if asset not in current["assets"]:
            raise NotPublishedError(f"the release of {current['day']} holds no {asset}; run `imdb-pipeline run`")
        reference = current["assets"][asset]
        return self._read(self._day_folder(asset, reference["day"]) / reference["revision"])

    def _read(self, folder: Path) -> Revision:
        try:
            return Revision(folder, json.loads((folder / MANIFEST).read_bytes()))
        except (FileNotFoundError, json.JSONDecodeError) as error:
            raise NotPublishedError(f"{folder}: the manifest cannot be read ({error}); materialize it again") from None

    def _day_folder(self, asset: str, day: str) -> Path:
        return self.root / _checked(asset, _NAME) / _checked(day, _DAY)


class Pool:
    """Tables of rows that never change, each row under the hash of what made it, kept once for all days.

    A shard is a Parquet file named by the sha256 of its bytes; it appears whole or not at all.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def shards(self) -> list[Path]:
        return sorted(self.root.glob("*.parquet"))

    def add(self, frame: Any) -> Path:
        """Write a polars frame as a shard and return its path."""
        self.root.mkdir(parents=True, exist_ok=True)
        staged = self.root / f".shard-{uuid.uuid4().hex}"
        try:
            frame.write_parquet(staged, compression="zstd")
            final = self.root / f"{sha256(staged)}.parquet"
            _sync(staged)
            staged.rename(final)
        finally:
            staged.unlink(missing_ok=True)
        _sync(self.root)
        return final


def sha256(path: Path) -> str:
    """Return the hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a small file: a reader sees the old bytes or the new ones."""
    staged = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        with staged.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        staged.rename(path)
    finally:
        staged.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _schemas(folder: Path) -> dict[str, dict[str, str]]:
    tables = sorted(folder.glob("*.parquet"))
    if not tables:
        return {}
    import polars as pl

    return {path.name: {name: str(dtype) for name, dtype in pl.read_parquet_schema(path).items()} for path in tables}


def _checked(name: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(name):
        raise InputError(f"{name!r} is no name of an asset or a day (YYYY-MM-DD)")
    return name
