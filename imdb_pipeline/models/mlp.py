"""The study's multi-layer perceptron on the embeddings, in plain torch: read it from top to bottom.

dimension -> 6 x (Linear 256, GELU, BatchNorm, Dropout 0.6) -> 1, AdamW at 2e-3 on a cosine, decay 1e-3. The data
stay on the device, and so does what ``steps`` does with them.
"""

from __future__ import annotations

import logging
import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import PipelineError
from imdb_pipeline.models.checkpoints import Checkpoint, training_key
from imdb_pipeline.models.saved import ARRAYS_FILE, read_arrays, read_settings, write_arrays, write_settings
from imdb_pipeline.models.scale import embeddings_of, mean_squared_error, on_scale
from imdb_pipeline.models.steps import Steps
from imdb_pipeline.models.tensors import tensor_of
from imdb_pipeline.models.training import seeded, threads, train

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    import torch

    from imdb_pipeline.models.examples import Examples, Inputs

LAYERS = 6
WIDTH = 256
PREDICT_ROWS = 16_384

CHECKPOINT_EPOCHS = 10
"""Epochs from one checkpoint to the next."""
STUDY: dict[str, Any] = {
    "first_cycle": 600,
    "cycles": 1,
    "batch_rows": 4_096,
    "standardised": False,
    "partial_batch": True,
    "keep_last": True,
}
"""Keywords of ``fit`` that make it the study's, to the letter; its settings then say which epoch was the best."""

NEEDED_SETTINGS = {
    "dimension": int,
    "layers": int,
    "width": int,
    "dropout": float,
    "target_mean": float,
    "target_deviation": float,
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class MlpModel:
    """The network's arrays by name, as in torch's ``state_dict``; float32, counters int64.

    The network answers in standard deviations from the training mean: ``settings["target_mean"]`` and
    ``settings["target_deviation"]``.
    """

    arrays: dict[str, np.ndarray]
    settings: dict[str, Any]
    curve: list[dict[str, Any]]
    device: str = "cpu"

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Return a rating for each of the n movies: float64, shape (n,), from 1 to 10."""
        settings = self.settings
        embeddings = embeddings_of(inputs, settings["dimension"])
        network = build_network(settings["dimension"], settings["layers"], settings["width"], settings["dropout"])
        network.load_state_dict({name: tensor_of(array, "cpu") for name, array in self.arrays.items()})
        network.to(self.device).eval()
        answers = _answers(network, tensor_of(embeddings, "cpu"), self.device)
        return on_scale(answers * settings["target_deviation"] + settings["target_mean"])

    def save(self, folder: Path) -> None:
        """Write settings, curve and arrays into ``folder``."""
        write_settings(folder, self.settings, self.curve)
        write_arrays(folder, self.arrays)

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> MlpModel:
        """Read what ``save`` wrote, to predict on ``device``. Raises ``PipelineError`` naming a bad file."""
        settings, curve = read_settings(folder, NEEDED_SETTINGS)
        network = build_network(settings["dimension"], settings["layers"], settings["width"], settings["dropout"])
        expected = network.state_dict()
        arrays = read_arrays(folder, {name: tensor.dim() for name, tensor in expected.items()})
        for name, tensor in expected.items():
            if arrays[name].shape != tuple(tensor.shape):
                raise PipelineError(
                    f"{folder / ARRAYS_FILE}: array {name!r} has shape {arrays[name].shape}, not {tuple(tensor.shape)}"
                )
        return cls({name: arrays[name] for name in expected}, settings, curve, device)


def fit(
    train: Examples,
    validation: Examples,
    *,
    seed: int,
    device: str,
    first_cycle: int = 10,
    cycles: int = 3,
    batch_rows: int | None = None,
    learning_rate: float = 2e-3,
    dropout: float = 0.6,
    weight_decay: float = 1e-3,
    layers: int = LAYERS,
    width: int = WIDTH,
    standardised: bool = True,
    partial_batch: bool = False,
    keep_last: bool = False,
    checkpoints: Path | None = None,
) -> MlpModel:
    """Train with the squared error, and keep the weights of the best epoch on validation.

    The learning rate falls along a cosine and restarts, each cycle twice as long as the one before (Loshchilov and
    Hutter 2017, SGDR). A cycle that brought nothing better is the last. torch's generators are left as they were.
    ``fit(..., **STUDY)`` is the study's training, whose "restarts" were one cosine over all epochs.

    Parameters
    ----------
    first_cycle, cycles
        Epochs of the first cycle, and how many cycles at most: 10 + 20 + 40 epochs.
    batch_rows
        Rows a step; None is a sixteenth of the movies, from 64 to the study's 4,096.
    standardised
        Whether the target is the rating in standard deviations from the training mean, or as it is.
    partial_batch
        Whether the rows that do not fill a step make one of their own; else an epoch leaves them out.
    keep_last
        Keep the weights of the last epoch instead, of all that there are; validation chooses nothing then.
    checkpoints
        A folder in which the state after every tenth epoch is held until the end.

    Raises
    ------
    PipelineError
        Where the loss is no longer a number.
    """
    settings = {
        "method": "multi-layer perceptron",
        "dimension": train.inputs.embeddings.shape[1],
        "layers": layers,
        "width": width,
        "dropout": dropout,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "schedule": "cosine with restarts",
        "cycle_ends": [first_cycle * (2 ** (cycle + 1) - 1) for cycle in range(cycles)],
        "batch_rows": batch_rows or min(4096, max(64, len(train) // 16)),
        "standardised": standardised,
        "partial_batch": partial_batch,
        "keep_last": keep_last,
        "chosen_on": "nothing: the last epoch" if keep_last else "validation",
        "differs_from_study": [
            *(["standardised target"] * standardised),
            *(["cycles of 10, 20 and 40 epochs in place of 600 epochs"] * (cycles > 1)),
            *(["the best epoch on validation in place of the last"] * (not keep_last)),
            *(["smaller batches below 65,536 movies"] * (batch_rows is None)),
        ],
    }
    return _fit(train, validation, settings, None, seed=seed, device=device, checkpoints=checkpoints)


def refit(model: MlpModel, rated: Examples, *, seed: int, device: str, checkpoints: Path | None = None) -> MlpModel:
    """Train anew on ``rated`` for as many epochs as were best for ``model`` (all, if it kept the last)."""
    last_epoch = None if model.settings["keep_last"] else model.settings["best_epoch"]
    return _fit(rated, None, model.settings, last_epoch, seed=seed, device=device, checkpoints=checkpoints)


def _fit(
    train_examples: Examples,
    validation: Examples | None,
    settings: dict[str, Any],
    last_epoch: int | None,
    *,
    seed: int,
    device: str,
    checkpoints: Path | None,
) -> MlpModel:
    import numpy as np
    import torch

    embeddings, ratings = embeddings_of(train_examples.inputs, settings["dimension"]), train_examples.ratings
    mean, deviation = 0.0, 1.0
    if settings["standardised"]:
        mean, deviation = float(ratings.mean(dtype=np.float64)), float(ratings.std(dtype=np.float64)) or 1.0
    rows = min(settings["batch_rows"], len(ratings))
    checkpoint = None
    if checkpoints is not None:
        data = [embeddings, ratings]
        data += [] if validation is None else [validation.inputs.embeddings, validation.ratings]
        key = training_key({**settings, "seed": seed, "device": device, "last_epoch": last_epoch}, data)
        checkpoint = Checkpoint(checkpoints, "mlp", key)
    inputs = tensor_of(embeddings, device)
    target = tensor_of(((ratings - mean) / deviation).astype(np.float32), device)
    held = None if validation is None else tensor_of(validation.inputs.embeddings, device)
    ends = settings["cycle_ends"]
    cuda = device.startswith("cuda")
    with seeded(seed, device), _tensor_cores(device), threads(rows * settings["width"]):
        network = build_network(settings["dimension"], settings["layers"], settings["width"], settings["dropout"])
        network.to(device)
        rate = torch.tensor(settings["learning_rate"], device=device)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=rate, weight_decay=settings["weight_decay"], fused=True, capturable=cuda
        )
        steps = Steps(network, optimizer, inputs, target, rows, partial=settings["partial_batch"])
        table = epoch_rates(ends, steps.in_epoch, settings["learning_rate"])

        def judge() -> float:
            assert held is not None
            assert validation is not None
            return mean_squared_error(_answers(network, held, device) * deviation + mean, validation.ratings)

        def ended(epoch: int, best_epoch: int) -> bool:
            choosing = held is not None and not settings["keep_last"]
            return choosing and epoch in ends and best_epoch <= [0, *ends][ends.index(epoch)]

        trained = train(
            network,
            optimizer,
            name="mlp",
            seed=seed,
            epochs=ends[-1] if last_epoch is None else last_epoch,
            run_epoch=lambda epoch: steps.run_epoch(table[epoch - 1]) * deviation**2,
            judge=None if held is None else judge,
            stops=ended,
            keep_last=settings["keep_last"],
            checkpoint=checkpoint,
            checkpoint_every=CHECKPOINT_EPOCHS,
        )
    settings = {
        **settings,
        "epochs": len(trained.curve),
        "best_epoch": trained.best_epoch,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "target_mean": mean,
        "target_deviation": deviation,
    }
    return MlpModel(
        {name: tensor.cpu().numpy() for name, tensor in trained.state.items()}, settings, trained.curve, device
    )


def epoch_rates(ends: list[int], steps: int, rate: float) -> torch.Tensor:
    """Return the rate of each step, float32, shape (epochs, steps): a cosine to 0 in each cycle."""
    import torch

    cycles = []
    for start, end in zip([0, *ends], ends, strict=False):
        share = torch.arange((end - start) * steps, dtype=torch.float64) / ((end - start) * steps)
        cycles.append(rate * 0.5 * (1 + torch.cos(math.pi * share)))
    return torch.cat(cycles).float().view(ends[-1], steps)


@contextmanager
def _tensor_cores(device: str) -> Iterator[None]:
    """Let float32 products be computed with TF32 on CUDA for a while."""
    import torch

    before = torch.get_float32_matmul_precision()
    if device.startswith("cuda"):
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def build_network(dimension: int, layers: int, width: int, dropout: float) -> torch.nn.Sequential:
    """Build the network, untrained."""
    from torch import nn

    blocks: list[nn.Module] = []
    for layer in range(layers):
        blocks += [
            nn.Linear(width if layer else dimension, width),
            nn.GELU(),
            nn.BatchNorm1d(width),
            nn.Dropout(dropout),
        ]
    return nn.Sequential(*blocks, nn.Linear(width, 1))


def _answers(network: torch.nn.Module, inputs: torch.Tensor, device: str) -> np.ndarray:
    """Return what the network answers, in standard deviations: float64, shape (n,)."""
    import numpy as np
    import torch

    with torch.inference_mode():
        blocks = [network(block.to(device)).squeeze(1).double().cpu().numpy() for block in inputs.split(PREDICT_ROWS)]
    return np.concatenate(blocks)
