"""Support vector regression on the embeddings, with a radial kernel: exact where that is affordable, else Nystroem.

Both end as the same plain arrays, so that a CPU predicts with NumPy and torch alone whatever library did the fitting.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.estimators import library_for, support_vector_regressor
from imdb_pipeline.models.pace import Pace
from imdb_pipeline.models.saved import read_arrays, read_settings, write_arrays, write_settings
from imdb_pipeline.models.scale import embeddings_of, mean_squared_error, on_scale
from imdb_pipeline.models.search import Axis, search
from imdb_pipeline.models.tensors import tensor_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    import torch

    from imdb_pipeline.models.examples import Examples, Inputs

EXACT_ROWS = 10_000
"""Training rows up to which the exact regression is fitted on a CPU: its time grows with their square, and its kernel
takes 0.8 GB here."""

COMPONENTS = 2_000
GAMMAS = Axis((1.0, 2.0, 4.0), 2.0, 1 / 16, 64.0)
CS = Axis((0.6, 1.2), 2.0, 0.01, 40.0)
EPSILONS = Axis((0.4, 0.8), 1.5, 0.05, 2.0)
"""What is tried; the study's C and epsilon were .8 to 1.2, its best at the grid's edge."""

ALPHAS = Axis((0.3, 1.0, 3.0), 3.0, 1e-4, 1e4)
BLOCK_ROWS = 8_192
CELLS_AT_ONCE = 2**26
"""Kernel values held at a time while predicting, of each step of computing them: 256 MB in float32."""

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
        # Of all movies cuML makes some hundred thousand support vectors.
        step = max(1, min(BLOCK_ROWS, CELLS_AT_ONCE // max(1, len(vectors))))
        for start in range(0, len(embeddings), step):
            block = tensor_of(embeddings[start : start + step], self.device)
            kernel = _kernel(block, vectors, self.settings["gamma"])
            predictions[start : start + step] = (kernel.double() @ coefficients).cpu().numpy()
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
    gammas: Axis = GAMMAS,
    cs: Axis = CS,
    epsilons: Axis = EPSILONS,
    exact_rows: int = EXACT_ROWS,
    components: int = COMPONENTS,
) -> SvrModel:
    """Search the settings, choose them on validation, and fit on all training movies.

    The target is the rating itself, so C and epsilon are in rating points, as in the study. Above ``exact_rows``, where
    scikit-learn does the fitting, the kernel is approximated by ``components`` landmarks (Williams and Seeger 2001,
    Using the Nystroem Method to Speed Up Kernel Machines) and the loss is squared, with a penalty. cuML searches on
    ``exact_rows`` movies and fits all exactly. The search goes on to where the best lies inside what was tried, or to
    the limits above, which ``settings["on_edge"]`` then says.
    """
    library = library_for(device)
    if library == "scikit-learn" and len(train) > exact_rows:
        return _choose_nystroem(train, validation, gammas, components, seed, device)
    return _choose_exact(train, validation, library, gammas, cs, epsilons, exact_rows, seed, device)


def refit(model: SvrModel, rated: Examples, *, seed: int, device: str) -> SvrModel:
    """Fit anew on all of ``rated`` as ``model`` was, with its settings; Nystroem's landmarks are drawn anew."""
    settings = model.settings
    if "alpha" in settings:
        landmarks = _landmarks(rated, settings["components"], seed)
        coefficients, intercept = _nystroem(rated, landmarks, settings["gamma"], device)(settings["alpha"])
        return SvrModel(landmarks, coefficients, intercept, settings, model.curve, device)
    return fit_exact(rated, settings, model.curve, device)


def _choose_exact(
    train: Examples,
    validation: Examples,
    library: str,
    gammas: Axis,
    cs: Axis,
    epsilons: Axis,
    exact_rows: int,
    seed: int,
    device: str,
) -> SvrModel:
    """Choose gamma, C and epsilon on at most ``exact_rows`` training movies, and fit on all."""
    import numpy as np

    rows = np.random.default_rng(seed).permutation(len(train))[:exact_rows]
    known, held = (tensor_of(array, device) for array in (train.inputs.embeddings[rows], validation.inputs.embeddings))
    # scikit-learn's solver takes float64 alone; cuML fits in the type it is given.
    dtype = np.float64 if library == "scikit-learn" else np.float32
    ratings = train.ratings[rows].astype(dtype)

    def errors_of(points: list[dict[str, float]]) -> list[float]:
        errors = []
        pace = Pace("svr", f"settings tried on {len(rows):,} movies", len(points))
        # The kernel is computed once a gamma.
        for gamma, some in groupby(points, key=lambda point: point["gamma"]):
            kernel = _kernel(known, known, gamma).cpu().numpy().astype(dtype)
            held_kernel = _kernel(held, known, gamma).double().cpu().numpy()
            for point in some:
                regressor = support_vector_regressor(
                    library, kernel="precomputed", c=point["C"], epsilon=point["epsilon"], gamma=gamma
                )
                regressor.fit(kernel, ratings)
                support, coefficients, intercept = _solution(regressor)
                predictions = held_kernel[:, support] @ coefficients + intercept
                errors.append(mean_squared_error(predictions, validation.ratings))
                pace.part_done()
        logger.info("svr: %d settings tried on %d movies, the best of them %.4f", len(errors), len(rows), min(errors))
        return errors

    axes = {"gamma": gammas, "C": cs, "epsilon": epsilons}
    found = search(axes, errors_of)
    settings = {
        "method": "exact RBF SVR",
        "library": library,
        **{name: found.best[name] for name in axes},
        "limits": {name: axis.limits for name, axis in axes.items()},
        "on_edge": found.on_edge,
        "search_rows": len(rows),
        "chosen_on": "validation",
    }
    return fit_exact(train, settings, found.tried, device)


def fit_exact(examples: Examples, settings: dict[str, Any], curve: list[dict[str, Any]], device: str) -> SvrModel:
    """Fit all of ``examples`` exactly with ``gamma``, ``C`` and ``epsilon`` of the settings."""
    library = library_for(device)
    logger.info("svr: fitting %d movies exactly with %s", len(examples), library)
    regressor = support_vector_regressor(
        library, kernel="rbf", c=settings["C"], epsilon=settings["epsilon"], gamma=settings["gamma"]
    )
    regressor.fit(examples.inputs.embeddings, examples.ratings)
    vectors, coefficients, intercept = _support(regressor, examples.inputs.embeddings)
    settings = settings | {"library": library, "support_vectors": len(vectors)}
    return SvrModel(vectors, coefficients, intercept, settings, curve, device)


def _choose_nystroem(
    train: Examples, validation: Examples, gammas: Axis, components: int, seed: int, device: str
) -> SvrModel:
    """Choose gamma, and for each the penalty, on validation, with the same landmarks."""
    landmarks = _landmarks(train, components, seed)
    logger.info("svr: %d movies, so the kernel is approximated by %d landmarks", len(train), len(landmarks))
    held, points = tensor_of(validation.inputs.embeddings, device), tensor_of(landmarks, device)
    curve: list[dict[str, Any]] = []
    kept: list[tuple[float, np.ndarray, np.ndarray, list[str]]] = []

    def penalties(gamma: float) -> float:
        solve = _nystroem(train, landmarks, gamma, device)
        held_kernel = _kernel(held, points, gamma).double()

        def errors_of(alphas: list[dict[str, float]]) -> list[float]:
            errors = []
            for alpha in alphas:
                coefficients, intercept = solve(alpha["alpha"])
                predictions = (held_kernel @ tensor_of(coefficients, device)).cpu().numpy() + intercept
                errors.append(mean_squared_error(predictions, validation.ratings))
            return errors

        found = search({"alpha": ALPHAS}, errors_of)
        curve.extend({"gamma": gamma, **row} for row in found.tried)
        error = found.best["validation_mse"]
        if not kept or error < kept[0][0]:
            kept[:] = [(error, *solve(found.best["alpha"]), found.on_edge)]
        logger.info("svr: gamma %g tried, the best %.4f on validation", gamma, kept[0][0])
        return error

    found = search({"gamma": gammas}, lambda some: [penalties(row["gamma"]) for row in some])
    _, coefficients, intercept, alpha_on_edge = kept[0]
    best = min(curve, key=lambda row: row["validation_mse"])
    settings = {
        "method": f"Nystroem ({len(landmarks)} components) + ridge regression",
        "library": library_for(device),
        "components": len(landmarks),
        "gamma": best["gamma"],
        "alpha": best["alpha"],
        "limits": {"gamma": gammas.limits, "alpha": ALPHAS.limits},
        "on_edge": found.on_edge + alpha_on_edge,
        "chosen_on": "validation",
    }
    return SvrModel(landmarks, coefficients, intercept, settings, curve, device)


def _landmarks(examples: Examples, components: int, seed: int) -> np.ndarray:
    import numpy as np

    return examples.inputs.embeddings[np.random.default_rng(seed).permutation(len(examples))[:components]]


def _nystroem(
    examples: Examples, landmarks: np.ndarray, gamma: float, device: str
) -> Callable[[float], tuple[np.ndarray, np.ndarray]]:
    """Return what gives the landmarks' coefficients and the intercept of ridge regression with a penalty."""
    import numpy as np
    import torch

    points = tensor_of(landmarks, device)
    values, basis = torch.linalg.eigh(_kernel(points, points, gamma).double())
    whiten = (basis / values.clamp(min=1e-6).sqrt()).float()
    mean = float(examples.ratings.mean(dtype=np.float64))
    gram = torch.zeros(len(points), len(points), dtype=torch.float64, device=device)
    moment = torch.zeros(len(points), dtype=torch.float64, device=device)
    for start in range(0, len(examples), BLOCK_ROWS):
        block = tensor_of(examples.inputs.embeddings[start : start + BLOCK_ROWS], device)
        target = tensor_of(examples.ratings[start : start + BLOCK_ROWS].astype(np.float64) - mean, device)
        features = _kernel(block, points, gamma) @ whiten
        gram += (features.T @ features).double()
        moment += features.double().T @ target
    weights_values, weights_basis = torch.linalg.eigh(gram)
    projected = weights_basis.T @ moment

    def solve(alpha: float) -> tuple[np.ndarray, np.ndarray]:
        weights = weights_basis @ (projected / (weights_values.clamp(min=0) + alpha))
        return (whiten.double() @ weights).cpu().numpy(), np.array([mean])

    return solve


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
