"""Checkpoints of a training: one file that holds the newest state, from which a killed training goes on.

A safetensors file with JSON in its header; nothing in it can run code. It is replaced in one step. It names the data,
settings and seed that it belongs to and holds a digest of its arrays: of another training, or damaged, it is ignored.
"""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any

from imdb_pipeline.durable import disk_errors, sweep, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy as np

logger = logging.getLogger(__name__)


def training_key(settings: dict[str, Any], arrays: Iterable[np.ndarray]) -> str:
    """Return a hash of all that decides a training.

    Parameters
    ----------
    settings
        JSON values: settings, seed, device. The version of torch is counted in.
    arrays
        The data: inputs and ratings, of training and of validation.
    """
    import numpy as np
    import torch

    digest = hashlib.sha256(json.dumps({"torch": torch.__version__, **settings}, sort_keys=True).encode())
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


class Checkpoint:
    """The file ``FOLDER/NAME.checkpoint.safetensors`` of one training.

    Parameters
    ----------
    folder
        Made if it is not there; half-written files of killed processes in it are deleted.
    name
        Of the predictor: one training of a predictor at a time uses a folder.
    key
        From ``training_key``.
    """

    def __init__(self, folder: Path, name: str, key: str) -> None:
        self._path = folder / f"{name}.checkpoint.safetensors"
        self._key = key
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)

    def write(self, arrays: dict[str, np.ndarray], progress: dict[str, Any]) -> None:
        """Replace what is held.

        Parameters
        ----------
        arrays
            By name.
        progress
            JSON values; infinity is allowed.

        Raises
        ------
        PipelineError
            The disk is full.
        """
        import numpy as np
        from safetensors.numpy import save

        arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        header = {"key": self._key, "progress": json.dumps(progress), "digest": _digest(arrays)}
        with disk_errors(self._path.parent):
            write_atomically(self._path, save(arrays, header))

    def read(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Return arrays and progress; None where there is none of this training, or only a damaged one."""
        from safetensors import SafetensorError, safe_open

        if not self._path.is_file():
            return None
        try:
            with safe_open(self._path, framework="np") as file:
                header = file.metadata() or {}
                if header.get("key") != self._key:
                    logger.info("%s: of other data or settings, ignored; training from the start", self._path)
                    return None
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if _digest(arrays) != header.get("digest"):
                raise ValueError("its digest is not that of its arrays")
            return arrays, json.loads(header["progress"])
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            logger.warning("%s: damaged (%s), ignored; training from the start", self._path, error)
            return None

    def remove(self) -> None:
        """Delete it: the training is over."""
        self._path.unlink(missing_ok=True)


def _digest(arrays: dict[str, np.ndarray]) -> str:
    import numpy as np

    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
