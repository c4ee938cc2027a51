"""The training mean for every movie: what any predictor has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.saved import read_arrays, read_settings, write_arrays, write_settings
from imdb_pipeline.models.scale import on_scale

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from imdb_pipeline.models.examples import Examples, Inputs


@dataclass(frozen=True, eq=False)
class MeanModel:
    """A fitted mean: float64, shape (1,)."""

    mean: np.ndarray
    settings: dict[str, Any]
    curve: list[dict[str, Any]]

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Return the training mean for each of the n movies: float64, shape (n,)."""
        import numpy as np

        return on_scale(np.full(len(inputs), self.mean[0]))

    def save(self, folder: Path) -> None:
        """Write settings, curve and arrays into ``folder``."""
        write_settings(folder, self.settings, self.curve)
        write_arrays(folder, {"mean": self.mean})

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> MeanModel:
        """Read what ``save`` wrote; ``device`` makes no difference. Raises ``PipelineError`` naming a bad file."""
        settings, curve = read_settings(folder, {})
        return cls(read_arrays(folder, {"mean": 1})["mean"], settings, curve)


def fit(train: Examples, validation: Examples, *, seed: int, device: str) -> MeanModel:
    """Take the mean of the training ratings; ``validation``, ``seed`` and ``device`` make no difference."""
    import numpy as np

    mean = np.array([train.ratings.astype(np.float64).mean()])
    return MeanModel(mean, {"method": "mean of the training ratings", "mean": float(mean[0])}, [])


def refit(model: MeanModel, rated: Examples, *, seed: int, device: str) -> MeanModel:
    """Take the mean of all of ``rated``."""
    return fit(rated, rated, seed=seed, device=device)
