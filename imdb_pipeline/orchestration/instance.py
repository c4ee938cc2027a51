"""A home's Dagster instance, for the command line and for the UI: ``HOME/dagster`` with its ``dagster.yaml``, or the
``DAGSTER_HOME`` of a deployment whose home it is.
"""

import os
from pathlib import Path

import dagster as dg
import yaml

from imdb_pipeline.errors import InputError
from imdb_pipeline.settings import home_path
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
    tag_concurrency_limits:
      - key: dagster/partition
        value:
          applyLimitPerUniqueValue: true
        limit: 1
      - key: dagster/backfill
        limit: 1
run_monitoring:
  enabled: true
  start_timeout_seconds: 300
  cancel_timeout_seconds: 180
  max_runtime_seconds: 172800
  poll_interval_seconds: 10
  free_slots_after_run_end_seconds: 30
run_retries:
  enabled: true
  max_retries: 0
  retry_on_asset_or_op_failure: false
retention:
  schedule:
    purge_after_days:
      skipped: 30
      success: 365
      failure: 90
      started: 30
  sensor:
    purge_after_days:
      skipped: 7
      success: 90
      failure: 30
      started: 7
  auto_materialize:
    purge_after_days:
      skipped: 7
      success: 90
      failure: 30
      started: 7
"""
"""docker/dagster.yaml says the same of what both are about."""

WORKSPACE_YAML = """\
load_from:
  - python_module:
      module_name: imdb_pipeline.definitions
      location_name: imdb_pipeline
"""


def instance_folder(home: Path) -> Path:
    """Return ``DAGSTER_HOME`` where it was set together with ``IMDB_PIPELINE_HOME`` and that is this home, else
    ``HOME/dagster``: the Dagster of some other project is left alone.
    """
    deployed, owner = os.environ.get("DAGSTER_HOME"), os.environ.get("IMDB_PIPELINE_HOME")
    if deployed and owner and home_path(owner) == home:
        return Path(deployed)
    return home / "dagster"


def prepare_instance(home: Path) -> Path:
    """Point this process and its children at the instance of a home; return its folder.

    ``HOME/dagster`` is made where it is not there; its ``dagster.yaml``, once there, is the user's and stays. All of a
    deployment's ``DAGSTER_HOME`` is the deployment's.
    """
    folder = instance_folder(home)
    if folder == home / "dagster":
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "dagster.yaml").is_file():
            write_atomically(folder / "dagster.yaml", DAGSTER_YAML.encode())
        write_atomically(folder / "workspace.yaml", WORKSPACE_YAML.encode())
    elif not (folder / "dagster.yaml").is_file():
        raise InputError(f"{folder}: DAGSTER_HOME has no dagster.yaml; write one, or unset DAGSTER_HOME")
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
