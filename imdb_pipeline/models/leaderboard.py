"""The predictors side by side, and which of them serves. Chosen on validation; test only reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.resampling import interval, resampled_means

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import polars as pl

BASELINE = "mean"
STUDY_METHODS = ("linear", "ridge", "knn", "svr", "mlp", "transformer")
"""The predictors that read what the study's read."""


def leaderboard_rows(
    results: list[dict[str, Any]],
    predictions: Mapping[str, pl.DataFrame] | None = None,
    time_predictions: Mapping[str, pl.DataFrame] | None = None,
    *,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return a row a predictor, the best on validation first; equals by name.

    Parameters
    ----------
    results
        Of each predictor ``model``, ``settings``, ``n_train`` and ``metrics``, which holds what ``evaluate`` returned
        for ``validation`` and ``test``; ``by_time`` holds ``n_train`` and ``metrics`` of the split by time, or is None.
    predictions, time_predictions
        By model, the held-out predictions of either split: ``tconst``, ``split``, ``rating``, ``prediction``. The
        movies and their ratings are the same for all models. A model that is not there has no paired gains.
    seed
        Of the resampling. With that of ``evaluate`` the resamples are the same.

    Returns
    -------
    list of dict
        ``model``, ``method``, ``n_train``, ``n_validation``, ``n_test``, ``validation_mse``, ``validation_r2``,
        ``beats_mean`` (on validation); on test ``test_mse``, ``test_mae``, ``r2``, ``gain_over_mean``,
        ``gain_over_linear`` and ``gain_over_best_study``: the MSE of the mean, of linear regression, and of the best of
        ``STUDY_METHODS`` on validation, whose name is ``best_study``, less the model's own. Errors, R² and gains come
        with 95 % intervals, as ``test_mse_low`` and ``test_mse_high``; those of gains are paired by movie. The same
        again for the split by time, each name after ``time_``. None stands for what there is not.

    Raises
    ------
    ValueError
        Where two models were not judged on the same movies.
    """
    by_time = [{"model": result["model"], **(result.get("by_time") or {"metrics": None})} for result in results]
    gains = _gains(results, predictions or {}, seed)
    time_gains = _gains(by_time, time_predictions or {}, seed)
    rows = [
        {
            "model": result["model"],
            "method": result["settings"].get("method"),
            **_figures(result),
            **gains[result["model"]],
            **{f"time_{name}": value for name, value in {**_figures(in_time), **time_gains[result["model"]]}.items()},
        }
        for result, in_time in zip(results, by_time, strict=True)
    ]
    return sorted(rows, key=lambda row: (row["validation_mse"], row["model"]))


def candidates(rows: list[dict[str, Any]]) -> list[str]:
    """Return the models with a lower validation MSE than the training mean, the best first."""
    (mean,) = (row["validation_mse"] for row in rows if row["model"] == BASELINE)
    able = [row for row in rows if row["validation_mse"] < mean]
    return [row["model"] for row in sorted(able, key=lambda row: (row["validation_mse"], row["model"]))]


def best_of_study(results: list[dict[str, Any]]) -> str | None:
    """Return the one of ``STUDY_METHODS`` with the lowest MSE on validation, or None where there is none of them."""
    known = [result for result in results if result["model"] in STUDY_METHODS and result["metrics"]]
    if not known:
        return None
    return min(known, key=lambda result: (result["metrics"]["validation"]["mse"], result["model"]))["model"]


def _figures(result: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that follow from one model's own metrics on one split."""
    metrics = result["metrics"] or {"validation": {}, "test": {}}
    validation, test = metrics["validation"], metrics["test"]
    return {
        "n_train": result.get("n_train"),
        "n_validation": validation.get("n"),
        "n_test": test.get("n"),
        **_with_interval("validation_mse", validation, "mse"),
        **_with_interval("validation_r2", validation, "r2"),
        "beats_mean": validation.get("beats_mean"),
        **_with_interval("test_mse", test, "mse"),
        **_with_interval("test_mae", test, "mae"),
        **_with_interval("r2", test, "r2"),
        **_with_interval("gain_over_mean", test, "mse_gain"),
    }


def _with_interval(column: str, metrics: dict[str, Any], name: str) -> dict[str, Any]:
    return {f"{column}{end}": metrics.get(f"{name}{end}") for end in ("", "_low", "_high")}


def _gains(
    results: list[dict[str, Any]], predictions: Mapping[str, pl.DataFrame], seed: int
) -> dict[str, dict[str, Any]]:
    """Return by model the columns of the gains over linear regression and over the best of the study's methods."""
    import numpy as np

    best = best_of_study(results)
    errors = _test_errors(predictions)
    means = resampled_means(np.stack(list(errors.values())), seed=seed) if errors else None
    resampled = dict(zip(errors, means, strict=True)) if means is not None else {}
    columns: dict[str, dict[str, Any]] = {}
    for result in results:
        model = result["model"]
        row = columns[model] = {"best_study": best}
        for column, other in (("gain_over_linear", "linear"), ("gain_over_best_study", best)):
            row |= dict.fromkeys((column, f"{column}_low", f"{column}_high"))
            if other in errors and model in errors:
                row[column] = float((errors[other] - errors[model]).mean())
                row[f"{column}_low"], row[f"{column}_high"] = interval(resampled[other] - resampled[model])
    return columns


def _test_errors(predictions: Mapping[str, pl.DataFrame]) -> dict[str, np.ndarray]:
    """Return the squared errors on test by model, movie by movie in the same order."""
    tests = {model: frame.filter(split="test").sort("tconst") for model, frame in predictions.items()}
    first = next(iter(tests), "")
    for model, test in tests.items():
        if not test.select("tconst", "rating").equals(tests[first].select("tconst", "rating")):
            raise ValueError(f"{model} and {first} were not judged on the same movies")
    return {model: ((test["prediction"] - test["rating"]) ** 2).to_numpy() for model, test in tests.items()}
