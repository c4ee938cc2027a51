"""Gradient-boosted trees (LightGBM) on structure, the form of the title, and what is known of the people."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.encodings import EXPECTED, UNEXPECTED, Encodings, read_trees
from imdb_pipeline.models.features import Features
from imdb_pipeline.models.feed import threads_for
from imdb_pipeline.models.pace import Pace
from imdb_pipeline.models.saved import read_json, read_settings, write_json, write_settings
from imdb_pipeline.models.scale import mean_squared_error, on_scale
from imdb_pipeline.models.search import Axis, search
from imdb_pipeline.models.trees import (
    ROWS_IN_LEAF,
    Rows,
    cut,
    grow_until_best,
    mean_prediction,
    parameters_of,
    telling,
)

if TYPE_CHECKING:
    from pathlib import Path

    import lightgbm
    import numpy as np
    import polars as pl

    from imdb_pipeline.models.examples import Examples, Inputs

FEATURES_FILE = "features.json"
LEAVES = Axis(start=(15,), factor=2, lowest=15, highest=120)
"""The more movies there are to learn from, the more leaves a tree can have."""
MAX_TREES = 4_000
"""On real movies the best number grew with the root of theirs: 325 for 3,900 movies, 1,050 for 39,000."""
SEEDS = 3
STEP = 25
"""The number of trees is a multiple of this."""

HALF_WEIGHT_VOTES = 20.0
"""Votes with which a movie counts half as much in training as one with very many."""

FEW_VOTES_WEIGHT = 0.5
"""What a movie with too few votes to be judged on counts in training, beside what its votes say."""


@dataclass(frozen=True, eq=False)
class BoostingModel:
    """Fitted trees of several seeds, whose mean is the prediction, and the features that they read.

    Attributes
    ----------
    extra
        For an audit: ``tconst`` and further columns of numbers, which are features too. None in a model to serve.
    """

    trees: tuple[lightgbm.Booster, ...]
    features: Features
    encodings: Encodings
    settings: dict[str, Any]
    curve: list[dict[str, Any]]
    extra: pl.DataFrame | None = None

    @property
    def names(self) -> list[str]:
        """The names of the features, in order."""
        return _names(self.features, self.encodings, self.extra)

    @property
    def fields(self) -> list[str]:
        """The document's field that each feature comes from; ``credits`` for all fields with people together."""
        extra = [] if self.extra is None else self.extra.columns[1:]
        return [*self.features.fields, *self.encodings.fields, *extra]

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Return a rating for each of the n movies: float64, shape (n,), from 1 to 10.

        A movie that was learnt from is encoded without its own rating, but the trees have seen it.
        """
        return on_scale(mean_prediction(self.trees, self._matrix(inputs)))

    def contributions(self, inputs: Inputs) -> np.ndarray:
        """Return what each feature adds to the prediction: float64, shape (n, len(names) + 1).

        The last column is the mean over the training movies. A row's sum is its prediction before it is kept on the
        scale. What the two features ``EXPECTED`` add is passed on to the features that they are made from, in
        proportion to what these add there, so that nothing stays with them. (TreeSHAP: Lundberg et al., "From local
        explanations to global understanding with explainable AI for trees", Nature Machine Intelligence 2, 2020.)
        """
        import numpy as np

        matrix, names = self._matrix(inputs), self.names
        total = np.zeros((len(matrix), len(names) + 1))
        if not len(matrix):
            return total
        for trees in self.trees:
            total += np.asarray(trees.predict(matrix, pred_contrib=True, num_threads=threads_for(len(matrix))))
        total /= len(self.trees)
        alone, with_people = (names.index(name) for name in EXPECTED)
        structure = len(self.features.names)
        shares = np.abs(np.asarray(self.encodings.feed.expecting.predict(matrix[:, :structure], pred_contrib=True)))
        shares = shares[:, :-1] / np.maximum(shares[:, :-1].sum(axis=1, keepdims=True), 1e-12)
        passed = total[:, alone].copy()
        if UNEXPECTED in names:
            unexpected = np.abs(matrix[:, names.index(UNEXPECTED)])
            of_people = total[:, with_people] * unexpected / np.maximum(unexpected + np.abs(matrix[:, alone]), 1e-12)
            total[:, names.index(UNEXPECTED)] += of_people
            passed += total[:, with_people] - of_people
        else:
            passed += total[:, with_people]
        # Where nothing is expected from any feature, none of them has a better claim than the mean.
        total[:, -1] += passed * (1 - shares.sum(axis=1))
        total[:, :structure] += shares * passed[:, None]
        total[:, [alone, with_people]] = 0
        return total

    def save(self, folder: Path) -> None:
        """Write settings, curve, features, encodings and LightGBM's text, a file for each seed, into ``folder``."""
        if self.extra is not None:
            raise ValueError("a model with extra features is for an audit and is not saved")
        write_settings(folder, self.settings, self.curve)
        write_json(folder / FEATURES_FILE, self.features.to_json())
        self.encodings.save(folder)
        for number, trees in enumerate(self.trees):
            _trees_file(folder, number).write_text(trees.model_to_string(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> BoostingModel:
        """Read what ``save`` wrote; ``device`` makes no difference. Raises ``PipelineError`` naming a bad file."""
        settings, curve = read_settings(folder, {"seeds": int})
        path = folder / FEATURES_FILE
        features = Features.from_json(read_json(path, dict), str(path))
        encodings = Encodings.load(folder, features)
        count = len(_names(features, encodings, None))
        trees = tuple(read_trees(_trees_file(folder, number), count) for number in range(settings["seeds"]))
        return cls(trees, features, encodings, settings, curve)

    def _matrix(self, inputs: Inputs) -> np.ndarray:
        return _matrix(self.features, self.encodings, inputs.movies, self.extra)


def fit(
    train: Examples,
    validation: Examples,
    *,
    seed: int,
    device: str,
    leaves: Axis = LEAVES,
    learning_rate: float = 0.05,
    max_trees: int = MAX_TREES,
    patience: int = 100,
    seeds: int = SEEDS,
    extra: pl.DataFrame | None = None,
) -> BoostingModel:
    """Grow trees until ``patience`` of them bring nothing on validation, which chooses the number of leaves too.

    Where validation is of later years than training, the encodings are out of fold by years rather than by ids. Always
    on the CPU, with a fixed number of threads and LightGBM's deterministic mode: the same text every time.

    Parameters
    ----------
    train
        Its ``few_votes`` feed the encodings, and are learnt from with a low weight.
    seeds
        How many models with different random numbers are averaged. The number of trees is the best of their mean.
    extra
        For an audit of leaks alone: ``tconst`` and columns of numbers, features of every movie that it lists.
    """
    import numpy as np

    by_year = _is_later(validation, train)
    features, encodings, rows = _learn(train, extra, by_year=by_year)
    judged = _matrix(features, encodings, validation.inputs.movies, extra)
    curve: list[dict[str, Any]] = []

    def errors_of(points: list[dict[str, float]]) -> list[float]:
        tried = []
        for point in points:
            leaf_count = int(point["leaves"])
            parameters = parameters_of(leaf_count, learning_rate, seed, len(rows.ratings))
            error, count = grow_until_best(rows, parameters, judged, validation.ratings, max_trees, patience)
            tried.append({"leaves": leaf_count, "seeds": 1, "trees": count, "validation_mse": error})
        curve.extend(tried)
        return [each["validation_mse"] for each in tried]

    # With fewer rows no tree can have more.
    most = max(leaves.start[-1], min(leaves.highest, len(rows.ratings) / ROWS_IN_LEAF))
    found = search({"leaves": replace(leaves, highest=most)}, errors_of)
    leaf_count = int(found.best["leaves"])
    (count,) = (each["trees"] for each in curve if each["leaves"] == leaf_count)
    # The mean of several models overfits later than each of them.
    longest = max(STEP, min(max_trees, int(1.3 * count)) // STEP * STEP)
    parameters = parameters_of(leaf_count, learning_rate, seed, len(rows.ratings))
    grown = _grow(train, extra, rows, parameters, longest, seeds, by_year=by_year)
    error, count, predictions = np.inf, 0, np.zeros(len(judged))
    for trees in range(STEP, longest + 1, STEP):
        predictions += mean_prediction(grown, judged, first=trees - STEP, count=STEP)
        mse = mean_squared_error(predictions, validation.ratings)
        curve.append({"leaves": leaf_count, "seeds": seeds, "trees": trees, "validation_mse": mse})
        if mse < error:
            error, count = mse, trees
    # Fewer leaves than the first were no better on any movies that were tried.
    at_most = leaves.start[0] < leaf_count == leaves.limits[-1]
    on_edge = ["leaves"] * at_most + ["trees"] * (count >= max_trees)
    settings = _settings(parameters, seeds, count, features, encodings) | {
        "folds": "years" if by_year else "ids",
        "limits": {"leaves": [int(count) for count in leaves.limits], "trees": max_trees},
        "on_edge": on_edge,
        "patience": patience,
        "chosen_on": "validation",
    }
    return BoostingModel(tuple(cut(trees, count) for trees in grown), features, encodings, settings, curve, extra)


def refit(model: BoostingModel, rated: Examples, *, seed: int, device: str) -> BoostingModel:
    """Fit anew on ``rated``, as many trees with as many leaves as ``model`` has."""
    settings = model.settings
    by_year = settings["folds"] == "years"
    features, encodings, rows = _learn(rated, model.extra, by_year=by_year)
    parameters = parameters_of(settings["leaves"], settings["parameters"]["learning_rate"], seed, len(rows.ratings))
    grown = _grow(rated, model.extra, rows, parameters, settings["trees"], settings["seeds"], by_year=by_year)
    trees = tuple(cut(each, settings["trees"]) for each in grown)
    settings = _settings(parameters, settings["seeds"], settings["trees"], features, encodings) | {
        "folds": settings["folds"]
    }
    return BoostingModel(trees, features, encodings, settings, [], model.extra)


def _is_later(some: Examples, others: Examples) -> bool:
    """Return whether all movies of ``some`` are of later years than all of ``others``."""
    first, last = some.inputs.movies["release_year"].min(), others.inputs.movies["release_year"].max()
    return bool(first is not None and last is not None and first > last)  # pyright: ignore[reportOperatorIssue]


def _learn(
    train: Examples, extra: pl.DataFrame | None, *, by_year: bool, partition: int = 0
) -> tuple[Features, Encodings, Rows]:
    """Learn the features from the training movies and return them with the rows to learn from.

    What is encoded of other movies is the same in every ``partition`` into folds.
    """
    import numpy as np
    import polars as pl

    from imdb_pipeline.models.examples import Rated

    rated = [Rated(train.inputs.movies, train.ratings, train.votes)]
    scales = [1.0]
    if train.few_votes is not None and len(train.few_votes):
        rated.append(train.few_votes)
        scales.append(FEW_VOTES_WEIGHT)
    features = Features.learn(train.inputs.movies)
    encodings = Encodings.learn(features, *rated, by_year=by_year, partition=partition)
    weights = [scale * each.votes / (each.votes + HALF_WEIGHT_VOTES) for each, scale in zip(rated, scales, strict=True)]
    rows = Rows(
        _matrix(features, encodings, pl.concat([each.movies for each in rated]), extra),
        np.concatenate([each.ratings for each in rated]),
        np.concatenate(weights).astype(np.float32),
    )
    return features, encodings, rows


def training_features(train: Examples, *, by_year: bool = False) -> tuple[list[str], np.ndarray]:
    """Return the names of the features, and what the trees read of the training movies: float32, (n, features)."""
    features, encodings, rows = _learn(train, None, by_year=by_year)
    return _names(features, encodings, None), rows.matrix[: len(train)]


def _names(features: Features, encodings: Encodings, extra: pl.DataFrame | None) -> list[str]:
    return [*features.names, *encodings.names, *([] if extra is None else extra.columns[1:])]


def _matrix(features: Features, encodings: Encodings, movies: pl.DataFrame, extra: pl.DataFrame | None) -> np.ndarray:
    """Return all features of n movies: float32, shape (n, features)."""
    import numpy as np
    import polars as pl

    structure = features.matrix(movies)
    parts = [structure, encodings.matrix(movies, structure)]
    if extra is not None:
        joined = movies.select("tconst").join(extra, on="tconst", how="left", maintain_order="left")
        parts.append(joined.drop("tconst").select(pl.all().cast(pl.Float32).fill_null(np.nan)).to_numpy())
    return np.concatenate(parts, axis=1)


def _settings(
    parameters: dict[str, Any], seeds: int, trees: int, features: Features, encodings: Encodings
) -> dict[str, Any]:
    import lightgbm

    return {
        "method": "gradient-boosted trees on structure, the form of the title and the people's other movies",
        "library": f"lightgbm {lightgbm.__version__}",
        "leaves": parameters["num_leaves"],
        "trees": trees,
        "seeds": seeds,
        "features": len(features.names) + len(encodings.names),
        "movies_that_feed": len(encodings.feed),
        "parameters": parameters,
    }


def _grow(
    train: Examples,
    extra: pl.DataFrame | None,
    rows: Rows,
    parameters: dict[str, Any],
    count: int,
    seeds: int,
    *,
    by_year: bool,
) -> list[lightgbm.Booster]:
    """Grow ``count`` trees with each of several seeds.

    The first learns from ``rows``; where folds are drawn by id, each further one from rows encoded with folds of its
    own, so that the mean evens out what the draw does to the encodings.
    """
    import lightgbm

    grown = []
    pace = Pace("boosting", f"trees of {seeds} models", seeds * count)
    for number in range(seeds):
        if number and not by_year:
            rows = _learn(train, extra, by_year=False, partition=number)[2]
        data = lightgbm.Dataset(rows.matrix, rows.ratings, weight=rows.weights)
        own = {**parameters, "seed": parameters["seed"] + number}
        grown.append(lightgbm.train(own, data, num_boost_round=count, callbacks=[telling(pace)]))
    return grown


def _trees_file(folder: Path, number: int) -> Path:
    return folder / f"trees_{number}.txt"
