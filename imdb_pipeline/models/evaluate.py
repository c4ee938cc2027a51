"""How good predictions are, with intervals: error, R² against the training mean, gains over others, calibration.

Intervals are of the rows (movies) alone: the fitted models and the training mean are held fixed. Errors by votes, year,
genre and people are in ``groups``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.resampling import interval, resampled_means

if TYPE_CHECKING:
    import numpy as np


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
        ``n``; ``mse`` and ``mae``; ``r2``, which is 1 - MSE / MSE of the training mean on the same rows; ``mse_gain``,
        the MSE of the training mean less the model's; each but n with its 95 % interval, as ``mse_low`` and
        ``mse_high``, the gain's paired by row; ``beats_mean``, whether the gain's interval is above 0. R² is None where
        the mean makes no error. Percentile intervals of 2,000 resamples of the rows (Efron and Tibshirani 1993, An
        Introduction to the Bootstrap, chapter 13).

    Raises
    ------
    ValueError
        Where the three differ in length, are empty, or a prediction is not a number.
    """
    import numpy as np

    predicted, actual, mean = _columns(predictions, ratings, baseline)
    errors, mean_errors, absolute = (predicted - actual) ** 2, (mean - actual) ** 2, np.abs(predicted - actual)
    resampled, mean_resampled, absolute_resampled = resampled_means(
        np.stack([errors, mean_errors, absolute]), seed=seed
    )
    mse_low, mse_high = interval(resampled)
    mae_low, mae_high = interval(absolute_resampled)
    gain_low, gain_high = interval(mean_resampled - resampled)
    metrics: dict[str, Any] = {
        "n": len(actual),
        "mse": float(errors.mean()),
        "mse_low": mse_low,
        "mse_high": mse_high,
        "mae": float(absolute.mean()),
        "mae_low": mae_low,
        "mae_high": mae_high,
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
        metrics["r2_low"], metrics["r2_high"] = interval(1 - resampled / mean_resampled)
    return metrics


def compare(a: np.ndarray, b: np.ndarray, ratings: np.ndarray, *, seed: int) -> dict[str, Any]:
    """Say by how much the predictions ``a`` are better than ``b`` on the same movies, which neither model has seen.

    Parameters
    ----------
    a, b, ratings
        Shape (n,), n at least 1, row by row of the same movies.
    seed
        Of the resampling.

    Returns
    -------
    dict
        ``n``; ``gain``, the MSE of ``b`` less that of ``a``, with its paired 95 % interval ``gain_low`` and
        ``gain_high``; ``better``, whether that interval is above 0. The other way round all signs turn.

    Raises
    ------
    ValueError
        Where the three differ in length, are empty, or a prediction is not a number.
    """
    first, second, actual = _columns(a, b, ratings)
    difference = (second - actual) ** 2 - (first - actual) ** 2
    low, high = interval(resampled_means(difference[None], seed=seed)[0])
    return {"n": len(actual), "gain": float(difference.mean()), "gain_low": low, "gain_high": high, "better": low > 0}


def calibration(predictions: np.ndarray, ratings: np.ndarray, *, seed: int) -> list[dict[str, Any]]:
    """Return the calibration curve: what was predicted and what came of it, by tenths of the predictions.

    Parameters
    ----------
    predictions, ratings
        Shape (n,), n at least 1.
    seed
        Of the resampling.

    Returns
    -------
    list of dict
        By rising prediction ``n``, ``mean_prediction``, ``mean_rating`` and the latter's 95 % interval
        ``mean_rating_low``, ``mean_rating_high``. Equal predictions are never parted, so there may be fewer than ten.

    Raises
    ------
    ValueError
        Where the two differ in length, are empty, or a prediction is not a number.
    """
    import numpy as np

    predicted, actual = _columns(predictions, ratings)
    edges = np.unique(np.quantile(predicted, np.linspace(0.1, 0.9, 9)))
    tenths = np.searchsorted(edges, predicted, side="right")
    curve = []
    for tenth in np.unique(tenths):
        inside = tenths == tenth
        low, high = interval(resampled_means(actual[inside][None], seed=seed)[0])
        curve.append(
            {
                "n": int(inside.sum()),
                "mean_prediction": float(predicted[inside].mean()),
                "mean_rating": float(actual[inside].mean()),
                "mean_rating_low": low,
                "mean_rating_high": high,
            }
        )
    return curve


def _columns(*arrays: np.ndarray) -> list[np.ndarray]:
    """Return the arrays in float64, or raise ``ValueError`` where they do not go together."""
    import numpy as np

    columns = [np.asarray(array, dtype=np.float64) for array in arrays]
    if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1 or not len(columns[0]):
        raise ValueError(f"shapes {[column.shape for column in columns]}: expected all of one (n,), n at least 1")
    if not all(np.isfinite(column).all() for column in columns):
        raise ValueError("a prediction or a rating is not a number")
    return columns
