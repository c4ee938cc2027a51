"""Support vector regression on the embeddings, with a radial kernel: exact where that is affordable, else Nystroem.

Both end as the same plain arrays, so that a CPU predicts with NumPy and torch alone whatever library did the fitting.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.estimators import library_for, support_vector_regressor
from imdb_pipeline.models.saved import read_arrays, read_settings, write_arrays, write_settings
from imdb_pipeline.models.scale import embeddings_of, mean_squared_error, on_scale
from imdb_pipeline.models.tensors import tensor_of

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import torch

    from imdb_pipeline.models.examples import Examples, Inputs

EXACT_ROWS = 10_000
"""Training rows up to which the exact regression is fitted on a CPU: its time grows with their square, and its kernel
takes 0.8 GB here."""

COMPONENTS = 2_000
GAMMAS = (1.0, 2.0, 4.0, 8.0)
CS = (0.5, 1.0, 2.0)
EPSILONS = (0.25, 0.5, 0.8, 1.1)
ALPHAS = (0.1, 0.3, 1.0, 3.0)
BLOCK_ROWS = 8_192

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SvrModel:
    """A weighted sum of radial kernels: ``intercept + sum(coefficient * exp(-gamma * |x - vector| ** 2))``.

    ``vectors`` float32, shape (m, dimension): support vectors, or Nystroem's landmarks; ``coefficients`` float64,
    shape (m,); ``intercept`` float64, shape (1,); gamma is ``settings["gamma"]``.
    """

    vectors: np.ndarray
    coefficients: np.ndarray
    intercept: np.ndarray
    settings: dict[str, Any]
    curve: list[dict[str, Any]]
    device: str = "cpu"

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Return a rating for each of the n movies: float64, shape (n,), from 1 to 10."""
        import numpy as np

        embeddings = embeddings_of(inputs, self.vectors.shape[1])
        vectors = tensor_of(self.vectors, self.device)
        coefficients = tensor_of(self.coefficients, self.device)
        predictions = np.empty(len(embeddings))
        for start in range(0, len(embeddings), BLOCK_ROWS):
            block = tensor_of(embeddings[start : start + BLOCK_ROWS], self.device)
            kernel = _kernel(block, vectors, self.settings["gamma"])
            predictions[start : start + BLOCK_ROWS] = (kernel.double() @ coefficients).cpu().numpy()
        return on_scale(predictions + self.intercept)

    def save(self, folder: Path) -> None:
        """Write settings, curve and arrays into ``folder``."""
        write_settings(folder, self.settings, self.curve)
        arrays = {"vectors": self.vectors, "coefficients": self.coefficients, "intercept": self.intercept}
        write_arrays(folder, arrays)

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> SvrModel:
        """Read what ``save`` wrote, to predict on ``device``. Raises ``PipelineError`` naming a bad file."""
        settings, curve = read_settings(folder, {"gamma": float})
        arrays = read_arrays(folder, {"vectors": 2, "coefficients": 1, "intercept": 1})
        return cls(arrays["vectors"], arrays["coefficients"], arrays["intercept"], settings, curve, device)


def fit(
    train: Examples,
    validation: Examples,
    *,
    seed: int,
    device: str,
    gammas: tuple[float, ...] = GAMMAS,
    cs: tuple[float, ...] = CS,
    epsilons: tuple[float, ...] = EPSILONS,
    exact_rows: int = EXACT_ROWS,
    components: int = COMPONENTS,
) -> SvrModel:
    """Search the settings, choose them on validation, and fit on all training movies.

    The target is the rating itself, so C and epsilon are in rating points, as in the study. Above ``exact_rows``, where
    scikit-learn does the fitting, the kernel is approximated by ``components`` landmarks (Williams and Seeger 2001,
    Using the Nystroem Method to Speed Up Kernel Machines) and the loss is squared, with a penalty. cuML searches on
    ``exact_rows`` movies and fits all exactly.
    """
    import numpy as np

    library = library_for(device)
    generator = np.random.default_rng(seed)
    settings: dict[str, Any] = {"library": library, "gammas_tried": list(gammas), "chosen_on": "validation"}
    if library == "scikit-learn" and len(train) > exact_rows:
        landmarks = train.inputs.embeddings[generator.permutation(len(train))[:components]]
        logger.info("svr: %d movies, so the kernel is approximated by %d landmarks", len(train), len(landmarks))
        fits = []
        for number, gamma in enumerate(gammas, start=1):
            fits.append(_fit_nystroem(train, validation, landmarks, gamma, device))
            logger.info("svr: %d of %d kernels tried", number, len(gammas))
        coefficients, intercept, best, _ = min(fits, key=lambda fit: fit[2]["validation_mse"])
        curve = [row for fit in fits for row in fit[3]]
        settings |= {"method": f"Nystroem ({len(landmarks)} components) + ridge regression"}
        settings |= {"gamma": best["gamma"], "alpha": best["alpha"]}
        return SvrModel(landmarks, coefficients, intercept, settings, curve, device)
    rows = generator.permutation(len(train))[:exact_rows]
    curve = _search(train, validation, library, device, rows, gammas, cs, epsilons)
    best = min(curve, key=lambda row: row["validation_mse"])
    logger.info("svr: fitting %d movies exactly with %s", len(train), library)
    regressor = support_vector_regressor(
        library, kernel="rbf", c=best["C"], epsilon=best["epsilon"], gamma=best["gamma"]
    )
    regressor.fit(train.inputs.embeddings, train.ratings)
    vectors, coefficients, intercept = _support(regressor, train.inputs.embeddings)
    settings |= {"method": "exact RBF SVR", "search_rows": len(rows), "support_vectors": len(vectors)}
    settings |= {"cs_tried": list(cs), "epsilons_tried": list(epsilons)}
    settings |= {"gamma": best["gamma"], "C": best["C"], "epsilon": best["epsilon"]}
    return SvrModel(vectors, coefficients, intercept, settings, curve, device)


def _search(
    train: Examples,
    validation: Examples,
    library: str,
    device: str,
    rows: np.ndarray,
    gammas: tuple[float, ...],
    cs: tuple[float, ...],
    epsilons: tuple[float, ...],
) -> list[dict[str, Any]]:
    """Return a row a setting with its validation MSE; the kernel is computed once a gamma."""
    import numpy as np

    known = tensor_of(train.inputs.embeddings[rows], device)
    held = tensor_of(validation.inputs.embeddings, device)
    ratings = train.ratings[rows].astype(np.float64)
    # scikit-learn's solver takes float64 alone; cuML fits in the type it is given.
    dtype = np.float64 if library == "scikit-learn" else np.float32
    curve = []
    started = time.perf_counter()
    for gamma in gammas:
        kernel = _kernel(known, known, gamma).cpu().numpy().astype(dtype)
        held_kernel = _kernel(held, known, gamma).double().cpu().numpy()
        for c, epsilon in product(cs, epsilons):
            regressor = support_vector_regressor(library, kernel="precomputed", c=c, epsilon=epsilon, gamma=gamma)
            regressor.fit(kernel, ratings.astype(dtype))
            support, coefficients, intercept = _solution(regressor)
            predictions = held_kernel[:, support] @ coefficients + intercept
            error = mean_squared_error(predictions, validation.ratings)
            curve.append({"gamma": gamma, "C": c, "epsilon": epsilon, "validation_mse": error})
        done = len(curve) / (len(gammas) * len(cs) * len(epsilons))
        left = (time.perf_counter() - started) * (1 / done - 1)
        logger.info("svr: %.0f %% of the settings tried on %d movies, %.0f s left", 100 * done, len(rows), left)
    return curve


def _fit_nystroem(
    train: Examples, validation: Examples, landmarks: np.ndarray, gamma: float, device: str
) -> tuple[np.ndarray, np.ndarray, dict[str, Any], list[dict[str, Any]]]:
    """Fit ridge regression on Nystroem's features: the landmarks' coefficients, intercept, best row, all rows."""
    import numpy as np
    import torch

    points = tensor_of(landmarks, device)
    values, basis = torch.linalg.eigh(_kernel(points, points, gamma).double())
    whiten = (basis / values.clamp(min=1e-6).sqrt()).float()
    mean = float(train.ratings.mean(dtype=np.float64))
    gram = torch.zeros(len(points), len(points), dtype=torch.float64, device=device)
    moment = torch.zeros(len(points), dtype=torch.float64, device=device)
    for start in range(0, len(train), BLOCK_ROWS):
        block = tensor_of(train.inputs.embeddings[start : start + BLOCK_ROWS], device)
        target = tensor_of(train.ratings[start : start + BLOCK_ROWS].astype(np.float64) - mean, device)
        features = _kernel(block, points, gamma) @ whiten
        gram += (features.T @ features).double()
        moment += features.double().T @ target
    weights_values, weights_basis = torch.linalg.eigh(gram)
    projected = weights_basis.T @ moment
    held = _kernel(tensor_of(validation.inputs.embeddings, device), points, gamma).double()

    fits = []
    for alpha in ALPHAS:
        weights = weights_basis @ (projected / (weights_values.clamp(min=0) + alpha))
        coefficients = whiten.double() @ weights
        error = mean_squared_error((held @ coefficients).cpu().numpy() + mean, validation.ratings)
        fits.append(({"gamma": gamma, "alpha": alpha, "validation_mse": error}, coefficients.cpu().numpy()))
    best, coefficients = min(fits, key=lambda fit: fit[0]["validation_mse"])
    return coefficients, np.array([mean]), best, [row for row, _ in fits]


def _solution(regressor: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the fitted rows of support, their coefficients and the intercept."""
    import numpy as np

    coefficients = np.asarray(regressor.dual_coef_, dtype=np.float64).reshape(-1)
    intercept = float(np.asarray(regressor.intercept_, dtype=np.float64).reshape(-1)[0])
    return np.asarray(regressor.support_), coefficients, intercept


def _support(regressor: Any, embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the arrays of a model from a fitted regressor and the embeddings it was fitted on."""
    import numpy as np

    support, coefficients, intercept = _solution(regressor)
    return embeddings[support].astype(np.float32), coefficients, np.array([intercept])


def _kernel(a: torch.Tensor, b: torch.Tensor, gamma: float) -> torch.Tensor:
    """Return the radial kernel between rows: float32, shape (len(a), len(b))."""
    squared = (a * a).sum(dim=1, keepdim=True) + (b * b).sum(dim=1) - 2 * (a @ b.T)
    return squared.clamp_(min=0).mul_(-gamma).exp_()
