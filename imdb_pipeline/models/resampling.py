"""The bootstrap behind every interval: means over the same resampled rows, so that differences of them are paired."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 2_000
LEVEL = 0.95


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
    means = np.empty((len(columns), RESAMPLES))
    for place in range(RESAMPLES):
        # How often each row was drawn: then the means are one product, however many columns there are.
        counts = np.bincount(generator.integers(rows, size=rows), minlength=rows)
        means[:, place] = columns @ counts.astype(np.float64)
    return means / rows


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % percentile interval of resampled values (Efron and Tibshirani 1993, chapter 13)."""
    import numpy as np

    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
