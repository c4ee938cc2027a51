"""Fit one predictor by name and judge it on validation and test; load it again. The list of predictors is here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from imdb_pipeline.errors import InputError
from imdb_pipeline.models.evaluate import evaluate
from imdb_pipeline.models.predictor import Predictor, own_predictors
from imdb_pipeline.models.split import MIN_MOVIES

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import polars as pl

    from imdb_pipeline.embeddings.model_files import EncoderChoice
    from imdb_pipeline.models.examples import Examples, Inputs, Parts
    from imdb_pipeline.models.finished import Finished


_BUILT_IN = {
    "mean": Predictor("imdb_pipeline.models.mean", "MeanModel", reads_embeddings=False),
    "linear": Predictor("imdb_pipeline.models.linear", "LinearModel"),
    "ridge": Predictor("imdb_pipeline.models.ridge", "LinearModel"),
    "knn": Predictor("imdb_pipeline.models.knn", "KnnModel", uses_gpu=True),
    "svr": Predictor("imdb_pipeline.models.svr", "SvrModel", uses_gpu=True),
    "mlp": Predictor("imdb_pipeline.models.mlp", "MlpModel", resumes=True, uses_gpu=True),
    "transformer": Predictor(
        "imdb_pipeline.models.transformer",
        "DocumentModel",
        reads_embeddings=False,
        reads_documents=True,
        resumes=True,
        uses_gpu=True,
    ),
    "finetuned": Predictor(
        "imdb_pipeline.models.finetuned",
        "DocumentModel",
        reads_embeddings=False,
        reads_documents=True,
        resumes=True,
        needs_gpu=True,
        takes_encoder=True,
        uses_gpu=True,
    ),
    "boosting": Predictor("imdb_pipeline.models.boosting", "BoostingModel", reads_embeddings=False),
}
_BLEND = Predictor("imdb_pipeline.models.blend", "BlendModel", reads_embeddings=False, resumes=True)
PREDICTORS = {**_BUILT_IN, **own_predictors(taken=(*_BUILT_IN, "blend")), "blend": _BLEND}
"""The predictors by name, those in ``models/own`` too. What the blend reads is what its members read."""

MEMBERS = tuple(name for name in PREDICTORS if name != "blend")
"""Those that are fitted on examples, and that the blend is made of."""


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
    name: str,
    parts: Parts,
    *,
    seed: int,
    device: str,
    encoder: EncoderChoice | None = None,
    finished: Finished | None = None,
) -> FitResult:
    """Fit a predictor on ``parts.train``, let it choose on ``parts.validation``, and judge it on validation and test.

    Parameters
    ----------
    name
        One of ``MEMBERS``.
    parts
        None of them may be empty; ``too_few`` says so of a split beforehand.
    seed
        Of all that is random. The same seed and data give the same files on a CPU.
    device
        ``"cpu"`` or ``"cuda"``.
    encoder
        The pretrained encoder of the home, for a predictor that fine-tunes it.
    finished
        What a run that was killed had finished of it: the model, or a checkpoint that its training goes on from.

    Raises
    ------
    InputError
        For a name that is not there.
    PipelineError
        Where a fit fails, as the MLP's does when its loss is no longer a number.
    """
    from imdb_pipeline.models.finished import Finished

    done = Finished(None, "") if finished is None else finished
    options = _options(name, done.checkpoints("training"))
    if _predictor(name).takes_encoder:
        options["encoder"] = encoder
    model, fit_seconds = done.model(
        "fitted",
        lambda: _module(name).fit(parts.train, parts.validation, seed=seed, device=device, **options),
        lambda folder: load_predictor(name, folder, device=device),
    )
    return judge(name, model, parts, fit_seconds=fit_seconds, seed=seed)


MIN_JUDGED = 30
"""Movies of validation, and of test, below which a split judges nothing: see ``split.MIN_MOVIES``."""


def can_judge(parts: Parts) -> bool:
    """Whether a split has movies enough to learn from, to choose with and to be judged by."""
    held = min(len(parts.validation), len(parts.test))
    return held >= MIN_JUDGED and len(parts.train) + len(parts.validation) + len(parts.test) >= MIN_MOVIES


def judge(name: str, model: Model, parts: Parts, *, fit_seconds: float, seed: int) -> FitResult:
    """Return how a model, fitted on ``parts.train``, does on validation and test."""
    import polars as pl

    frames = [
        examples.inputs.movies.select(
            "tconst",
            pl.lit(part).alias("split"),
            pl.Series("rating", examples.ratings, dtype=pl.Float64),
            pl.Series("prediction", model.predict(examples.inputs), dtype=pl.Float64),
        )
        for part, examples in (("validation", parts.validation), ("test", parts.test))
    ]
    mean = float(parts.train.ratings.mean(dtype="float64"))
    predictions = pl.concat(frames)
    metrics = judge_predictions(predictions, mean, seed=seed)
    return FitResult(name, model, len(parts.train), metrics, predictions, fit_seconds)


def judge_predictions(predictions: pl.DataFrame, mean: float, *, seed: int) -> dict[str, dict[str, Any]]:
    """Return what ``evaluate`` says of held-out predictions (tconst, split, rating, prediction), by part."""
    import numpy as np

    metrics = {}
    for part in ("validation", "test"):
        frame = predictions.filter(split=part)
        ratings = frame["rating"].to_numpy()
        metrics[part] = evaluate(frame["prediction"].to_numpy(), ratings, np.full(len(frame), mean), seed=seed)
    return metrics


def refit_predictor(
    name: str, model: Model, rated: Examples, *, seed: int, device: str, checkpoints: Path | None = None
) -> Model:
    """Fit a predictor anew on ``rated``, with the settings that ``model`` chose and nothing held out."""
    return _module(name).refit(model, rated, seed=seed, device=device, **_options(name, checkpoints))


def load_predictor(name: str, folder: Path, *, device: str = "cpu") -> Model:
    """Read a predictor that was saved in ``folder``, to predict on ``device``.

    Raises
    ------
    InputError
        For a name that is not there.
    PipelineError
        Naming a file that is missing or not what it should be.
    """
    return getattr(_module(name), _predictor(name).kind).load(folder, device=device)


def _module(name: str) -> Any:
    return import_module(_predictor(name).module)


def _options(name: str, checkpoints: Path | None) -> dict[str, Any]:
    """Return the keywords that only some predictors take."""
    return {"checkpoints": checkpoints} if _predictor(name).resumes else {}


def _predictor(name: str) -> Predictor:
    if name not in PREDICTORS:
        raise InputError(f"no predictor {name!r}; there are {', '.join(PREDICTORS)}")
    return PREDICTORS[name]
