"""How good predictions are, with intervals: error, R² against the training mean, and the gain over it, paired.

Intervals are of the rows (movies) alone: the fitted model and the training mean are held fixed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 2_000
LEVEL = 0.95
CELLS_AT_ONCE = 4_000_000


def evaluate(predictions: np.ndarray, ratings: np.ndarray, baseline: np.ndarray, *, seed: int) -> dict[str, Any]:
    """Judge predictions of movies that the model has not seen.

    Parameters
    ----------
    predictions, ratings, baseline
        Shape (n,), n at least 1: the model's predictions, the ratings, and the training mean's predictions.
    seed
        Of the resampling.

    Returns
    -------
    dict
        ``n``, ``mse``, ``mae``; ``r2``, which is 1 - MSE / MSE of the training mean on the same rows, and its 95 %
        interval ``r2_low``, ``r2_high``; ``mse_gain``, the MSE of the training mean less the model's, and its 95 %
        interval ``mse_gain_low``, ``mse_gain_high``, paired by row; ``beats_mean``, whether that interval is above 0.
        R² is None where the mean makes no error. Percentile intervals of 2,000 resamples of the rows (Efron and
        Tibshirani 1993, An Introduction to the Bootstrap, chapter 13).

    Raises
    ------
    ValueError
        Where the three differ in length, are empty, or a prediction is not a number.
    """
    import numpy as np

    arrays = [np.asarray(array, dtype=np.float64) for array in (predictions, ratings, baseline)]
    if len({array.shape for array in arrays}) != 1 or arrays[0].ndim != 1 or not len(arrays[0]):
        raise ValueError(f"shapes {[array.shape for array in arrays]}: expected three of the same (n,), n at least 1")
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("a prediction or a rating is not a number")
    predicted, actual, mean = arrays
    errors, mean_errors = (predicted - actual) ** 2, (mean - actual) ** 2
    resampled, mean_resampled = _resampled_means(np.stack([errors, mean_errors]), seed)
    gain_low, gain_high = _interval(mean_resampled - resampled)
    metrics: dict[str, Any] = {
        "n": len(actual),
        "mse": float(errors.mean()),
        "mae": float(np.abs(predicted - actual).mean()),
        "r2": None,
        "r2_low": None,
        "r2_high": None,
        "mse_gain": float((mean_errors - errors).mean()),
        "mse_gain_low": gain_low,
        "mse_gain_high": gain_high,
        "beats_mean": gain_low > 0,
    }
    if mean_errors.mean() > 0:
        metrics["r2"] = float(1 - errors.mean() / mean_errors.mean())
    if (mean_resampled > 0).all():
        metrics["r2_low"], metrics["r2_high"] = _interval(1 - resampled / mean_resampled)
    return metrics


def conformal_half_width(residuals: np.ndarray, level: float = 0.9) -> float:
    """Return w so that prediction ± w holds a new rating with a probability of at least ``level``.

    The split-conformal quantile: the ceil((n + 1) * level)-th smallest absolute residual (Lei et al. 2018,
    Distribution-Free Predictive Inference for Regression, section 2.2). It holds for residuals of movies that the model
    was not fitted on; where the model was chosen by them, as by validation, it is very slightly too narrow.

    Parameters
    ----------
    residuals
        Shape (n,): rating less prediction.
    level
        Between 0 and 1.

    Returns
    -------
    float
        In rating points; infinity where n is too small for ``level`` (n below 9 for 0.9).
    """
    import numpy as np

    if not 0 < level < 1:
        raise ValueError(f"level {level}: expected a number between 0 and 1")
    rank = math.ceil(round((len(residuals) + 1) * level, 9))
    if rank > len(residuals):
        return math.inf
    return float(np.sort(np.abs(np.asarray(residuals, dtype=np.float64)))[rank - 1])


def _resampled_means(columns: np.ndarray, seed: int) -> np.ndarray:
    """Return the means of each column over the same resampled rows: shape (columns, RESAMPLES)."""
    import numpy as np

    generator = np.random.default_rng(seed)
    rows = columns.shape[1]
    step = max(1, CELLS_AT_ONCE // rows)
    means = [
        columns[:, generator.integers(rows, size=(min(step, RESAMPLES - start), rows))].mean(axis=2)
        for start in range(0, RESAMPLES, step)
    ]
    return np.concatenate(means, axis=1)


def _interval(values: np.ndarray) -> tuple[float, float]:
    import numpy as np

    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
