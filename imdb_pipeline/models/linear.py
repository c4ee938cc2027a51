"""Linear regression on the embeddings: ordinary least squares, with no penalty. What a penalty adds is in ``ridge``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.saved import read_arrays, read_settings, write_arrays, write_settings
from imdb_pipeline.models.scale import embeddings_of, on_scale

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from imdb_pipeline.models.examples import Examples, Inputs

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
        return on_scale(along(embeddings, self.weights) + self.intercept)

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


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """Least squares of ratings on embeddings, ready for any penalty, in float64.

    From one eigendecomposition of the centred covariance (Hastie, Tibshirani, Friedman, The Elements of Statistical
    Learning, section 3.4.1): ``eigenvalues``, shape (dimension,), 0 for those that are nothing but rounding; ``basis``,
    shape (dimension, dimension); ``projected``, shape (dimension,), of the ratings; ``centre``, shape (dimension,), and
    ``mean`` of embeddings and ratings.
    """

    eigenvalues: np.ndarray
    basis: np.ndarray
    projected: np.ndarray
    centre: np.ndarray
    mean: float

    @classmethod
    def of(cls, examples: Examples) -> NormalEquations:
        """Add up the equations of some examples."""
        import numpy as np

        embeddings = examples.inputs.embeddings
        ratings = examples.ratings.astype(np.float64)
        centre, mean = embeddings.mean(axis=0, dtype=np.float64), float(ratings.mean())
        dimension = embeddings.shape[1]
        gram, moment = np.zeros((dimension, dimension)), np.zeros(dimension)
        for start in range(0, len(embeddings), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            block = embeddings[rows] - centre
            gram += block.T @ block
            moment += block.T @ (ratings[rows] - mean)
        eigenvalues, basis = np.linalg.eigh(gram)
        eigenvalues[eigenvalues <= dimension * np.finfo(np.float64).eps * eigenvalues[-1]] = 0
        return cls(eigenvalues, basis, basis.T @ moment, centre, mean)

    @property
    def rank(self) -> int:
        """The number of directions in which the embeddings differ."""
        return int((self.eigenvalues > 0).sum())

    def solve(self, penalty: float) -> tuple[np.ndarray, np.ndarray]:
        """Return weights, shape (dimension,), and intercept, shape (1,), for a penalty on the squared weights.

        With no penalty, of all weights that fit best the shortest: there are many where dimensions outnumber movies.
        """
        import numpy as np

        weights = np.zeros_like(self.projected)
        np.divide(self.projected, self.eigenvalues + penalty, out=weights, where=self.eigenvalues > 0)
        weights = self.basis @ weights
        return weights, np.array([self.mean - self.centre @ weights])


def fit(train: Examples, validation: Examples, *, seed: int, device: str) -> LinearModel:
    """Fit ordinary least squares, in float64 on the CPU; nothing is chosen, so ``validation`` makes no difference.

    Nor do ``seed`` and ``device``.
    """
    equations = NormalEquations.of(train)
    weights, intercept = equations.solve(0.0)
    return LinearModel(weights, intercept, {"method": "ordinary least squares", "rank": equations.rank}, [])


def refit(model: LinearModel, rated: Examples, *, seed: int, device: str) -> LinearModel:
    """Fit anew on all of ``rated``."""
    return fit(rated, rated, seed=seed, device=device)


def along(embeddings: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Multiply in float64 without a float64 copy of all the embeddings."""
    import numpy as np

    starts = range(0, len(embeddings), BLOCK_ROWS)
    blocks = [embeddings[start : start + BLOCK_ROWS].astype(np.float64) @ weights for start in starts]
    return np.concatenate(blocks) if blocks else np.zeros(0)
