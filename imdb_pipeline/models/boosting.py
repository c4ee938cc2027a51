"""Gradient-boosted trees (LightGBM) on structure and the form of the title: what the embeddings have to add to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import PipelineError
from imdb_pipeline.models.features import Features
from imdb_pipeline.models.saved import read_json, read_settings, write_json, write_settings
from imdb_pipeline.models.scale import mean_squared_error, on_scale

if TYPE_CHECKING:
    from pathlib import Path

    import lightgbm
    import numpy as np

    from imdb_pipeline.models.examples import Examples, Inputs

TREES_FILE = "trees.txt"
FEATURES_FILE = "features.json"
THREADS = 4


@dataclass(frozen=True, eq=False)
class BoostingModel:
    """Fitted trees, and the features they read."""

    trees: lightgbm.Booster
    features: Features
    settings: dict[str, Any]
    curve: list[dict[str, Any]]

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Return a rating for each of the n movies: float64, shape (n,), from 1 to 10."""
        return on_scale(_predict(self.trees, self.features.matrix(inputs.movies)))

    def save(self, folder: Path) -> None:
        """Write settings, curve, features and LightGBM's text into ``folder``."""
        write_settings(folder, self.settings, self.curve)
        write_json(folder / FEATURES_FILE, self.features.to_json())
        (folder / TREES_FILE).write_text(self.trees.model_to_string(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> BoostingModel:
        """Read what ``save`` wrote; ``device`` makes no difference. Raises ``PipelineError`` naming a bad file."""
        import lightgbm

        settings, curve = read_settings(folder, {})
        path = folder / FEATURES_FILE
        features = Features.from_json(read_json(path, dict), str(path))
        path = folder / TREES_FILE
        if not path.is_file():
            raise PipelineError(f"{path}: missing file of a saved predictor; fit it again")
        try:
            trees = lightgbm.Booster(model_file=path)
        except lightgbm.basic.LightGBMError as error:
            raise PipelineError(f"{path}: not a LightGBM model ({error}); fit the predictor again") from None
        if trees.num_feature() != len(features.names):
            raise PipelineError(f"{path}: {trees.num_feature()} features, {FEATURES_FILE} has {len(features.names)}")
        return cls(trees, features, settings, curve)


def fit(
    train: Examples,
    validation: Examples,
    *,
    seed: int,
    device: str,
    leaves: tuple[int, ...] = (15, 31, 63),
    learning_rate: float = 0.03,
    max_trees: int = 5000,
    patience: int = 100,
) -> BoostingModel:
    """Grow trees until ``patience`` of them bring nothing on validation; the number of leaves is chosen there too.

    Always on the CPU, with a fixed number of threads and LightGBM's deterministic mode: the same text every time.
    """
    import lightgbm

    features = Features.learn(train.inputs.movies)
    # free_raw_data: both are read again for each number of leaves.
    train_set = lightgbm.Dataset(features.matrix(train.inputs.movies), train.ratings, free_raw_data=False)
    validation_set = train_set.create_valid(features.matrix(validation.inputs.movies), validation.ratings)
    parameters = {
        "objective": "regression",
        "metric": "None",
        "learning_rate": learning_rate,
        "min_data_in_leaf": 20,
        "lambda_l2": 5.0,
        "feature_fraction": 0.4,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "max_bin": 255,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": THREADS,
        "verbosity": -1,
    }

    # LightGBM's own metric adds up in as many parts as it has threads, in an order that is not the same every time.
    def error_of(predictions: np.ndarray, data: lightgbm.Dataset) -> tuple[str, float, bool]:
        return "mse", mean_squared_error(predictions, validation.ratings), False

    curve, best = [], None
    for leaf_count in leaves:
        history: dict[str, Any] = {}
        trees = lightgbm.train(
            {**parameters, "num_leaves": leaf_count},
            train_set,
            num_boost_round=max_trees,
            valid_sets=[validation_set],
            valid_names=["validation"],
            feval=error_of,
            callbacks=[
                lightgbm.early_stopping(patience, verbose=False),
                lightgbm.record_evaluation(history),
            ],
        )
        errors = history["validation"]["mse"]
        curve += [
            {"leaves": leaf_count, "trees": count, "validation_mse": errors[count - 1]}
            for count in range(1, len(errors) + 1)
            if count % 25 == 0 or count == trees.best_iteration
        ]
        error = errors[trees.best_iteration - 1]
        if best is None or error < best[0]:
            best = (error, leaf_count, trees)
    assert best is not None, "no numbers of leaves"
    _, leaf_count, trees = best
    settings = {
        "method": "gradient-boosted trees on structure and the form of the title",
        "library": f"lightgbm {lightgbm.__version__}",
        "leaves": leaf_count,
        "trees": trees.best_iteration,
        "leaves_tried": list(leaves),
        "patience": patience,
        "features": len(features.names),
        "parameters": parameters,
        "chosen_on": "validation",
    }
    # What comes after the best tree is dropped here, so that a fitted and a loaded model are the same.
    kept = lightgbm.Booster(model_str=trees.model_to_string(num_iteration=trees.best_iteration))
    return BoostingModel(kept, features, settings, curve)


def _predict(trees: lightgbm.Booster, matrix: np.ndarray) -> np.ndarray:
    """Predict with a fixed number of threads: float64, shape (n,)."""
    import numpy as np

    if not len(matrix):
        return np.zeros(0)
    return np.asarray(trees.predict(matrix, num_threads=THREADS))
