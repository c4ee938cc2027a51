"""The epochs of a training: judged on validation, the best one kept, resumed after a kill, stopped where no number.

What an epoch does belongs to the predictor. All that is random in an epoch follows from the seed and its number, so a
training that goes on from a checkpoint does what it would have done.
"""

from __future__ import annotations

import logging
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import PipelineError
from imdb_pipeline.models.tensors import tensor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from imdb_pipeline.models.checkpoints import Checkpoint

SECONDS_BETWEEN_LOGS = 10
NUMBERS_FOR_THREADS = 2_048 * 256
"""Fewer cost several threads more than they bring, most on a busy machine."""

logger = logging.getLogger(__name__)


@dataclass
class Trained:
    """What a training has come to.

    Attributes
    ----------
    state
        The network's tensors by name: of the best epoch, or of the last where nothing is judged.
    best_epoch
        0 before the first.
    best_error
        Mean squared error of that epoch on validation; infinite before the first.
    curve
        A row an epoch: ``epoch``, ``train_mse``, and ``validation_mse`` where it is judged.
    """

    state: dict[str, torch.Tensor]
    best_epoch: int = 0
    best_error: float = math.inf
    curve: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def threads(numbers: int) -> Iterator[None]:
    """Let torch compute on a CPU with one thread for a while, where a step computes with too few numbers for several.

    Parameters
    ----------
    numbers
        In the largest array of a step's inputs, rows times width.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1 if numbers < NUMBERS_FOR_THREADS else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(seed: int, device: str) -> Iterator[None]:
    """Seed torch's generators for a while; afterwards they are what they were."""
    import torch

    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device.startswith("cuda") else []):
        torch.manual_seed(seed)
        yield


def train(
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    name: str,
    seed: int,
    epochs: int,
    run_epoch: Callable[[int], float],
    judge: Callable[[], float] | None,
    stops: Callable[[int, int], bool] = lambda epoch, best_epoch: False,
    keep_last: bool = False,
    checkpoint: Checkpoint | None = None,
    checkpoint_every: int = 1,
) -> Trained:
    """Train for some epochs; to be called within ``seeded``.

    Parameters
    ----------
    name
        Of the predictor, for what is logged and raised.
    run_epoch
        Trains one epoch, from 1, and returns its mean squared error.
    judge
        Returns the mean squared error on validation; the network is in evaluation mode then. None: nothing is held out.
    stops
        Told the epoch and the best one so far: whether the epoch is the last.
    keep_last
        Keep the last epoch's weights all the same; ``best_epoch`` still says which was best.
    checkpoint
        What it goes on from, written after every ``checkpoint_every`` epochs, deleted at the end.

    Raises
    ------
    PipelineError
        A loss or an error is no number, or a checkpoint cannot be written.
    """
    import torch

    trained = Trained(_copied(network))
    epoch = _restore(checkpoint, network, optimizer, trained)
    if epoch:
        logger.info("%s: going on after epoch %d of %d", name, epoch, epochs)
    first, started = epoch, time.perf_counter()
    logged = started
    while epoch < epochs and not (epoch and stops(epoch, trained.best_epoch)):
        epoch += 1
        torch.manual_seed(seed + 1_000_003 * epoch)
        network.train()
        row: dict[str, Any] = {"epoch": epoch, "train_mse": run_epoch(epoch)}
        network.eval()
        if judge is not None:
            row["validation_mse"] = judge()
        if not all(math.isfinite(value) for value in row.values()):
            raise PipelineError(f"{name}: the loss of epoch {epoch} is not a number; lower the learning rate")
        trained.curve.append(row)
        error = row.get("validation_mse", -math.inf)
        better = error < trained.best_error or judge is None
        if better:
            trained.best_error, trained.best_epoch = error, epoch
        if better or keep_last:
            trained.state = _copied(network)
        if checkpoint is not None and epoch % checkpoint_every == 0:
            _write(checkpoint, network, optimizer, trained)
        now = time.perf_counter()
        if now - logged >= SECONDS_BETWEEN_LOGS:
            logged, left = now, (now - started) / (epoch - first) * (epochs - epoch)
            logger.info(
                "%s: epoch %d of %d, %s, at most %.0f s left",
                name, epoch, epochs,
                f"MSE {row['train_mse']:.4f}" if judge is None
                else f"validation MSE {error:.4f} (best {trained.best_error:.4f})",
                left,
            )  # fmt: skip
    if checkpoint is not None:
        checkpoint.remove()
    return trained


def _copied(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _write(
    checkpoint: Checkpoint, network: torch.nn.Module, optimizer: torch.optim.Optimizer, trained: Trained
) -> None:
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in trained.state.items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in state.items()}
    progress = {"best_epoch": trained.best_epoch, "best_error": trained.best_error, "curve": trained.curve}
    checkpoint.write({name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}, progress)


def _restore(
    checkpoint: Checkpoint | None, network: torch.nn.Module, optimizer: torch.optim.Optimizer, trained: Trained
) -> int:
    """Take over what a checkpoint holds, and return its epoch; 0 where there is none."""
    held = None if checkpoint is None else checkpoint.read()
    if held is None:
        return 0
    arrays, progress = held
    parts: dict[str, dict[str, torch.Tensor]] = {"network": {}, "best": {}, "optimizer": {}}
    for name, array in arrays.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor_of(array, "cpu")
    network.load_state_dict(parts["network"])
    states: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        number, _, rest = name.partition(".")
        states.setdefault(int(number), {})[rest] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": states, "param_groups": groups})
    trained.state = {name: parts["best"][name].to(tensor.device) for name, tensor in trained.state.items()}
    trained.best_epoch, trained.best_error = progress["best_epoch"], progress["best_error"]
    trained.curve = progress["curve"]
    return len(trained.curve)
