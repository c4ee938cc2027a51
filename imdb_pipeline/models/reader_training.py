"""How a network that reads documents is trained: batches, the rate, gradients within the memory, compiled layers.

The epochs themselves, judging and checkpoints belong to ``training``.
"""

from __future__ import annotations

import logging
import math
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.embeddings.encoder import layers_of, tokenize
from imdb_pipeline.embeddings.model_files import first_line
from imdb_pipeline.embeddings.packing import out_of_memory
from imdb_pipeline.errors import PipelineError
from imdb_pipeline.models.checkpoints import Checkpoint, training_key
from imdb_pipeline.models.pace import Pace
from imdb_pipeline.models.reader import DocumentModel, Reader, documents_of
from imdb_pipeline.models.scale import mean_squared_error
from imdb_pipeline.models.training import Trained, seeded, threads, train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    import torch

    from imdb_pipeline.embeddings.packing import Tokens
    from imdb_pipeline.models.examples import Examples

WARM_UP = 0.05
"""Share of the planned steps in which the rate rises."""
GRADIENT_NORM = 1.0
BATCHES_SORTED = 50
"""Where documents of equal length are computed together: batches whose documents are sorted by length and dealt out."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """How a reader is trained.

    Attributes
    ----------
    epochs
        That the rate's cosine is planned for.
    last_epoch
        The one after which training ends all the same; None: the last of ``epochs``.
    patience
        Epochs without a better one on validation, after which it ends.
    batch_documents
        Documents a step.
    weight_decay
        Of AdamW.
    """

    epochs: int
    batch_documents: int
    weight_decay: float
    patience: int = 2
    last_epoch: int | None = None


def fit_reader(
    build: Callable[[], tuple[torch.nn.ModuleDict, list[dict[str, Any]]]],
    tokenizer: Any,
    train_examples: Examples,
    validation: Examples | None,
    recipe: Recipe,
    settings: dict[str, Any],
    *,
    name: str,
    seed: int,
    device: str,
    checkpoints: Path | None,
) -> DocumentModel:
    """Train with the squared error of standardised ratings, and keep the weights of the best epoch on validation.

    Parameters
    ----------
    build
        Returns the network on the CPU, and groups of its parameters for AdamW, each with its rate ``lr``. Called with
        torch seeded.
    tokenizer
        Of the library tokenizers; it cuts documents at ``settings["max_length"]`` tokens.
    validation
        None: nothing is held out, and the weights of the last epoch are kept.
    settings
        Among them those of ``NEEDED_SETTINGS`` but for the target's, which are added, like what came of the training.

    Raises
    ------
    PipelineError
        The loss is no number, or memory is too short for a single document.
    """
    import numpy as np

    def tokens_of(examples: Examples) -> Tokens:
        documents = documents_of(examples.inputs)
        return tokenize(tokenizer, documents, prompt=settings["prompt"], lower=settings["lower"])

    tokens, ratings = tokens_of(train_examples), train_examples.ratings
    held = None if validation is None else tokens_of(validation)
    mean, deviation = float(ratings.mean(dtype=np.float64)), float(ratings.std(dtype=np.float64)) or 1.0
    target = ((ratings - mean) / deviation).astype(np.float32)
    checkpoint = None
    if checkpoints is not None:
        arrays = [tokens.ids, tokens.lengths, ratings]
        if held is not None and validation is not None:
            arrays += [held.ids, held.lengths, validation.ratings]
        every = {"seed": seed, "device": device, "tokenizer": tokenizer.to_str(), "last_epoch": recipe.last_epoch}
        checkpoint = Checkpoint(checkpoints, name, training_key({**settings, **every}, arrays))
    with seeded(seed, device):
        network, groups = build()
        network.to(device)
        reader = Reader(network, settings["pooling"], settings["max_length"])
        trained = train_reader(
            reader,
            groups,
            tokens,
            target,
            (lambda: _error(reader, held, validation, mean, deviation)) if held is not None else None,
            recipe,
            deviation,
            name=name,
            seed=seed,
            checkpoint=checkpoint,
        )
    encoder: Any = network["encoder"]
    settings = {
        **settings,
        "epochs": len(trained.curve),
        "best_epoch": trained.best_epoch,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "tokens_per_document": round(float(tokens.lengths.mean()), 1),
        "target_mean": mean,
        "target_deviation": deviation,
    }
    arrays_by_name = {name: tensor.cpu().numpy() for name, tensor in trained.state.items()}
    config = {**encoder.config.to_diff_dict(), "model_type": encoder.config.model_type}
    config["vocab_size"] = encoder.config.vocab_size
    return DocumentModel(arrays_by_name, config, tokenizer.to_str(), settings, trained.curve, device)


def _error(reader: Reader, tokens: Tokens, examples: Examples | None, mean: float, deviation: float) -> float:
    assert examples is not None
    return mean_squared_error(reader.answers(tokens) * deviation + mean, examples.ratings)


def train_reader(
    reader: Reader,
    groups: list[dict[str, Any]],
    tokens: Tokens,
    target: np.ndarray,
    judge: Callable[[], float] | None,
    recipe: Recipe,
    deviation: float,
    *,
    name: str,
    seed: int,
    checkpoint: Checkpoint | None = None,
) -> Trained:
    """Train; to be called within ``seeded``.

    Parameters
    ----------
    target
        float32, shape (n,), in standard deviations of ``deviation``.
    """
    import torch

    cuda = reader.device == "cuda"
    optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, fused=cuda)
    rates = [group["lr"] for group in optimizer.param_groups]
    texts = tokens.split()
    steps = math.ceil(len(texts) / recipe.batch_documents)
    parts = 1
    last = recipe.epochs if recipe.last_epoch is None else recipe.last_epoch

    def run_epoch(epoch: int) -> float:
        nonlocal parts
        total = torch.zeros((), device=reader.device)
        batches = _deal(tokens.lengths, recipe.batch_documents, alike=not (cuda and reader.packed))
        pace = Pace(f"{name}, epoch {epoch} of at most {last}", "batches", steps)
        for step, rows in enumerate(batches):
            factor = rate_factor(((epoch - 1) * steps + step) / (recipe.epochs * steps))
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            loss, parts = _gradient(reader, [texts[row] for row in rows], target[rows], parts)
            torch.nn.utils.clip_grad_norm_(reader.network.parameters(), GRADIENT_NORM)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            total += loss * len(rows)
            pace.part_done()
        return float(total) / len(texts) * deviation**2

    numbers = reader.numbers(tokens.lengths.mean() * recipe.batch_documents)
    with threads(numbers), _compiled(reader, texts[: recipe.batch_documents]) if cuda else nullcontext():
        return train(
            reader.network,
            optimizer,
            name=name,
            seed=seed,
            epochs=last,
            run_epoch=run_epoch,
            judge=judge,
            stops=lambda epoch, best: judge is not None and epoch - best >= recipe.patience,
            checkpoint=checkpoint,
        )


def rate_factor(progress: float) -> float:
    """Return the share of the rate after a share of the steps: it rises in a line, then falls along a cosine to 0."""
    if progress < WARM_UP:
        return progress / WARM_UP + 1e-3
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def _deal(lengths: np.ndarray, count: int, *, alike: bool) -> list[np.ndarray]:
    """Return the rows of each batch of an epoch, drawn from torch's generator.

    Parameters
    ----------
    alike
        Of documents of like length in a batch: less padding, and more of equal length.
    """
    import numpy as np
    import torch

    order = torch.randperm(len(lengths)).numpy()
    if alike:
        chunk = count * BATCHES_SORTED
        pieces = [order[first : first + chunk] for first in range(0, len(order), chunk)]
        order = np.concatenate([piece[np.argsort(lengths[piece], kind="stable")] for piece in pieces])
    batches = [order[first : first + count] for first in range(0, len(order), count)]
    return [batches[number] for number in torch.randperm(len(batches)).tolist()] if alike else batches


def _gradient(reader: Reader, ids: list[np.ndarray], target: np.ndarray, parts: int) -> tuple[torch.Tensor, int]:
    """Add the gradient of a batch's mean squared error; in more parts where memory is short.

    Returns
    -------
    torch.Tensor, int
        The error; in how many parts it was computed.
    """
    import numpy as np
    import torch

    while True:
        try:
            total = torch.zeros((), device=reader.device)
            for rows in np.array_split(np.arange(len(ids)), min(parts, len(ids))):
                wanted = torch.from_numpy(target[rows])
                if reader.device == "cuda":
                    wanted = wanted.pin_memory().to(reader.device, non_blocking=True)
                loss = (reader([ids[row] for row in rows]) - wanted).square().sum() / len(ids)
                loss.backward()
                total += loss.detach()
            return total, parts
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if parts >= len(ids):
                raise PipelineError(
                    "out of memory training on a single document; free memory, or train with --device cpu"
                ) from error
        # only now are the failed part's tensors free, which the error held
        parts *= 2
        reader.network.zero_grad(set_to_none=True)
        if reader.device == "cuda":
            torch.cuda.empty_cache()
        logger.warning("out of memory: going on with each batch in %d parts, the same documents again", parts)


@contextmanager
def _compiled(reader: Reader, ids: list[np.ndarray]) -> Iterator[None]:
    """Let torch.compile fuse each layer, forwards and backwards; without a compiler for it they stay as they are."""
    import numpy as np
    from torch._dynamo import config
    from torch._dynamo.exc import TorchDynamoException

    layers = layers_of(reader.network["encoder"])
    with config.patch(recompile_limit=32):  # layers of two kinds and the first, trained and judged
        for layer in layers:
            layer.compile(dynamic=True)
        try:
            _gradient(reader, ids, np.zeros(len(ids), dtype=np.float32), 1)
        except TorchDynamoException as error:
            for layer in layers:
                layer._compiled_call_impl = None
            logger.warning("going on without torch.compile: %s", first_line(error))
        reader.network.zero_grad(set_to_none=True)
        yield
