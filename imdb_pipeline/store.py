"""Publishing: the only place that puts an asset's bytes in their final path.

The unit is an asset of a day: ``ASSET/DAY/REVISION/`` with its files and a manifest, and ``ASSET/DAY/LATEST`` that
names the newest revision. A stage writes into a staging folder on the same file system; publishing syncs it, writes the
manifest, renames the folder and moves the pointer, so a reader sees the old revision or the new one. ``CURRENT`` names
one consistent revision of every asset: what readers outside the pipeline use. What a killed process left half done,
``recover`` ends or deletes.
"""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imdb_pipeline.durable import disk_errors, link_or_copy, reached, sha256, sweep, sync, temporary, write_atomically
from imdb_pipeline.errors import NotPublishedError, PipelineError
from imdb_pipeline.locks import hold, lock_partition, share, sweep_partitions
from imdb_pipeline.pool import Pool
from imdb_pipeline.published import CURRENT, DAY, LATEST, NAME, Published, checked, revision_folders
from imdb_pipeline.revision import EXPIRED, MANIFEST, Revision, data_hash, step_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

__all__ = ["Pool", "Revision", "Store", "sha256", "step_key", "write_atomically"]

log = logging.getLogger(__name__)

_STAMP = "%Y%m%dT%H%M%S.%f"


class Store(Published):
    """The published revisions under one folder, and what adds to them."""

    @contextmanager
    def lock(self, asset: str, day: str) -> Iterator[None]:
        """Be the one run that makes an asset of a day; a collection is waited for, and none starts meanwhile.

        Raises
        ------
        PipelineError
            Another run, in this process or another, is making it.
        """
        with share(self._locks()), lock_partition(self._locks(), checked(asset, NAME), checked(day, DAY)):
            yield

    @contextmanager
    def at_rest(self) -> Iterator[bool]:
        """Keep every run from locking a day; give False where one holds a lock already."""
        with hold(self._locks(), wait=False) as held:
            yield held

    @contextmanager
    def stage(self, asset: str) -> Iterator[Path]:
        """Give an empty folder to write into; what was not published from it is deleted.

        Raises
        ------
        PipelineError
            The disk is full.
        """
        staging = self.root / ".staging"
        staging.mkdir(parents=True, exist_ok=True)
        with disk_errors(self.root), temporary(staging, checked(asset, NAME), folder=True) as folder:
            yield folder

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
        expected: Mapping[str, Any] | None = None,
    ) -> Revision:
        """Publish a staged folder as the newest revision of an asset of a day.

        Parameters
        ----------
        staged
            A folder of data files, which may have folders of its own, on the store's file system.
        info
            What describes the making but not the data: seconds, device, library versions, outcomes of checks.
        content
            Identifies data that the folder only refers to (vectors in a cache); part of the data hash.
        expected
            The files of a manifest that these must be.

        Raises
        ------
        PipelineError
            They are not those expected.
        """
        folder = self._day_folder(asset, day)
        paths = sorted(staged.rglob("*"))
        files = {
            path.relative_to(staged).as_posix(): {"sha256": sha256(path), "bytes": path.stat().st_size}
            for path in paths
            if path.is_file()
        }
        if expected is not None and files != expected:
            changed = sorted(name for name, entry in files.items() if entry != expected.get(name))
            raise PipelineError(
                f"{asset} of {day}: {', '.join(changed)} is not what was published; make it anew with run --force"
            )
        reached("publish: files staged")
        for path in paths:
            sync(path)
        folder.mkdir(parents=True, exist_ok=True)
        sync(folder.parent)
        sync(self.root)
        hashed = data_hash(files, content)
        # Between the renaming and the pointer a recovery would take the revision for one whose publisher died.
        with hold(folder):
            self._settle(folder)
            now = _next_stamp(folder)
            manifest = {
                "asset": asset,
                "day": day,
                "revision": f"{now:{_STAMP}}-{hashed[:8]}",
                "created_at": now.isoformat(timespec="seconds"),
                "key": key,
                "data_hash": hashed,
                "code_version": code_version,
                "rows": rows,
                "schema": _schemas(staged),
                "files": files,
                "inputs": {name: revision.reference() for name, revision in inputs.items()},
                "settings": dict(settings),
                "info": {**info, "content": content},
            }
            (staged / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False), encoding="utf-8")
            reached("publish: manifest written")
            sync(staged / MANIFEST)
            sync(staged)
            reached("publish: synced")
            final = folder / manifest["revision"]
            staged.rename(final)
            reached("publish: folder renamed")
            sync(folder)
            write_atomically(folder / LATEST, manifest["revision"].encode("ascii"))
            reached("publish: pointer moved")
        return Revision(final, manifest)

    def adopt(self, revision: Revision, day: str, inputs: Mapping[str, Revision]) -> Revision:
        """Publish for ``day`` what another day already holds under the same key, by hard links."""
        with self.stage(revision.asset) as staged:
            for name in revision.manifest["files"]:
                (staged / name).parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(revision.file(name), staged / name)
            reached("adopt: files linked")
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
                expected=manifest["files"],
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
        with hold(self.root):  # two releases at once would both read the same day and move back
            current = self.current()
            if current is not None and current["day"] > day:
                return current
            release = {
                "day": day,
                "released_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "assets": {name: revision.reference() for name, revision in sorted(revisions.items())},
            }
            reached("release: decided")
            write_atomically(self.root / CURRENT, json.dumps(release, indent=2).encode())
            reached("release: moved")
            return release

    def expire(self, revision: Revision) -> int:
        """Delete the data files of a revision, keep its manifest, and return the bytes freed.

        A reader sees all files or an expired revision; after a kill, ``recover`` deletes the rest.
        """
        if not revision.expired:
            expired = {"expired_at": datetime.now(UTC).isoformat(timespec="seconds")}
            write_atomically(revision.folder / EXPIRED, json.dumps(expired).encode())
        freed = 0
        for name in revision.manifest["files"]:
            freed += _own_bytes(revision.folder / name)
            (revision.folder / name).unlink(missing_ok=True)
            reached("expire: a file deleted")
        return freed

    def remove(self, revision: Revision) -> int:
        """Delete a superseded revision whole, and return the bytes freed.

        Raises
        ------
        ValueError
            It is the newest of its day.
        """
        folder = revision.folder
        with hold(folder.parent):
            latest = self.latest(revision.asset, revision.day)
            if latest is not None and latest.id == revision.id:
                raise ValueError(f"{folder} is the newest revision of its day")
            freed = sum(_own_bytes(path) for path in folder.rglob("*") if path.is_file())
            self.discard(folder)
        return freed

    def discard(self, path: Path) -> None:
        """Delete a file or folder of the home so that nobody sees a part of it."""
        staging = self.root / ".staging"
        staging.mkdir(parents=True, exist_ok=True)
        with temporary(staging, "discarded", folder=True) as trash:
            path.rename(trash / path.name)
            reached("discard: renamed")

    def recover(self) -> list[str]:
        """End or delete what dead processes left half done; what a living one is doing stays.

        - Staging folders, temporary files and lock files of dead processes are deleted.
        - A revision newer than the one that LATEST names was never published, and is deleted.
        - A LATEST that is missing, damaged, or names a revision that cannot be read is moved to the newest whole
          revision of its day: that had passed its checks before it was renamed. Where there is none, the day is not
          published any more.
        - A CURRENT that is missing or damaged is written again from the newest published ``release``.
        - Data files of an expired revision are deleted.

        Returns
        -------
        list of str
            What was done, a line each; also logged.
        """
        home = self.root.parent
        folders = [home, home / "dagster", self.root, self.root / ".staging", *(self.root / "pool").glob("*/")]
        days = sorted(path for path in self.root.glob("*/*/") if DAY.fullmatch(path.name))
        folders += [folder for day in days for folder in (day, *revision_folders(day))]
        done = [f"deleted {path}, which a killed run left" for folder in folders for path in sweep(folder)]
        sweep_partitions(self.root / ".locks")
        done += self._settle_current()
        for day in days:
            with hold(day, wait=False) as idle:
                if idle:
                    done += self._settle(day)
        done += self._settle_current()  # again, for a release whose pointer was mended just now
        for line in done:
            log.warning("%s", line)
        return done

    def _locks(self) -> Path:
        folder = self.root / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _settle(self, folder: Path) -> list[str]:
        """Have the pointer of a day, whose lock is held, name a revision that can be read, and none be newer."""
        folders = revision_folders(folder)
        try:
            latest = self.latest(folder.parent.name, folder.name)
        except NotPublishedError:
            latest = None
        done = []
        if latest is None:
            latest = next(filter(None, (self._whole(path) for path in reversed(folders))), None)
            if latest is not None:
                write_atomically(folder / LATEST, latest.id.encode("ascii"))
                done.append(f"{folder / LATEST} names {latest.id} again")
            elif (folder / LATEST).exists():
                (folder / LATEST).unlink()
                done.append(f"deleted {folder / LATEST}, which named no revision that can be read")
        for path in folders:
            if latest is None or path.name > latest.id:
                if self._is_released(path):
                    continue
                self.discard(path)
                done.append(f"deleted {path}, which was not published")
            elif (path / EXPIRED).exists():
                revision = self._whole(path)
                if revision is not None and self.expire(revision):
                    done.append(f"deleted the files of {path}, which had expired")
        return done

    def _settle_current(self) -> list[str]:
        """Write CURRENT again where it is missing or damaged, from the newest revision of ``release``."""
        if not self.root.is_dir():
            return []
        path = self.root / CURRENT
        with hold(self.root):
            try:
                if self.current() is not None:
                    return []
            except NotPublishedError:
                log.warning("%s is damaged", path)
            days = self.days("release")
            try:
                made = self.get("release", days[-1]) if days else None
            except NotPublishedError:
                return []
            if made is None:
                path.unlink(missing_ok=True)
                return []
            release = {"day": made.day, "released_at": made.manifest["created_at"], "assets": made.manifest["inputs"]}
            write_atomically(path, json.dumps(release, indent=2).encode())
        return [f"{path} names the release of {made.day} again"]

    def _is_released(self, folder: Path) -> bool:
        try:
            current = self.current()
        except NotPublishedError:
            return True  # it may be: what it holds is not known
        reference = (current or {"assets": {}})["assets"].get(folder.parent.parent.name, {})
        return reference.get("revision") == folder.name and reference.get("day") == folder.parent.name


def _next_stamp(day_folder: Path) -> datetime:
    """Return the time, or just after the newest revision's where the clock went back: ids keep the order of making."""
    now = datetime.now(UTC)
    folders = revision_folders(day_folder)
    if not folders:
        return now
    newest = datetime.strptime(folders[-1].name.split("-")[0], _STAMP).replace(tzinfo=UTC)
    return max(now, newest + timedelta(microseconds=1))


def _own_bytes(path: Path) -> int:
    """Return the bytes that deleting a file frees: none where another day links it, or it is gone."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0
    return status.st_size if status.st_nlink == 1 else 0


def _schemas(folder: Path) -> dict[str, dict[str, str]]:
    tables = sorted(folder.glob("*.parquet"))
    if not tables:
        return {}
    import polars as pl

    return {path.name: {name: str(dtype) for name, dtype in pl.read_parquet_schema(path).items()} for path in tables}
