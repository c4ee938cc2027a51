"""The map: two coordinates per movie by UMAP, from the exact neighbours that are already known.

One factory: cuML where the device is a GPU that has it, umap-learn elsewhere.
"""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

N_NEIGHBOURS = 30
MIN_DIST = 0.0
_FEWEST = 16
"""Fewer movies than this are laid out by their two main components: UMAP has no graph to speak of."""


@dataclass(frozen=True)
class Projection:
    """Coordinates and how they came about: float32, shape (n, 2)."""

    coordinates: np.ndarray
    method: str


def project(
    embeddings: np.ndarray, neighbour_rows: np.ndarray, cosines: np.ndarray, *, seed: int, device: str
) -> Projection:
    """Lay the movies out in two dimensions.

    Parameters
    ----------
    embeddings
        float32, shape (n, dimension), unit rows.
    neighbour_rows, cosines
        Of ``neighbours.nearest``, without the row itself.
    seed
        On a CPU the same seed gives the same coordinates (one thread).
    """
    import numpy as np

    n = len(embeddings)
    if n < _FEWEST:
        return Projection(_principal_components(embeddings), "two principal components")
    k = min(N_NEIGHBOURS, n - 1)
    itself = np.arange(n)[:, None]
    rows = np.hstack([itself, neighbour_rows[:, : k - 1]])
    distances = np.hstack([np.zeros((n, 1)), 1 - cosines[:, : k - 1]]).clip(0).astype(np.float32)
    if device == "cuda" and importlib.util.find_spec("cuml") is not None:
        from cuml.manifold import UMAP as CumlUMAP  # pyright: ignore[reportMissingImports]

        model = CumlUMAP(
            n_components=2, n_neighbors=k, min_dist=MIN_DIST, metric="cosine", init="spectral", random_state=seed
        )
        fitted = model.fit_transform(embeddings, knn_graph=(rows, distances))
        return Projection(np.asarray(fitted, dtype=np.float32), "cuML UMAP")
    import numba

    # Numba's OpenMP layer shares its thread pool with torch and leaves it some twenty times slower in this process.
    numba.config.THREADING_LAYER = "workqueue"  # pyright: ignore[reportAttributeAccessIssue]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # the part that wants TensorFlow is not used
        from umap import UMAP

    model = UMAP(
        n_components=2,
        n_neighbors=k,
        min_dist=MIN_DIST,
        metric="cosine",
        init="pca",
        random_state=seed,
        n_jobs=1,
        precomputed_knn=(rows, distances, None),
    )
    with warnings.catch_warnings():
        # No new movies are laid into a finished map, so the index that umap-learn misses is not wanted.
        warnings.filterwarnings("ignore", message="precomputed_knn.*not an NNDescent object")
        fitted = model.fit_transform(embeddings)
    return Projection(np.asarray(fitted, dtype=np.float32), "umap-learn")


def _principal_components(embeddings: np.ndarray) -> np.ndarray:
    import numpy as np

    centred = embeddings - embeddings.mean(axis=0)
    left, scales, _ = np.linalg.svd(centred, full_matrices=False)
    components = np.zeros((len(embeddings), 2), dtype=np.float32)
    width = min(2, len(scales))
    components[:, :width] = (left * scales)[:, :width]
    return components
