"""The exact nearest neighbours of every movie by cosine, block by block; and the order of equal ones."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    import torch

log = logging.getLogger(__name__)

NEIGHBOURS = 100
GRID = 2.0**-20
"""Cosines are multiples of this, about 1e-6, so that most of what differs by float32's rounding alone is equal; equal
ones are in the order of the rows. In another block or on another device a cosine may be the next multiple."""
_SCORES_PER_BLOCK = {"cpu": 32_000_000, "cuda": 256_000_000}
_SPARE = 8
_SECONDS_BETWEEN_LINES = 30


def nearest(embeddings: np.ndarray, *, k: int = NEIGHBOURS, device: str = "cpu") -> tuple[np.ndarray, np.ndarray]:
    """Return each row's nearest other rows.

    Beside the vectors and the result it needs memory for a block of scores: 128 MB on a CPU, 1 GB on a GPU.

    Parameters
    ----------
    embeddings
        float32, shape (n, dimension), unit rows.

    Returns
    -------
    rows
        uint32, shape (n, min(k, n - 1)): row numbers, nearest first, of equal ones the first row first.
    cosines
        float32, the same shape: multiples of ``GRID``.
    """
    import numpy as np
    import torch

    from imdb_pipeline import onednn

    product = onednn.linear if device == "cpu" and onednn.available() else torch.nn.functional.linear
    vectors = torch.from_numpy(embeddings).to(device)
    n = len(vectors)
    k = max(0, min(k, n - 1))
    rows, cosines = np.empty((n, k), dtype=np.uint32), np.empty((n, k), dtype=np.float32)
    if not k:
        return rows, cosines
    step = max(1, min(n, _SCORES_PER_BLOCK[device] // n))
    started = said = time.monotonic()
    for start in range(0, n, step):
        scores = product(vectors[start : start + step], vectors)
        itself = torch.arange(start, start + len(scores), device=device)
        scores[itself - start, itself] = -torch.inf
        found, values = _largest(scores, k)
        del scores  # before the next block is made
        rows[start : start + step] = found.cpu().numpy()
        cosines[start : start + step] = values.cpu().numpy()
        if time.monotonic() - said >= _SECONDS_BETWEEN_LINES:
            said, done = time.monotonic(), min(start + step, n)
            rate = done / (said - started)
            log.info("neighbours of %d of %d movies, %.0f a second, %.0f s left", done, n, rate, (n - done) / rate)
    return rows, cosines


def nearest_first(cosines: np.ndarray) -> np.ndarray:
    """Return the order of cosines on the grid from high to low, of equal ones the first first: int64, shape (n,)."""
    import numpy as np

    return np.argsort(-cosines, kind="stable")


def on_grid(cosines: np.ndarray) -> np.ndarray:
    """Return cosines as multiples of ``GRID``."""
    import numpy as np

    return np.rint(cosines / GRID) * GRID


def neighbour_table(tconst: pl.Series, rows: np.ndarray, cosines: np.ndarray) -> pl.DataFrame:
    """Return a row per movie: tconst, neighbours (List(UInt32): rows of this table), cosines (List(Float32))."""
    import numpy as np
    import polars as pl

    def lists(values: np.ndarray, dtype: type[pl.DataType]) -> pl.Series:
        if not values.shape[1]:
            return pl.Series([[]] * len(values), dtype=pl.List(dtype))
        return pl.Series(np.ascontiguousarray(values), dtype=pl.Array(dtype, values.shape[1])).arr.to_list()

    return pl.DataFrame(
        {
            "tconst": tconst,
            "neighbours": lists(rows.astype(np.uint32, copy=False), pl.UInt32),
            "cosines": lists(cosines.astype(np.float32, copy=False), pl.Float32),
        }
    )


def _largest(scores: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the columns and values of the k largest scores of each row on the grid, of equal ones the first column.

    Some more than k are looked at; a row in which even these end among equal scores is sorted as a whole.
    """
    values, columns = scores.topk(min(k + _SPARE, scores.shape[1]))
    columns, by_column = columns.sort(dim=1)
    values, order = _rounded(values.gather(1, by_column)).sort(dim=1, descending=True, stable=True)
    columns = columns.gather(1, order)
    cut_in_equals = values[:, k - 1] == values[:, -1]
    columns, values = columns[:, :k].contiguous(), values[:, :k].contiguous()
    for row in cut_in_equals.nonzero().flatten().tolist():
        ordered, order = _rounded(scores[row]).sort(descending=True, stable=True)
        columns[row], values[row] = order[:k], ordered[:k]
    return columns, values


def _rounded(scores: torch.Tensor) -> torch.Tensor:
    return (scores / GRID).round() * GRID
