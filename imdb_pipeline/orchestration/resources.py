"""The two resources: the home with its settings and store, and the accelerator."""

from functools import cached_property
from pathlib import Path

import dagster as dg

from imdb_pipeline.compute import Compute, choose_compute
from imdb_pipeline.settings import Settings, home_path, record, settle
from imdb_pipeline.store import Store


class Home(dg.ConfigurableResource):
    """The folder that a catalogue lives in: ``settings.toml``, the store, the sample."""

    path: str = ""
    """empty: ``IMDB_PIPELINE_HOME``, else ``./data``"""

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

    device: str = ""
    """auto, cuda or cpu; empty: as settings.toml says"""
    dtype: str = "auto"
    """the encoder's precision: auto (bfloat16 on CUDA, else float32), float32 or bfloat16"""
    seed: int = -1
    """-1: as settings.toml says"""

    def choose(self, settings: Settings, *, gpu: bool) -> Compute:
        """Settle what a step computes on; one without ``gpu`` may be on a machine of a cluster that has no CUDA."""
        device = self.device or settings.device
        if device == "cuda" and not gpu:
            device = "auto"
        seed = settings.training.seed if self.seed < 0 else self.seed
        return choose_compute(device=device, dtype=self.dtype, seed=seed)
