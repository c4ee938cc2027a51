"""The one Dagster ``Definitions``: what `dg dev`, `dagster dev -w workspace.yaml` and `imdb-pipeline ui` load."""

import dagster as dg

from imdb_pipeline.orchestration import assets
from imdb_pipeline.orchestration.automation import JOBS, SCHEDULES, SENSORS
from imdb_pipeline.orchestration.publishing import ASSETS
from imdb_pipeline.orchestration.resources import Accelerator, Home

__all__ = ["assets", "defs"]

MAX_CONCURRENT = 2
"""Steps at once in a run from the UI: each may hold a copy of the catalogue."""

defs = dg.Definitions(
    assets=ASSETS,
    jobs=JOBS,
    schedules=SCHEDULES,
    sensors=SENSORS,
    resources={"home": Home(), "accelerator": Accelerator()},
    executor=dg.multiprocess_executor.configured({"max_concurrent": MAX_CONCURRENT}),
)
