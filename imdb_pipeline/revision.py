"""A published revision: the files and the manifest of an asset of a day, and the key that it was made under."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import NotPublishedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST = "manifest.json"
EXPIRED = "EXPIRED"
"""Beside the manifest of a revision whose data files are deleted, or about to be."""


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

    @property
    def expired(self) -> bool:
        """Whether its data files are gone, by the retention; the manifest stays."""
        return (self.folder / EXPIRED).is_file()

    def file(self, name: str) -> Path:
        """Return the path of one of its files.

        Raises
        ------
        NotPublishedError
            It has no such file, or its files expired.
        """
        if name not in self.manifest["files"]:
            raise NotPublishedError(f"{self.folder} holds no {name}; materialize {self.asset} again")
        if self.expired:
            raise NotPublishedError(
                f"the files of {self.asset} of {self.day} expired ([retention] in settings.toml); the day still opens "
                f"from its documents: materialize what is between them and {self.asset} again, or take a newer day"
            )
        return self.folder / name

    def reference(self) -> dict[str, str]:
        """Return what a manifest records of an input."""
        return {"day": self.day, "revision": self.id, "data_hash": self.data_hash}


def data_hash(files: Mapping[str, Mapping[str, Any]], content: str | None) -> str:
    """Return the data hash of a manifest's files (name to sha256) and of what they only refer to."""
    digest = hashlib.sha256((content or "").encode())
    for name, entry in files.items():
        digest.update(f"\n{name} {entry['sha256']}".encode())
    return digest.hexdigest()


def step_key(asset: str, code_version: str, inputs: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """Return the sha256 of all that decides a step's result: same key, same result.

    ``inputs`` maps the name of each input to its data hash.
    """
    parts = {"asset": asset, "code_version": code_version, "inputs": dict(inputs), "settings": dict(settings)}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
