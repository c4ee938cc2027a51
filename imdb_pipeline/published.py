"""Reading what is published: revisions by asset and day, and the release that ``CURRENT`` names.

What puts it there belongs to ``store``, which describes the folders.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from imdb_pipeline.durable import sha256
from imdb_pipeline.errors import InputError, NotPublishedError, PipelineError
from imdb_pipeline.pool import Pool
from imdb_pipeline.revision import MANIFEST, Revision, data_hash

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LATEST = "LATEST"
CURRENT = "CURRENT"
NAME = re.compile(r"[a-z][a-z0-9_]*")
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_REVISION = re.compile(r"\d{8}T\d{6}\.\d{6}-[0-9a-f]{8}")


class Published:
    """The published revisions under one folder, to read."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def pool(self, name: str) -> Pool:
        """Return the pool of that name: ``documents``, or ``embeddings`` with the key of an encoder."""
        return Pool(self.root / "pool" / checked(name, NAME))

    def pools(self) -> list[Pool]:
        """Return the pools that there are, by name."""
        return [Pool(path) for path in sorted((self.root / "pool").glob("*/")) if NAME.fullmatch(path.name)]

    def latest(self, asset: str, day: str) -> Revision | None:
        """Return the newest revision of an asset of a day, or None."""
        folder = self._day_folder(asset, day)
        try:
            pointed = (folder / LATEST).read_bytes().decode("ascii", "replace").strip()
        except FileNotFoundError:
            return None
        if not _REVISION.fullmatch(pointed):
            raise NotPublishedError(f"{folder / LATEST}: damaged, it names no revision; the next run mends it")
        return self._read(folder / pointed)

    def revisions(self, asset: str, day: str) -> list[Revision]:
        """Return the published revisions of an asset of a day that can be read, expired ones too, oldest first."""
        latest = self.latest(asset, day)
        if latest is None:
            return []
        older = [self._whole(path) for path in revision_folders(latest.folder.parent) if path.name < latest.id]
        return [*(revision for revision in older if revision is not None), latest]

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
        folder = self.root / checked(asset, NAME)
        if not folder.is_dir():
            return []
        return sorted(path.name for path in folder.iterdir() if DAY.fullmatch(path.name) and (path / LATEST).is_file())

    def assets(self) -> list[str]:
        """Return the names of the assets that have been published, in order."""
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if NAME.fullmatch(path.name) and self.days(path.name))

    def find(self, asset: str, key: str) -> Revision | None:
        """Return the newest day's latest revision that was made under this key and has its files, or None."""
        for day in reversed(self.days(asset)):
            revision = self.latest(asset, day)
            if revision is not None and revision.key == key and not revision.expired:
                return revision
        return None

    def current(self) -> dict[str, Any] | None:
        """Return the release that readers use, or None before the first.

        Raises
        ------
        NotPublishedError
            The file is damaged.
        """
        try:
            return _load(self.root / CURRENT, "day", "assets")
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise NotPublishedError(f"{self.root / CURRENT}: damaged ({error}); the next run mends it") from None

    def require_current(self) -> dict[str, Any]:
        """Return what ``current`` does.

        Raises
        ------
        NotPublishedError
            Nothing has been released.
        """
        current = self.current()
        if current is None:
            raise NotPublishedError(
                f"{self.root.parent} holds no release yet; make one with `imdb-pipeline run --home {self.root.parent}`"
            )
        return current

    def released(self, asset: str, release: Mapping[str, Any] | None = None) -> Revision:
        """Return the revision of an asset that a release names: the current one, or what ``current`` gave before.

        Raises
        ------
        NotPublishedError
            Nothing has been released, or the release has no such asset.
        """
        current = self.require_current() if release is None else release
        if asset not in current["assets"]:
            raise NotPublishedError(f"the release of {current['day']} holds no {asset}; run `imdb-pipeline run`")
        return self.referenced(asset, current["assets"][asset])

    def referenced(self, asset: str, reference: Mapping[str, str]) -> Revision:
        """Return the revision that a release or a manifest names by ``Revision.reference``.

        Raises
        ------
        NotPublishedError
            It was removed, or its manifest is damaged.
        """
        return self._read(self._day_folder(asset, reference["day"]) / checked(reference["revision"], _REVISION))

    def verify(self, revision: Revision) -> None:
        """Read the files of a revision and compare them with its manifest.

        Raises
        ------
        NotPublishedError
            They expired.
        PipelineError
            A file is missing or has other bytes, or the manifest's own hashes disagree.
        """
        files = revision.manifest["files"]
        for name, entry in files.items():
            path = revision.file(name)
            if not path.is_file():
                raise PipelineError(f"{path}: missing; materialize {revision.asset} of {revision.day} again")
            if sha256(path) != entry["sha256"]:
                raise PipelineError(
                    f"{path}: not the bytes that were published; materialize {revision.asset} of {revision.day} again"
                )
        if data_hash(files, revision.manifest["info"].get("content")) != revision.data_hash:
            raise PipelineError(
                f"{revision.folder / MANIFEST}: its hashes disagree; "
                f"materialize {revision.asset} of {revision.day} again"
            )

    def _whole(self, folder: Path) -> Revision | None:
        """Return the revision in a folder, or None where its manifest cannot be read or its files are not there."""
        try:
            revision = self._read(folder)
        except NotPublishedError:
            return None
        if revision.expired or all((folder / name).is_file() for name in revision.manifest["files"]):
            return revision
        return None

    def _read(self, folder: Path) -> Revision:
        try:
            manifest = _load(
                folder / MANIFEST, "revision", "asset", "day", "key", "data_hash", "rows", "files", "inputs", "info"
            )
            if manifest["revision"] != folder.name:
                raise ValueError("it is of another revision")
        except (FileNotFoundError, ValueError) as error:
            raise NotPublishedError(f"{folder}: the manifest cannot be read ({error}); materialize it again") from None
        return Revision(folder, manifest)

    def _day_folder(self, asset: str, day: str) -> Path:
        return self.root / checked(asset, NAME) / checked(day, DAY)


def revision_folders(day_folder: Path) -> list[Path]:
    """Return the folders of a day's revisions, published or not, oldest first."""
    return sorted(path for path in day_folder.iterdir() if _REVISION.fullmatch(path.name))


def _load(path: Path, *keys: str) -> dict[str, Any]:
    content = json.loads(path.read_bytes())
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")
    if missing := [key for key in keys if key not in content]:
        raise ValueError(f"it lacks {missing[0]}")
    return content


def checked(name: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(name):
        raise InputError(f"{name!r} is no name of an asset or a day (YYYY-MM-DD)")
    return name
