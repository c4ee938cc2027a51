"""A home's Dagster instance: ``HOME/dagster`` with its ``dagster.yaml``, for the command line and for the UI."""

import os
from pathlib import Path

import dagster as dg
import yaml

from imdb_pipeline.errors import InputError
from imdb_pipeline.store import write_atomically

DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
python_logs:
  python_log_level: INFO
  managed_python_loggers:
    - imdb_pipeline
concurrency:
  pools:
    default_limit: 1
    granularity: op
  runs:
    max_concurrent_runs: 2
run_monitoring:
  enabled: true
  max_runtime_seconds: 172800
  free_slots_after_run_end_seconds: 60
run_retries:
  enabled: true
  max_retries: 0
  retry_on_asset_or_op_failure: false
"""

WORKSPACE_YAML = """\
load_from:
  - python_module:
      module_name: imdb_pipeline.definitions
      location_name: imdb_pipeline
"""


def prepare_instance(home: Path) -> Path:
    """Make ``HOME/dagster`` and point this process and its children at it; return the folder.

    A ``dagster.yaml`` that is there already is the user's and stays.
    """
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "dagster.yaml").is_file():
        write_atomically(folder / "dagster.yaml", DAGSTER_YAML.encode())
    write_atomically(folder / "workspace.yaml", WORKSPACE_YAML.encode())
    os.environ["DAGSTER_HOME"] = str(folder)
    os.environ["IMDB_PIPELINE_HOME"] = str(home)
    return folder


def open_instance(home: Path) -> dg.DagsterInstance:
    """Open the instance of a home."""
    folder = prepare_instance(home)
    try:
        return dg.DagsterInstance.get()
    except (dg.DagsterInvalidConfigError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{folder / 'dagster.yaml'}: not a configuration of Dagster ({reason}); correct it, or delete it for ours"
        ) from None
