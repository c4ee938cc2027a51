"""The two resources: the home with its settings and store, and the accelerator."""

from functools import cached_property
from pathlib import Path

import dagster as dg
from pydantic import Field

from imdb_pipeline.compute import Compute, choose_compute
from imdb_pipeline.settings import Settings, home_path, record, settle
from imdb_pipeline.store import Store


class Home(dg.ConfigurableResource):
    """The folder that a catalogue lives in: ``settings.toml``, the store, the sample."""

    path: str = Field(default="", description="empty: IMDB_PIPELINE_HOME, else ./data")

    @cached_property
    def folder(self) -> Path:
        return home_path(self.path)

    @cached_property
    def store(self) -> Store:
        return Store(self.folder / "store")

    def settings(self) -> Settings:
        """Read the settings; a home that has none yet records its source and encoder."""
        settings = settle(self.folder)
        record(self.folder, settings)
        return settings


class Accelerator(dg.ConfigurableResource):
    """What embedding and training compute on. Assets that use it share the pool ``gpu``, so one runs at a time."""

    device: str = Field(default="", description="auto, cuda or cpu; empty: as settings.toml says")
    dtype: str = Field(
        default="auto",
        description="the encoder's precision: float32, bfloat16, or auto: bfloat16 on CUDA since Ampere, else float32",
    )
    seed: int = Field(default=-1, description="of all that is random; -1: as settings.toml says")

    def choose(self, settings: Settings, *, gpu: bool) -> Compute:
        """Settle what a step computes on; one without ``gpu`` may be on a machine of a cluster that has no CUDA."""
        device = self.device or settings.device
        if device == "cuda" and not gpu:
            device = "auto"
        seed = settings.training.seed if self.seed < 0 else self.seed
        return choose_compute(device=device, dtype=self.dtype, seed=seed)
