"""The finished parts of a long step, as the folds of a champion: kept until the step is over, so that a kill costs one.

A part is kept with the key of its step and of the code. That of another key, or a damaged one, is not used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from imdb_pipeline.durable import disk_errors, sha256, write_atomically
from imdb_pipeline.models.checkpoints import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from imdb_pipeline.models.fitting import Model

LIBRARIES = ("lightgbm", "numpy", "polars", "scikit-learn", "scipy", "tokenizers", "torch", "transformers")

logger = logging.getLogger(__name__)


class Finished:
    """What is finished of a step.

    Parameters
    ----------
    folder
        One that outlives a kill; None where nothing is kept.
    key
        Of all that decides the step's result but the code: data, settings, seed, device.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._folder = folder
        self._key = key

    def of(self, name: str) -> Finished:
        """Return what is finished of a part that has parts of its own."""
        return Finished(self.checkpoints(name), self._key)

    def checkpoints(self, name: str) -> Path | None:
        """Return the folder for checkpoints within a part, of a training that resumes."""
        return None if self._folder is None else self._folder / name

    def predictions(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the array of a part, which is made and kept where it is not there."""
        if self._folder is None:
            return make()
        kept = Checkpoint(self._folder, name, self._full_key)
        held = kept.read()
        if held is not None:
            logger.info("%s: kept from a run that did not end", name)
            return held[0]["predictions"]
        predictions = make()
        kept.write({"predictions": predictions}, {})
        return predictions

    def model(self, name: str, make: Callable[[], Model], load: Callable[[Path], Model]) -> tuple[Model, float]:
        """Return the model of a part, which is made and kept where it is not there, and the seconds it took to make.

        Parameters
        ----------
        load
            Reads what the model's ``save`` wrote into a folder.
        """
        started = time.perf_counter()
        if self._folder is None:
            return make(), time.perf_counter() - started
        folder, listed = self._folder / f"{name}.model", self._folder / f"{name}.model.json"
        match _read(listed):
            case {"key": self._full_key, "seconds": float(seconds), "files": files} if files == _digests(folder):
                logger.info("%s: kept from a run that did not end", name)
                return load(folder), seconds
        model = make()
        seconds = time.perf_counter() - started
        with disk_errors(self._folder):
            listed.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            model.save(folder)
            # Last: before, what is in the folder may be half of a model.
            content = {"key": self._full_key, "seconds": seconds, "files": _digests(folder)}
            write_atomically(listed, json.dumps(content).encode())
        return model, seconds

    @property
    def _full_key(self) -> str:
        parts = [self._key, code_hash(Path(__file__).parent), *(f"{name} {version(name)}" for name in LIBRARIES)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@cache
def code_hash(folder: Path) -> str:
    """Return a hash of the Python files under a folder: what was made by other code is made again."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)} {sha256(path)}\n".encode())
    return digest.hexdigest()


def _digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file under a folder, by its path there."""
    return {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def _read(path: Path) -> object:
    """Return what is in a JSON file; None where there is none, or it is damaged."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
