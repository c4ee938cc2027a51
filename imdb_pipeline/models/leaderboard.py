"""The predictors side by side, and which of them serves. Chosen on validation; test only reports."""

from __future__ import annotations

from typing import Any


def leaderboard_rows(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row a predictor, the best on validation first; equals by name.

    Parameters
    ----------
    results
        As from ``FitResult.summary()``: ``model``, ``settings``, ``n_train`` and ``metrics``, which holds what
        ``evaluate`` returned for ``validation`` and ``test``.

    Returns
    -------
    list of dict
        ``model``, ``method``, ``n_train``, ``n_validation``, ``n_test``, ``validation_mse``, ``validation_r2``,
        ``beats_mean`` (on validation), ``test_mse``, ``test_mae``, ``r2``, ``r2_low``, ``r2_high`` (on test).
    """
    rows = []
    for result in results:
        validation, test = result["metrics"]["validation"], result["metrics"]["test"]
        rows.append(
            {
                "model": result["model"],
                "method": result["settings"].get("method"),
                "n_train": result["n_train"],
                "n_validation": validation["n"],
                "n_test": test["n"],
                "validation_mse": validation["mse"],
                "validation_r2": validation["r2"],
                "beats_mean": validation["beats_mean"],
                "test_mse": test["mse"],
                "test_mae": test["mae"],
                "r2": test["r2"],
                "r2_low": test["r2_low"],
                "r2_high": test["r2_high"],
            }
        )
    return sorted(rows, key=lambda row: (row["validation_mse"], row["model"]))


def choose_champion(rows: list[dict[str, Any]]) -> str | None:
    """Return the model with the lowest validation MSE of those that beat the training mean there, or None."""
    able = [row for row in rows if row["beats_mean"]]
    return min(able, key=lambda row: (row["validation_mse"], row["model"]))["model"] if able else None
