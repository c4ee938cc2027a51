"""The one Dagster ``Definitions``: what `dg dev`, `dagster dev -w workspace.yaml` and `imdb-pipeline ui` load."""

import dagster as dg

from imdb_pipeline.orchestration import assets
from imdb_pipeline.orchestration.automation import JOBS, SCHEDULES, SENSORS
from imdb_pipeline.orchestration.executors import choose_executor, loaded_settings
from imdb_pipeline.orchestration.fan_out import RESOURCES
from imdb_pipeline.orchestration.orphans import end_with_parent
from imdb_pipeline.orchestration.publishing import ASSETS
from imdb_pipeline.orchestration.resources import Accelerator, Home
from imdb_pipeline.settings import home_path

__all__ = ["assets", "defs"]

end_with_parent()  # every process of a run loads this module, and only these are children of multiprocessing

defs = dg.Definitions(
    assets=ASSETS,
    jobs=JOBS,
    schedules=SCHEDULES,
    sensors=SENSORS,
    resources={"home": Home(), "accelerator": Accelerator(), **RESOURCES},
    executor=choose_executor(loaded_settings().execution, home_path()),
)
