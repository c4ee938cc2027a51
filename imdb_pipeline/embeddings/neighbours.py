"""The exact nearest neighbours of every movie by cosine, block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

NEIGHBOURS = 100
_SCORES_PER_BLOCK = 32_000_000


def nearest(embeddings: np.ndarray, *, k: int = NEIGHBOURS, device: str = "cpu") -> tuple[np.ndarray, np.ndarray]:
    """Return each row's nearest other rows.

    Parameters
    ----------
    embeddings
        float32, shape (n, dimension), unit rows.

    Returns
    -------
    rows
        int64, shape (n, min(k, n - 1)): row numbers, nearest first.
    cosines
        float32, the same shape.
    """
    import torch

    vectors = torch.from_numpy(embeddings).to(device)
    n = len(vectors)
    k = max(0, min(k, n - 1))
    rows = torch.empty((n, k), dtype=torch.long)
    cosines = torch.empty((n, k), dtype=torch.float32)
    step = max(1, _SCORES_PER_BLOCK // max(1, n))
    for start in range(0, n, step):
        scores = vectors[start : start + step] @ vectors.T
        itself = torch.arange(start, start + len(scores), device=scores.device)
        scores[itself - start, itself] = -torch.inf
        best = scores.topk(k)
        rows[start : start + step] = best.indices.cpu()
        cosines[start : start + step] = best.values.cpu()
    return rows.numpy(), cosines.numpy()


def neighbour_table(tconst: pl.Series, rows: np.ndarray, cosines: np.ndarray) -> pl.DataFrame:
    """Return a row per movie: tconst, neighbours (List(UInt32): rows of this table), cosines (List(Float32))."""
    import polars as pl

    return pl.DataFrame(
        {"tconst": tconst, "neighbours": rows.tolist(), "cosines": cosines.tolist()},
        schema={"tconst": pl.String, "neighbours": pl.List(pl.UInt32), "cosines": pl.List(pl.Float32)},
    )
