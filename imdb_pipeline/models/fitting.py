"""Fit one predictor by name and judge it on validation and test; load it again. The list of predictors is here."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from imdb_pipeline.errors import InputError
from imdb_pipeline.models.evaluate import evaluate

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import polars as pl

    from imdb_pipeline.models.examples import Examples, Inputs

PREDICTORS = {
    "mean": ("imdb_pipeline.models.mean", "MeanModel"),
    "linear": ("imdb_pipeline.models.linear", "LinearModel"),
    "knn": ("imdb_pipeline.models.knn", "KnnModel"),
    "svr": ("imdb_pipeline.models.svr", "SvrModel"),
    "mlp": ("imdb_pipeline.models.mlp", "MlpModel"),
    "boosting": ("imdb_pipeline.models.boosting", "BoostingModel"),
}
"""Module, imported when it is used, and class of each predictor. The module's ``fit`` returns the class."""


class Model(Protocol):
    """What every fitted predictor can do."""

    @property
    def settings(self) -> dict[str, Any]:
        """All that was set or chosen, as JSON values."""
        ...

    @property
    def curve(self) -> list[dict[str, Any]]:
        """The training curve, or the errors of the settings that were tried, as JSON values."""
        ...

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Return a rating for each of the n movies: float64, shape (n,), from 1 to 10."""
        ...

    def save(self, folder: Path) -> None:
        """Write the model into ``folder``."""
        ...


@dataclass(frozen=True, eq=False)
class FitResult:
    """A fitted predictor and how it did.

    Attributes
    ----------
    metrics
        What ``evaluate`` returned, for ``validation`` and ``test``.
    predictions
        A row for each movie of validation and test: ``tconst``, ``split``, ``rating`` and ``prediction`` Float64.
    fit_seconds
        Wall-clock time of the fit alone.
    """

    name: str
    model: Model
    n_train: int
    metrics: dict[str, dict[str, Any]]
    predictions: pl.DataFrame
    fit_seconds: float

    def summary(self) -> dict[str, Any]:
        """Return what ``leaderboard_rows`` takes, as JSON values; no timing, so equal fits give equal bytes."""
        return {
            "model": self.name,
            "settings": self.model.settings,
            "n_train": self.n_train,
            "metrics": self.metrics,
        }


def fit_predictor(
    name: str, train: Examples, validation: Examples, test: Examples, *, seed: int, device: str
) -> FitResult:
    """Fit a predictor on ``train``, let it choose on ``validation``, and judge it on both ``validation`` and ``test``.

    Parameters
    ----------
    name
        One of ``PREDICTORS``.
    train, validation, test
        None may be empty; ``too_few`` says so of a split beforehand.
    seed
        Of all that is random. The same seed and data give the same files on a CPU.
    device
        ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    InputError
        For a name that is not there.
    PipelineError
        Where a fit fails, as the MLP's does when its loss is no longer a number.
    """
    import numpy as np
    import polars as pl

    module, _ = _predictor(name)
    started = time.perf_counter()
    model: Model = import_module(module).fit(train, validation, seed=seed, device=device)
    fit_seconds = time.perf_counter() - started
    mean = train.ratings.mean(dtype=np.float64)
    metrics, frames = {}, []
    for part, examples in (("validation", validation), ("test", test)):
        predicted = model.predict(examples.inputs)
        metrics[part] = evaluate(predicted, examples.ratings, np.full(len(examples), mean), seed=seed)
        frames.append(
            examples.inputs.movies.select(
                "tconst",
                pl.lit(part).alias("split"),
                pl.Series("rating", examples.ratings, dtype=pl.Float64),
                pl.Series("prediction", predicted, dtype=pl.Float64),
            )
        )
    return FitResult(name, model, len(train), metrics, pl.concat(frames), fit_seconds)


def load_predictor(name: str, folder: Path, *, device: str = "cpu") -> Model:
    """Read a predictor that was saved in ``folder``, to predict on ``device``.

    Raises
    ------
    InputError
        For a name that is not there.
    PipelineError
        Naming a file that is missing or not what it should be.
    """
    module, kind = _predictor(name)
    return getattr(import_module(module), kind).load(folder, device=device)


def _predictor(name: str) -> tuple[str, str]:
    if name not in PREDICTORS:
        raise InputError(f"no predictor {name!r}; there are {', '.join(PREDICTORS)}")
    return PREDICTORS[name]
