"""Where the steps of a run are executed, as ``[execution]`` in the home's settings says.

Read once, when the definitions are loaded: the home is then ``IMDB_PIPELINE_HOME``, else ``./data``. The command line
runs in its own process, whatever this says.
"""

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from imdb_pipeline.errors import InputError
from imdb_pipeline.settings import ExecutionSettings, Settings, home_path, load_settings, settings_path

MAX_CONCURRENT = 2
"""Steps at once in a run from the UI: each may hold a copy of the catalogue."""
_EXTRAS = {"ray": "ray", "kubernetes": "k8s"}
GPU_TAGS = {
    "dagster-ray/config": {"num_gpus": 1},
    "dagster-k8s/config": {"container_config": {"resources": {"limits": {"nvidia.com/gpu": 1}}}},
}


@cache
def loaded_settings() -> Settings:
    """Return the settings of the home that the definitions are loaded for; the defaults where they cannot be read."""
    try:
        return load_settings(home_path())
    except InputError:
        return Settings()  # every run reads them again, and says what is wrong with them


def gpu_tags() -> dict[str, Any] | None:
    """Return how a step asks a Ray or Kubernetes cluster for a GPU; None unless the device is set to ``cuda``."""
    return GPU_TAGS if loaded_settings().device == "cuda" else None


def choose_executor(execution: ExecutionSettings, home: Path) -> dg.ExecutorDefinition:
    """Return the executor with its options.

    Raises
    ------
    InputError
        Its package is not installed, or the file with its options is missing, no YAML, or has wrong ones.
    """
    options = _read_options(home / execution.config) if execution.config else {}
    passed_on = [f"IMDB_PIPELINE_HOME={home}"]
    if execution.executor == "multiprocess":
        executor = dg.multiprocess_executor
        options = {"max_concurrent": max(MAX_CONCURRENT, execution.workers), **options}
    elif execution.executor == "in_process":
        executor = dg.in_process_executor
    elif execution.executor == "ray":
        executor = _installed("dagster_ray", "ray_executor", execution, home)
        options = {**options, "ray": _with_variables(options.get("ray") or {}, passed_on)}
    else:
        executor = _installed("dagster_k8s", "k8s_job_executor", execution, home)
        options = _with_variables(options, passed_on)
    configured = executor.configured(options)
    result = configured.apply_config_mapping({"config": {}})
    if not result.success:
        wrong = " ".join(error.message for error in result.errors or ())
        raise InputError(f"{home / execution.config}: wrong options of the executor {execution.executor} ({wrong})")
    return configured


def _installed(module: str, name: str, execution: ExecutionSettings, home: Path) -> dg.ExecutorDefinition:
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{settings_path(home)}: the executor {execution.executor} needs {error.name}, which is not installed; "
            f"pip install 'imdb-pipeline[{_EXTRAS[execution.executor]}]'"
        ) from None


def _with_variables(options: dict[str, Any], passed_on: list[str]) -> dict[str, Any]:
    return {**options, "env_vars": [*passed_on, *(options.get("env_vars") or [])]}


def _read_options(path: Path) -> dict[str, Any]:
    try:
        options = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: cannot be read ({reason}); [execution] config names it") from None
    if not isinstance(options, dict):
        raise InputError(f"{path}: not a mapping; give the options of the executor in YAML")
    return options
