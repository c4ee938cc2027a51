"""Growing LightGBM's trees: what is fixed, where to stop, and the mean of several models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.feed import threads_for
from imdb_pipeline.models.pace import Pace
from imdb_pipeline.models.scale import mean_squared_error

if TYPE_CHECKING:
    from collections.abc import Callable

    import lightgbm
    import numpy as np

ROWS_IN_LEAF = 30
"""At least; so few movies bear trees of few leaves."""
HUBER = 1.0
"""Error from which on the loss grows in a line rather than with the square."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What trees learn from: float32 of shapes (n, features), (n,) and (n,)."""

    matrix: np.ndarray
    ratings: np.ndarray
    weights: np.ndarray


def parameters_of(leaves: int, learning_rate: float, seed: int, rows: int) -> dict[str, Any]:
    """Return LightGBM's parameters for so many rows to learn from."""
    return {
        # ratings have a long tail below, which squares would follow too far
        "objective": "huber",
        "alpha": HUBER,
        "metric": "None",
        "learning_rate": learning_rate,
        "num_leaves": leaves,
        "min_data_in_leaf": ROWS_IN_LEAF,
        "lambda_l2": 5.0,
        "feature_fraction": 0.6,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        # of each feature one threshold, drawn at random: trees that differ more, and believe an encoding less
        "extra_trees": True,
        "max_bin": 127,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads_for(rows),
        "verbosity": -1,
    }


def grow_until_best(
    rows: Rows, parameters: dict[str, Any], judged: np.ndarray, ratings: np.ndarray, max_trees: int, patience: int
) -> tuple[float, int]:
    """Return the lowest error on validation and the number of trees that has it."""
    import lightgbm

    # LightGBM's own metric adds up in as many parts as it has threads, in an order that is not the same every time.
    def error_of(predictions: np.ndarray, data: lightgbm.Dataset) -> tuple[str, float, bool]:
        return "mse", mean_squared_error(predictions, ratings), False

    pace = Pace(f"boosting, {parameters['num_leaves']} leaves", "trees", max_trees, at_most=True)
    train_set = lightgbm.Dataset(rows.matrix, rows.ratings, weight=rows.weights)
    trees = lightgbm.train(
        parameters,
        train_set,
        num_boost_round=max_trees,
        valid_sets=[train_set.create_valid(judged, ratings)],
        valid_names=["validation"],
        feval=error_of,
        callbacks=[lightgbm.early_stopping(patience, verbose=False), telling(pace)],
    )
    return float(trees.best_score["validation"]["mse"]), trees.best_iteration


def telling(pace: Pace) -> Callable[[Any], None]:
    """Return what LightGBM calls after every tree."""
    return lambda _: pace.part_done()


def cut(trees: lightgbm.Booster, count: int) -> lightgbm.Booster:
    """Drop what comes after ``count`` trees, so that a fitted and a loaded model are the same."""
    import lightgbm

    return lightgbm.Booster(model_str=trees.model_to_string(num_iteration=count))


def mean_prediction(
    models: tuple[lightgbm.Booster, ...] | list[lightgbm.Booster],
    matrix: np.ndarray,
    *,
    first: int = 0,
    count: int | None = None,
) -> np.ndarray:
    """Return the mean of what the models say, of all their trees or of ``count`` from ``first``: float64, (n,)."""
    import numpy as np

    total = np.zeros(len(matrix))
    if len(matrix):
        chosen = {"start_iteration": first, "num_iteration": count, "num_threads": threads_for(len(matrix))}
        for model in models:
            total += np.asarray(model.predict(matrix, **chosen))
    return total / len(models)
