"""Trustworthiness of a map: whether what is near on it is near among the vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

NEIGHBOURS = 15
SAMPLE = 2_000
_SCORES_PER_BLOCK = 16_000_000


def trustworthiness(
    embeddings: np.ndarray,
    coordinates: np.ndarray,
    *,
    k: int = NEIGHBOURS,
    sample: int = SAMPLE,
    seed: int = 0,
    device: str = "cpu",
) -> float | None:
    """Return the trustworthiness of a map, with cosine distances: 1 at best, about 0.5 for a random one.

    Venna and Kaski, "Neighborhood preservation in nonlinear projection methods", ICANN 2001, section 2. A movie that is
    among the k nearest of another on the map, and is not among the vectors, costs its rank there beyond k. The ranks
    are exact, against all rows; the mean is over a sample of them.

    Parameters
    ----------
    embeddings
        float32, shape (n, dimension), unit rows.
    coordinates
        Shape (n, 2).
    k
        At most (n - 1) // 2 are used.
    sample
        Rows to take the mean over; all when there are no more.

    Returns
    -------
    float or None
        None for fewer than three movies.
    """
    import numpy as np
    import torch

    n = len(embeddings)
    k = min(k, (n - 1) // 2)
    if k < 1:
        return None
    chosen = np.arange(n) if n <= sample else np.sort(np.random.default_rng(seed).choice(n, sample, replace=False))
    near = torch.from_numpy(nearest_on_map(coordinates, k, chosen)).to(device)
    vectors = torch.from_numpy(embeddings).to(device)
    queries = torch.from_numpy(chosen).to(device)
    step = max(1, _SCORES_PER_BLOCK // n)
    beyond = 0
    for first in range(0, len(chosen), step):
        block = queries[first : first + step]
        scores = vectors[block] @ vectors.T
        scores[torch.arange(len(block), device=scores.device), block] = -torch.inf
        own = scores.gather(1, near[first : first + step])
        for column in own.unbind(1):
            ranks = 1 + (scores > column[:, None]).sum(dim=1)
            beyond += int((ranks - k).clamp(min=0).sum())
    return 1 - 2 * beyond / (len(chosen) * k * (2 * n - 3 * k - 1))


def nearest_on_map(coordinates: np.ndarray, k: int, rows: np.ndarray | None = None) -> np.ndarray:
    """Return the k nearest other movies of each row on the map: int64, shape (len(rows), k), nearest first.

    Parameters
    ----------
    coordinates
        Shape (n, 2), n more than k.
    rows
        Of which; all by default.
    """
    import numpy as np
    from scipy.spatial import KDTree

    rows = np.arange(len(coordinates)) if rows is None else rows
    found = np.asarray(KDTree(coordinates).query(coordinates[rows], k=k + 1)[1])
    # Of movies at one point, the row itself need not be the first, nor among those found.
    others = found != rows[:, None]
    others[others.all(axis=1), -1] = False
    return found[others].reshape(len(rows), k).astype(np.int64)
