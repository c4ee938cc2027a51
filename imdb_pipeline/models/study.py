"""The study's protocol to the letter, beside its own figures: its split, its grids, its choice by the test set.

M. Woolf, "Predicting Average IMDb Movie Ratings Using Text Embeddings of Movie Metadata", June 2025. What is chosen by
the test set is optimistic, and said to be; the honest protocol is the leaderboard's.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from imdb_pipeline.models import knn, linear, mean, mlp, ridge, svr, transformer
from imdb_pipeline.models.estimators import library_for
from imdb_pipeline.models.evaluate import evaluate
from imdb_pipeline.models.scale import mean_squared_error
from imdb_pipeline.models.search import Axis

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from imdb_pipeline.models.examples import Examples
    from imdb_pipeline.models.fitting import Model

DIMENSION = 768
MEAN_MSE = 1.637
TEST_MOVIES = 20_000
FEWEST_MOVIES = 100_000
"""Rated movies from which there are enough for that many; the study had 242,552."""
SMALL_SHARE = 12
"""Below, one in so many is for test, as in the study."""

ALPHAS = Axis.fixed(0.5, 1.0, 1.5, 2.0)
NEIGHBOURS = Axis.fixed(*range(2, 20))
COSTS = EPSILONS = (0.8, 0.9, 1.0, 1.1, 1.2)
CPU_ROWS = 2_000_000
"""Rows that the network is trained with on a CPU, over all epochs; the study's 600 epochs took 130 million."""
FEWEST_EPOCHS = 5
STEPS = 54
"""Of an epoch of the study: 222,552 training movies in batches of 4,096."""
FEWEST_ROWS = 64

ON_TEST = "selected on test: optimistic"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Figure:
    """What the study reports of a predictor: ``mse`` on its test set, and ``how`` it was fitted."""

    predictor: str
    mse: float
    how: str

    @property
    def r2(self) -> float:
        """1 - MSE / MSE of the training mean."""
        return round(1 - self.mse / MEAN_MSE, 3)


FIGURES = {
    figure.predictor: figure
    for figure in (
        Figure("mean", MEAN_MSE, "mean of the training ratings"),
        Figure("linear", 1.187, "ordinary least squares on the embeddings"),
        Figure("ridge", 1.189, f"alpha .5 to 2, {ON_TEST}"),
        Figure("sgd", 1.260, "a line by stochastic gradient descent"),
        Figure("knn", 1.173, f"2 to 19 neighbours, {ON_TEST}"),
        Figure("svr", 1.087, f"radial kernel, C 1.2 and epsilon .8, on the edge of a grid of .8 to 1.2, {ON_TEST}"),
        Figure("mlp", 1.074, "6 x (256, GELU, BatchNorm, Dropout .6), 600 epochs"),
        Figure("transformer, best epoch", 1.026, f"from scratch on the documents, {ON_TEST}"),
        Figure("transformer, last epoch", 1.155, "from scratch on the documents, 10 epochs"),
    )
}
"""The study's figures, by predictor."""


@dataclass(frozen=True, eq=False)
class Attempt:
    """What came of doing as the study did: predictions of the test set, or where none were kept their error alone."""

    how: str
    predictions: np.ndarray | None = None
    mse: float | None = None
    differs: list[str] = field(default_factory=list)


def study_split(examples: Examples, *, seed: int) -> tuple[Examples, Examples]:
    """Return train and test: 20,000 movies drawn for test, or one in twelve where there are fewer than 100,000 movies.

    There is no validation set. Equal movies and seed give the same split, in whatever order the movies come.
    """
    import numpy as np

    by_id = np.argsort(examples.inputs.movies["tconst"].to_numpy())
    count = TEST_MOVIES if len(examples) >= FEWEST_MOVIES else len(examples) // SMALL_SHARE
    drawn = by_id[np.random.default_rng(seed).permutation(len(examples))]
    return examples.take(np.sort(drawn[count:])), examples.take(np.sort(drawn[:count]))


def reproduce(examples: Examples, *, seed: int, device: str, checkpoints: Path | None = None) -> list[dict[str, Any]]:
    """Do as the study did on other movies, and put the study's figures beside what comes of it.

    Parameters
    ----------
    examples
        All rated movies; with documents for the transformer, which is else skipped.
    seed
        Of the split and of all else that is random.
    checkpoints
        A folder that outlives a kill, from which the networks' training goes on.

    Returns
    -------
    list of dict
        Of each of ``FIGURES`` ``predictor``, ``study_mse``, ``study_r2``, ``study_how``; ``mse``, ``r2`` with their
        95 % intervals as ``mse_low`` and ``mse_high``, ``n_train``, ``n_test``, ``how``; ``differs``, a list of what
        was not as in the study; ``skipped``, why there is nothing, or None. Intervals are None where no predictions
        were kept.
    """
    import numpy as np

    train, test = study_split(examples, seed=seed)
    options = {"seed": seed, "device": device}
    attempts: dict[str, Attempt | str] = {"sgd": "not one of this project's predictors; ridge is the same line"}
    attempts["mean"] = _plain(mean.fit(train, test, **options), test, FIGURES["mean"].how)
    attempts["linear"] = _plain(linear.fit(train, test, **options), test, FIGURES["linear"].how)
    model = ridge.fit(train, test, **options, alphas=ALPHAS)
    attempts["ridge"] = _plain(model, test, f"alpha {model.settings['alpha']} of .5 to 2, {ON_TEST}")
    model = knn.fit(train, test, **options, neighbours=NEIGHBOURS, sharpnesses=Axis.fixed(0.0))
    attempts["knn"] = _plain(model, test, f"{model.settings['neighbours']} of 2 to 19 neighbours, {ON_TEST}")
    attempts["svr"] = _svr(train, test, seed, device)
    attempts["mlp"] = _mlp(train, test, seed, device, checkpoints)
    attempts |= _transformer(train, test, seed, device, checkpoints)
    average = np.full(len(test), train.ratings.mean(dtype=np.float64))
    everywhere = _differences(train, test)
    return [_row(figure, attempts[name], train, test, average, everywhere, seed) for name, figure in FIGURES.items()]


def kernel_scale(embeddings: np.ndarray) -> float:
    """Return the kernel's gamma where none is set, as in the study: 1 / (dimension * variance of all their numbers)."""
    import numpy as np

    return float(1 / (embeddings.shape[1] * embeddings.var(dtype=np.float64)))


def _plain(model: Model, test: Examples, how: str) -> Attempt:
    return Attempt(how, model.predict(test.inputs))


def _svr(train: Examples, test: Examples, seed: int, device: str) -> Attempt:
    """Try the study's grid with exact fits of all training movies, or an approximation where a CPU cannot."""
    gamma = kernel_scale(train.inputs.embeddings)
    if library_for(device) == "scikit-learn" and len(train) > svr.EXACT_ROWS:
        model = svr.fit(train, test, seed=seed, device=device, gammas=Axis.fixed(gamma), exact_rows=svr.EXACT_ROWS)
        settings = model.settings
        how = f"{settings['method']}, gamma {gamma:.3g}, penalty {settings['alpha']:.3g}, {ON_TEST}"
        differs = [f"approximated by {settings['components']} landmarks with a squared loss: no C and no epsilon"]
        return Attempt(how, model.predict(test.inputs), differs=differs)
    best: tuple[float, str, np.ndarray] | None = None
    for c, epsilon in product(COSTS, EPSILONS):
        fitted = svr.fit_exact(train, {"gamma": gamma, "C": c, "epsilon": epsilon}, [], device)
        predictions = fitted.predict(test.inputs)
        error = mean_squared_error(predictions, test.ratings)
        if best is None or error < best[0]:
            edge = ", on the edge of the grid" if {c, epsilon} & {COSTS[0], COSTS[-1]} else ""
            best = error, f"C {c}, epsilon {epsilon}{edge}, gamma {gamma:.3g}, {ON_TEST}", predictions
    assert best is not None, "no grid"
    return Attempt(best[1], best[2])


def _mlp(train: Examples, test: Examples, seed: int, device: str, checkpoints: Path | None) -> Attempt:
    """Train the study's network for the study's epochs, or on a CPU for as many as it can, and take the last."""
    settings = dict(mlp.STUDY)
    differs = []
    if device == "cpu":
        epochs = max(FEWEST_EPOCHS, min(settings["first_cycle"], CPU_ROWS // len(train)))
        if epochs < settings["first_cycle"]:
            differs = [f"{epochs} epochs on a CPU in place of {settings['first_cycle']}"]
        settings["first_cycle"] = epochs
        # As many steps in an epoch as the study had: with its batches, few epochs of few movies are no training.
        rows = min(settings["batch_rows"], max(FEWEST_ROWS, len(train) // STEPS))
        if rows < settings["batch_rows"]:
            differs.append(f"batches of {rows} movies in place of {settings['batch_rows']:,}")
        settings["batch_rows"] = rows
    folder = None if checkpoints is None else checkpoints / "mlp"
    model = mlp.fit(train, test, seed=seed, device=device, checkpoints=folder, **settings)
    best = min(model.curve, key=lambda row: row["validation_mse"])
    how = f"the last of {len(model.curve)} epochs; the best on test, {best['epoch']}, had {best['validation_mse']:.3f}"
    return Attempt(how, model.predict(test.inputs), differs=differs)


def _transformer(
    train: Examples, test: Examples, seed: int, device: str, checkpoints: Path | None
) -> dict[str, Attempt | str]:
    """Train once for both: the best epoch on test, and the last one."""
    names = ("transformer, best epoch", "transformer, last epoch")
    if train.inputs.documents is None:
        return dict.fromkeys(names, "no documents were given")
    folder = None if checkpoints is None else checkpoints / "transformer"
    model = transformer.fit(train, test, seed=seed, device=device, checkpoints=folder)
    size, last, epochs = model.settings["size"], model.curve[-1], transformer.STUDY.epochs
    differs = []
    if size["layers"] != transformer.STUDY.layers:
        differs = [f"{size['layers']} layers and {size['max_length']} tokens, for a CPU, in place of 12 and 1,024"]
    stopped = [f"{last['epoch']} epochs in place of {epochs}"] if last["epoch"] != epochs else []
    return {
        names[0]: Attempt(
            f"epoch {model.settings['best_epoch']}, {ON_TEST}", model.predict(test.inputs), differs=differs
        ),
        names[1]: Attempt(f"epoch {last['epoch']}", mse=last["validation_mse"], differs=differs + stopped),
    }


def _differences(train: Examples, test: Examples) -> list[str]:
    """Return what is not as in the study for any predictor."""
    differs = []
    dimension = train.inputs.embeddings.shape[1]
    if dimension != DIMENSION:
        differs.append(f"{dimension}-D embeddings of another encoder in place of {DIMENSION}-D ones")
    if len(test) != TEST_MOVIES:
        differs.append(f"{len(test):,} movies for test, one in {SMALL_SHARE}, in place of {TEST_MOVIES:,}")
    return differs


def _row(
    figure: Figure,
    attempt: Attempt | str,
    train: Examples,
    test: Examples,
    average: np.ndarray,
    everywhere: list[str],
    seed: int,
) -> dict[str, Any]:
    """Return the study's figure beside the attempt's, or beside why there is none."""
    row: dict[str, Any] = {
        "predictor": figure.predictor,
        "study_mse": figure.mse,
        "study_r2": figure.r2,
        "study_how": figure.how,
        "n_train": len(train),
        "n_test": len(test),
        **{f"{name}{end}": None for name in ("mse", "r2") for end in ("", "_low", "_high")},
        "how": None,
        "differs": [],
        "skipped": None,
    }
    if isinstance(attempt, str):
        logger.info("%s: skipped, %s", figure.predictor, attempt)
        return row | {"skipped": attempt}
    row |= {"how": attempt.how, "differs": everywhere + attempt.differs}
    if attempt.predictions is None:
        assert attempt.mse is not None
        of_mean = mean_squared_error(average, test.ratings)
        row |= {"mse": attempt.mse, "r2": 1 - attempt.mse / of_mean if of_mean > 0 else None}
    else:
        metrics = evaluate(attempt.predictions, test.ratings, average, seed=seed)
        row |= {name: metrics[name] for name in row if name in metrics}
    logger.info("%s: MSE %.4f, the study's %.3f", figure.predictor, row["mse"], figure.mse)
    return row
