"""A weighted sum of other predictors, with weights of at least 0 that are fitted on validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import PipelineError
from imdb_pipeline.models.saved import FIT_AGAIN, SETTINGS_FILE, read_settings, write_settings
from imdb_pipeline.models.scale import mean_squared_error, on_scale

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import polars as pl

    from imdb_pipeline.models.examples import Examples, Inputs
    from imdb_pipeline.models.fitting import Model

LEAST_SHARE = 0.05
"""Of all weights: a member with less costs more to fit and to serve than it brings."""
FOLDS = 10
BASELINE = "mean"


@dataclass(frozen=True)
class Weights:
    """How much of each member's distance from the training mean goes into the blend.

    Attributes
    ----------
    weights
        By member, above 0, the largest first. Their sum is near 1: less where the members together say too much.
    offset
        The training mean, in rating points.
    """

    weights: dict[str, float]
    offset: float

    def blend(self, predictions: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        """Return the weighted sum of the members' predictions of ``count`` movies: float64, (count,), from 1 to 10."""
        import numpy as np

        total = np.full(count, self.offset)
        for name, weight in self.weights.items():
            total += weight * (predictions[name] - self.offset)
        return on_scale(total)


@dataclass(frozen=True, eq=False)
class BlendModel:
    """The members by name, and what ``settings`` says of their weights."""

    members: dict[str, Model]
    settings: dict[str, Any]
    curve: list[dict[str, Any]]

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Return a rating for each of the n movies: float64, shape (n,), from 1 to 10."""
        weights = Weights(self.settings["weights"], self.settings["offset"])
        return weights.blend({name: model.predict(inputs) for name, model in self.members.items()}, len(inputs))

    def save(self, folder: Path) -> None:
        """Write settings and curve into ``folder``, and each member into a folder of its name."""
        write_settings(folder, self.settings, self.curve)
        for name, model in self.members.items():
            model.save(folder / name)

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> BlendModel:
        """Read what ``save`` wrote, to predict on ``device``. Raises ``PipelineError`` naming a bad file."""
        from imdb_pipeline.models.fitting import MEMBERS, load_predictor

        settings, curve = read_settings(folder, {"weights": dict, "offset": float})
        for name, weight in settings["weights"].items():
            if name not in MEMBERS or not isinstance(weight, (int, float)):
                raise PipelineError(f"{folder / SETTINGS_FILE}: no member {name!r} of weight {weight!r}; {FIT_AGAIN}")
        members = {name: load_predictor(name, folder / name, device=device) for name in settings["weights"]}
        return cls(members, settings, curve)


@dataclass(frozen=True)
class Blended:
    """Weights, and what they make of validation and test.

    Attributes
    ----------
    predictions
        tconst, split, rating, prediction. A movie of validation is predicted with members chosen and weights fitted on
        the other nine tenths of validation, so that no rating helps to predict itself.
    settings, curve
        For the ``BlendModel`` of these weights.
    """

    weights: Weights
    predictions: pl.DataFrame
    settings: dict[str, Any]
    curve: list[dict[str, Any]]


def fit_weights(held_out: Mapping[str, pl.DataFrame], *, seed: int) -> Blended:
    """Fit the weights on validation, and drop the members with less than ``LEAST_SHARE`` of them.

    Non-negative least squares on the distances from the training mean (Breiman 1996, Stacked Regressions).

    Parameters
    ----------
    held_out
        By predictor, ``mean`` among them: tconst, split, rating, prediction, as from ``FitResult.predictions``; the
        same movies in each.
    seed
        Of the folds.

    Raises
    ------
    ValueError
        The movies differ, or there is no predictor but the mean.
    """
    import numpy as np
    import polars as pl

    frame = held_out[BASELINE].rename({"prediction": BASELINE})
    names = sorted(set(held_out) - {BASELINE})
    for name in names:
        theirs = held_out[name].select("tconst", "split", pl.col("prediction").alias(name))
        frame = frame.join(theirs, on=["tconst", "split"], how="inner", maintain_order="left", validate="1:1")
    if not names or any(len(each) != len(frame) for each in held_out.values()):
        raise ValueError(f"predictions of {names}: expected at least one predictor, and the same movies in each")
    validation = frame.filter(split="validation")
    offset = float(validation[BASELINE][0])
    weights, curve = _choose(validation, names, offset)
    fold = np.random.default_rng(seed).permutation(len(validation)) % FOLDS
    crossed = np.full(len(validation), offset)
    for number in range(FOLDS):
        others, own = validation.filter(fold != number), validation.filter(fold == number)
        if len(others) and len(own):
            fitted = Weights(_choose(others, names, offset)[0], offset)
            crossed[fold == number] = fitted.blend({name: own[name].to_numpy() for name in names}, len(own))
    final = Weights(dict(sorted(weights.items(), key=lambda item: -item[1])), offset)
    blended = final.blend({name: frame[name].to_numpy() for name in names}, len(frame))
    blended[(frame["split"] == "validation").to_numpy()] = crossed
    settings = {
        "method": "weighted sum of " + ", ".join(final.weights) if final.weights else "the training mean",
        "weights": final.weights,
        "offset": offset,
        "members_tried": names,
        "chosen_on": "validation",
        "validation": "predicted with weights fitted on the other nine tenths of it",
    }
    predictions = frame.select("tconst", "split", "rating").with_columns(prediction=pl.Series(blended))
    return Blended(final, predictions, settings, curve)


def refit(model: BlendModel, rated: Examples, *, seed: int, device: str, checkpoints: Path | None = None) -> BlendModel:
    """Fit each member anew on ``rated`` with the settings it chose; the weights stay."""
    from imdb_pipeline.models.fitting import refit_predictor

    members = {
        name: refit_predictor(
            name,
            member,
            rated,
            seed=seed,
            device=device,
            checkpoints=None if checkpoints is None else checkpoints / name,
        )
        for name, member in model.members.items()
    }
    return BlendModel(members, model.settings, model.curve)


def _choose(frame: pl.DataFrame, names: list[str], offset: float) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Return the weights once those of too little weight are dropped, and a row a round."""
    ratings = frame["rating"].to_numpy()
    chosen, curve = names, []
    while True:
        weights = _non_negative(frame, chosen, ratings, offset)
        blended = Weights(weights, offset).blend({name: frame[name].to_numpy() for name in weights}, len(frame))
        curve.append({"weights": weights, "validation_mse": mean_squared_error(blended, ratings)})
        strong = [name for name in weights if weights[name] >= LEAST_SHARE * sum(weights.values())]
        if strong == chosen:
            return weights, curve
        chosen = strong


def _non_negative(frame: pl.DataFrame, names: list[str], ratings: np.ndarray, offset: float) -> dict[str, float]:
    """Return the weights above 0 by member."""
    import numpy as np
    from scipy.optimize import nnls

    if not names:
        return {}
    solution, _ = nnls(np.column_stack([frame[name].to_numpy() - offset for name in names]), ratings - offset)
    return {name: float(weight) for name, weight in zip(names, solution, strict=True) if weight > 0}
