"""The bootstrap behind every interval: means over the same resampled rows, so that differences of them are paired."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 2_000
LEVEL = 0.95
CELLS_AT_ONCE = 8_000_000


def resampled_means(columns: np.ndarray, *, seed: int) -> np.ndarray:
    """Return the mean of each column over the same 2,000 resamples of the rows: float64, shape (columns, 2,000).

    Equal ``seed`` and number of rows give the same resamples, whatever the columns are.

    Parameters
    ----------
    columns
        Shape (columns, n), n at least 1.
    """
    import numpy as np

    rows = columns.shape[1]
    generator = np.random.default_rng(seed)
    step = max(1, CELLS_AT_ONCE // rows)
    means = np.empty((len(columns), RESAMPLES))
    for start in range(0, RESAMPLES, step):
        drawn = generator.integers(rows, size=(min(step, RESAMPLES - start), rows), dtype=np.int32)
        # How often each row was drawn: then a mean is a product with the columns, however many there are.
        counts = np.stack([np.bincount(draw, minlength=rows) for draw in drawn]).astype(np.float64)
        means[:, start : start + step] = columns @ counts.T / rows
    return means


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % percentile interval of resampled values (Efron and Tibshirani 1993, chapter 13)."""
    import numpy as np

    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
