"""Linear regression on the embeddings, ordinary or ridge, whichever does better on validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.saved import read_arrays, read_settings, write_arrays, write_settings
from imdb_pipeline.models.scale import embeddings_of, mean_squared_error, on_scale

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from imdb_pipeline.models.examples import Examples, Inputs

ORDINARY = 1e-8
"""The penalty that stands for none: enough to keep the equations solvable with more dimensions than movies."""

ALPHAS = (ORDINARY, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
BLOCK_ROWS = 65_536


@dataclass(frozen=True, eq=False)
class LinearModel:
    """A fitted line: ``weights`` float64, shape (dimension,); ``intercept`` float64, shape (1,)."""

    weights: np.ndarray
    intercept: np.ndarray
    settings: dict[str, Any]
    curve: list[dict[str, Any]]

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Return a rating for each of the n movies: float64, shape (n,), from 1 to 10."""
        embeddings = embeddings_of(inputs, len(self.weights))
        return on_scale(_by_blocks(embeddings, self.weights) + self.intercept)

    def save(self, folder: Path) -> None:
        """Write settings, curve and arrays into ``folder``."""
        write_settings(folder, self.settings, self.curve)
        write_arrays(folder, {"weights": self.weights, "intercept": self.intercept})

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> LinearModel:
        """Read what ``save`` wrote; ``device`` makes no difference. Raises ``PipelineError`` naming a bad file."""
        settings, curve = read_settings(folder, {})
        arrays = read_arrays(folder, {"weights": 1, "intercept": 1})
        return cls(arrays["weights"], arrays["intercept"], settings, curve)


def fit(
    train: Examples, validation: Examples, *, seed: int, device: str, alphas: tuple[float, ...] = ALPHAS
) -> LinearModel:
    """Fit least squares with a penalty ``alpha`` on the squared weights, chosen on validation.

    All penalties come from one eigendecomposition of the centred covariance, in float64 on the CPU; ``seed`` and
    ``device`` make no difference. (Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, section 3.4.1.)
    """
    import numpy as np

    embeddings = train.inputs.embeddings
    ratings = train.ratings.astype(np.float64)
    centre, mean = embeddings.mean(axis=0, dtype=np.float64), ratings.mean()
    dimension = embeddings.shape[1]
    gram, moment = np.zeros((dimension, dimension)), np.zeros(dimension)
    for start in range(0, len(embeddings), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        block = embeddings[rows] - centre
        gram += block.T @ block
        moment += block.T @ (ratings[rows] - mean)
    eigenvalues, basis = np.linalg.eigh(gram)
    eigenvalues = np.maximum(eigenvalues, 0.0)
    projected = basis.T @ moment

    curve, best = [], None
    for alpha in alphas:
        weights = basis @ (projected / (eigenvalues + alpha))
        intercept = mean - centre @ weights
        predictions = _by_blocks(validation.inputs.embeddings, weights) + intercept
        row = {"alpha": alpha, "validation_mse": mean_squared_error(predictions, validation.ratings)}
        curve.append(row)
        if best is None or row["validation_mse"] < best[0]:
            best = (row["validation_mse"], alpha, weights, intercept)
    assert best is not None, "no alphas"
    _, alpha, weights, intercept = best
    method = "ordinary least squares" if alpha == ORDINARY else "ridge regression"
    settings = {"method": method, "alpha": alpha, "alphas_tried": list(alphas), "chosen_on": "validation"}
    return LinearModel(weights, np.array([intercept]), settings, curve)


def _by_blocks(embeddings: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Multiply in float64 without a float64 copy of all the embeddings."""
    import numpy as np

    starts = range(0, len(embeddings), BLOCK_ROWS)
    blocks = [embeddings[start : start + BLOCK_ROWS].astype(np.float64) @ weights for start in starts]
    return np.concatenate(blocks) if blocks else np.zeros(0)
