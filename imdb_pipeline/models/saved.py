"""What the folder of a saved predictor holds: settings and training curve in JSON, arrays in safetensors.

Nothing that can run code is written or read. What is read is checked, and named where it is not what it should be.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

SETTINGS_FILE = "settings.json"
CURVE_FILE = "curve.json"
ARRAYS_FILE = "arrays.safetensors"
FIT_AGAIN = "`imdb-pipeline run --force` on this home fits the predictor again"
"""What to do about a predictor that cannot be read."""


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON; a number that JSON does not have (NaN, infinity) raises ``ValueError``."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path, kind: type) -> Any:
    """Read a JSON file whose top level is a ``kind`` (dict or list), or raise ``PipelineError`` naming the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipelineError(f"{path}: missing file of a saved predictor; {FIT_AGAIN}") from None
    except ValueError as error:
        raise PipelineError(f"{path}: not JSON ({error}); {FIT_AGAIN}") from None
    if not isinstance(value, kind):
        raise PipelineError(f"{path}: expected a JSON {kind.__name__}; {FIT_AGAIN}")
    return value


def write_settings(folder: Path, settings: dict[str, Any], curve: list[dict[str, Any]]) -> None:
    """Write ``settings.json`` and ``curve.json`` into ``folder``, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SETTINGS_FILE, settings)
    write_json(folder / CURVE_FILE, curve)


def read_settings(folder: Path, required: dict[str, type]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read what ``write_settings`` wrote: the settings and the curve.

    Parameters
    ----------
    folder
        Where ``write_settings`` wrote it.
    required
        The type by name of every setting that predicting needs; a whole number will do for a float.

    Raises
    ------
    PipelineError
        Where a file is missing or no JSON, or a required setting is missing or of another type.
    """
    settings, curve = read_json(folder / SETTINGS_FILE, dict), read_json(folder / CURVE_FILE, list)
    for name, kind in required.items():
        if not isinstance(settings.get(name), (int, float) if kind is float else kind):
            raise PipelineError(f"{folder / SETTINGS_FILE}: no {kind.__name__} {name!r}; {FIT_AGAIN}")
    return settings, curve


def write_arrays(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write ``arrays.safetensors`` into ``folder``, which is made if it is not there."""
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, folder / ARRAYS_FILE)


def read_arrays(folder: Path, dimensions: dict[str, int]) -> dict[str, np.ndarray]:
    """Read ``arrays.safetensors``.

    Parameters
    ----------
    folder
        Where ``write_arrays`` wrote it.
    dimensions
        Number of dimensions by name of every array that must be there; others may be there too.

    Raises
    ------
    PipelineError
        Where the file is missing or unreadable, an array is missing or has another number of dimensions.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / ARRAYS_FILE
    try:
        arrays = load_file(path)
    except FileNotFoundError:
        raise PipelineError(f"{path}: missing file of a saved predictor; {FIT_AGAIN}") from None
    except SafetensorError as error:
        raise PipelineError(f"{path}: not a safetensors file ({error}); {FIT_AGAIN}") from None
    for name, count in dimensions.items():
        if name not in arrays:
            raise PipelineError(f"{path}: no array {name!r}; {FIT_AGAIN}")
        if arrays[name].ndim != count:
            raise PipelineError(f"{path}: array {name!r} has shape {arrays[name].shape}, not {count} dimensions")
    return arrays
