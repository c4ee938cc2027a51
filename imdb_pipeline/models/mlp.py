"""The study's multi-layer perceptron on the embeddings, in plain torch: read it from top to bottom.

dimension -> 6 x (Linear 256, GELU, BatchNorm, Dropout 0.6) -> 1, AdamW at 2e-3 on a cosine, decay 1e-3.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import PipelineError
from imdb_pipeline.models.saved import ARRAYS_FILE, read_arrays, read_settings, write_arrays, write_settings
from imdb_pipeline.models.scale import embeddings_of, mean_squared_error, on_scale
from imdb_pipeline.models.tensors import tensor_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    import torch

    from imdb_pipeline.models.examples import Examples, Inputs

LAYERS = 6
WIDTH = 256
PREDICT_ROWS = 16_384
SECONDS_BETWEEN_LOGS = 10
ROWS_FOR_THREADS = 2_048
"""Rows a step from which several threads share it: below, they cost more than they bring, most on a busy machine."""

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
        network = _network(settings["dimension"], settings["layers"], settings["width"], settings["dropout"])
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
        network = _network(settings["dimension"], settings["layers"], settings["width"], settings["dropout"])
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
) -> MlpModel:
    """Train on standardised ratings with the squared error, and keep the weights of the best epoch on validation.

    The learning rate falls along a cosine and restarts, each cycle twice as long as the one before (Loshchilov and
    Hutter 2017, SGDR). A cycle that brought nothing better is the last. torch's generators are left as they were.

    Parameters
    ----------
    first_cycle, cycles
        Epochs of the first cycle, and how many cycles at most: 10 + 20 + 40 epochs.
    batch_rows
        Rows a step; None is a sixteenth of the movies, from 64 to the study's 4,096.

    Raises
    ------
    PipelineError
        Where the loss is no longer a number.
    """
    import numpy as np
    import torch

    dimension = train.inputs.embeddings.shape[1]
    rows = batch_rows or min(4096, max(64, len(train) // 16))
    mean, deviation = float(train.ratings.mean(dtype=np.float64)), float(train.ratings.std(dtype=np.float64)) or 1.0
    inputs = tensor_of(train.inputs.embeddings, device)
    target = tensor_of(((train.ratings - mean) / deviation).astype(np.float32), device)
    held = tensor_of(validation.inputs.embeddings, "cpu")
    steps = max(1, len(train) // rows)
    ends = [first_cycle * (2 ** (cycle + 1) - 1) for cycle in range(cycles)]
    epochs = ends[-1]

    forked = [device] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=forked), _threads(1 if rows < ROWS_FOR_THREADS else torch.get_num_threads()):
        torch.manual_seed(seed)
        network = _network(dimension, layers, width, dropout).to(device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=first_cycle * steps, T_mult=2)
        curve: list[dict[str, Any]] = []
        best_error, best_epoch, best_state = math.inf, 0, copy.deepcopy(network.state_dict())
        started = logged = time.perf_counter()
        for epoch in range(1, epochs + 1):
            network.train()
            order = torch.randperm(len(train)).to(device)
            total = torch.zeros((), device=device)
            for step in range(steps):
                # The rows that do not fill a step are left out; others are at the next epoch.
                chosen = order[step * rows : (step + 1) * rows]
                loss = torch.nn.functional.mse_loss(network(inputs[chosen]).squeeze(1), target[chosen])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.detach()
            network.eval()
            train_error = float(total) / steps * deviation**2
            answers = _answers(network, held, device)
            if not (math.isfinite(train_error) and np.isfinite(answers).all()):
                raise PipelineError(f"mlp: the loss of epoch {epoch} is not a number; lower the learning rate")
            error = mean_squared_error(answers * deviation + mean, validation.ratings)
            curve.append({"epoch": epoch, "train_mse": train_error, "validation_mse": error})
            if error < best_error:
                best_error, best_epoch, best_state = error, epoch, copy.deepcopy(network.state_dict())
            now = time.perf_counter()
            if now - logged >= SECONDS_BETWEEN_LOGS:
                logged, left = now, (now - started) / epoch * (epochs - epoch)
                logger.info(
                    "mlp: epoch %d of %d, validation MSE %.4f (best %.4f), at most %.0f s left",
                    epoch, epochs, error, best_error, left,
                )  # fmt: skip
            if epoch in ends and best_epoch <= ([0, *ends][ends.index(epoch)]):
                break
    settings = {
        "method": "multi-layer perceptron",
        "dimension": dimension,
        "layers": layers,
        "width": width,
        "dropout": dropout,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "schedule": "cosine with restarts",
        "cycle_ends": ends,
        "batch_rows": rows,
        "epochs": len(curve),
        "best_epoch": best_epoch,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "target_mean": mean,
        "target_deviation": deviation,
        "chosen_on": "validation",
        "differs_from_study": [
            "standardised target",
            "cycles of 10, 20 and 40 epochs in place of 600 epochs",
            "the best epoch on validation in place of the last",
            "smaller batches below 65,536 movies",
        ],
    }
    return MlpModel({name: tensor.cpu().numpy() for name, tensor in best_state.items()}, settings, curve, device)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch compute with ``count`` threads for a while."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _network(dimension: int, layers: int, width: int, dropout: float) -> torch.nn.Sequential:
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
