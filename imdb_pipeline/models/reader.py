"""A network that reads documents and answers a rating: a transformer, pooled, and a head; its training and its files.

What the transformer is, its weights at the start and how long it is trained belong to ``transformer`` (from scratch)
and ``finetuned`` (a pretrained encoder). On CUDA it computes in bfloat16 by autocast; without padding where that works.
"""

from __future__ import annotations

import logging
import math
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.embeddings.encoder import TOKENS_PER_BATCH, layers_of, tokenize
from imdb_pipeline.embeddings.model_files import first_line
from imdb_pipeline.embeddings.packing import Forward, choose_forward, out_of_memory, plan_batches
from imdb_pipeline.errors import PipelineError
from imdb_pipeline.models.checkpoints import Checkpoint, training_key
from imdb_pipeline.models.saved import (
    ARRAYS_FILE,
    read_arrays,
    read_json,
    read_settings,
    write_arrays,
    write_json,
    write_settings,
)
from imdb_pipeline.models.scale import mean_squared_error, on_scale
from imdb_pipeline.models.tensors import tensor_of
from imdb_pipeline.models.training import Trained, seeded, threads, train
from imdb_pipeline.onednn import use_for_linear_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    import torch
    from transformers import PretrainedConfig

    from imdb_pipeline.embeddings.packing import Tokens
    from imdb_pipeline.models.examples import Examples, Inputs

CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"
WARM_UP = 0.05
"""Share of the planned steps in which the rate rises."""
GRADIENT_NORM = 1.0
BATCHES_SORTED = 50
"""Where documents of equal length are computed together: batches whose documents are sorted by length and dealt out."""
NEEDED_SETTINGS = {
    "pooling": str,
    "max_length": int,
    "prompt": str,
    "lower": bool,
    "target_mean": float,
    "target_deviation": float,
}

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


@dataclass(frozen=True, eq=False)
class DocumentModel:
    """A transformer and its head with all that predicting needs; nothing else is asked for, neither a folder nor a hub.

    Attributes
    ----------
    arrays
        The network's arrays by name, float32. It answers in standard deviations from the training mean.
    config
        Of the transformer, as transformers writes it.
    tokenizer
        JSON of the library tokenizers.
    """

    arrays: dict[str, np.ndarray]
    config: dict[str, Any]
    tokenizer: str
    settings: dict[str, Any]
    curve: list[dict[str, Any]]
    device: str = "cpu"

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Return a rating for each of the n movies: float64, shape (n,), from 1 to 10."""
        import numpy as np
        from tokenizers import Tokenizer

        settings = self.settings
        if not len(inputs):
            return np.empty(0)
        tokenizer = Tokenizer.from_str(self.tokenizer)
        tokens = tokenize(tokenizer, documents_of(inputs), prompt=settings["prompt"], lower=settings["lower"])
        with seeded(0, self.device):  # weights are drawn before they are replaced
            network = build_network(self.config)
        network.load_state_dict({name: tensor_of(array, "cpu") for name, array in self.arrays.items()})
        reader = Reader(network.to(self.device).eval(), settings["pooling"], settings["max_length"])
        answers = reader.answers(tokens)
        return on_scale(answers * settings["target_deviation"] + settings["target_mean"])

    def save(self, folder: Path) -> None:
        """Write settings, curve, arrays, tokenizer and the transformer's configuration into ``folder``."""
        write_settings(folder, self.settings, self.curve)
        write_arrays(folder, self.arrays)
        write_json(folder / CONFIG_FILE, self.config)
        (folder / TOKENIZER_FILE).write_text(self.tokenizer, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> DocumentModel:
        """Read what ``save`` wrote, to predict on ``device``. Raises ``PipelineError`` naming a bad file."""
        import torch
        from tokenizers import Tokenizer

        settings, curve = read_settings(folder, NEEDED_SETTINGS)
        config = read_json(folder / CONFIG_FILE, dict)
        read_json(folder / TOKENIZER_FILE, dict)
        tokenizer = (folder / TOKENIZER_FILE).read_text(encoding="utf-8")
        try:
            size = Tokenizer.from_str(tokenizer).get_vocab_size()
        except Exception as error:  # tokenizers raises Exception itself
            raise PipelineError(
                f"{folder / TOKENIZER_FILE}: not a tokenizer ({first_line(error)}); fit the predictor again"
            ) from None
        try:
            with torch.device("meta"):
                expected = build_network(config).state_dict()
            known = int(config["vocab_size"])
        except Exception as error:  # whatever a model of transformers makes of a bad configuration
            raise PipelineError(
                f"{folder / CONFIG_FILE}: no transformer's configuration ({first_line(error)}); fit the predictor again"
            ) from None
        if size > known:
            raise PipelineError(
                f"{folder / TOKENIZER_FILE}: {size} tokens, the network knows {known}; fit the predictor again"
            )
        arrays = read_arrays(folder, {name: tensor.dim() for name, tensor in expected.items()})
        for name, tensor in expected.items():
            if arrays[name].shape != tuple(tensor.shape):
                raise PipelineError(
                    f"{folder / ARRAYS_FILE}: array {name!r} has shape {arrays[name].shape}, not {tuple(tensor.shape)}"
                )
        return cls({name: arrays[name] for name in expected}, config, tokenizer, settings, curve, device)


def documents_of(inputs: Inputs) -> list[str]:
    """Return the documents, or raise ``PipelineError`` where they were not given."""
    if inputs.documents is None or inputs.documents.null_count():
        raise PipelineError("the predictor reads documents, and a movie was given without one; materialise them first")
    return inputs.documents.to_list()


def build_network(
    config: dict[str, Any] | PretrainedConfig, encoder: Any = None, *, dropout: float = 0.0
) -> torch.nn.ModuleDict:
    """Build ``encoder`` and ``head``: of the configuration with random weights, or around an encoder that is there.

    Parameters
    ----------
    dropout
        Of the head; the encoder's own stands in its configuration.
    """
    import torch
    from torch import nn
    from transformers import AutoConfig, AutoModel

    if isinstance(config, dict):
        config = AutoConfig.for_model(**config)
    if encoder is None:
        encoder = AutoModel.from_config(config, dtype=torch.float32)
    width = config.hidden_size
    answer = nn.Linear(width, 1)
    nn.init.zeros_(answer.weight)
    nn.init.zeros_(answer.bias)
    head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width), nn.Dropout(dropout), answer)
    return nn.ModuleDict({"encoder": encoder, "head": head})


class Reader:
    """A network with the way in which it is given documents.

    Parameters
    ----------
    network
        Of ``build_network``, on its device.
    pooling
        ``cls`` or ``mean``.
    max_length
        Tokens of the longest document.
    packed
        Whether documents lie one after the other without padding; None: where a trial shows that it changes nothing.
    """

    def __init__(self, network: torch.nn.ModuleDict, pooling: str, max_length: int, packed: bool | None = None) -> None:
        encoder: Any = network["encoder"]
        if encoder.device.type == "cpu":
            use_for_linear_layers(network, training=True)
        self.network = network
        self.device: str = encoder.device.type
        self._width = int(encoder.config.hidden_size)
        padding = getattr(encoder.config, "pad_token_id", None) or 0
        if packed is None:
            training = network.training
            network.eval()
            self._forward = choose_forward(encoder, pooling=pooling, padding=padding, longest=max_length, trains=True)
            network.train(training)
        else:
            self._forward = Forward(encoder, pooling, padding, packed)

    @property
    def packed(self) -> bool:
        """Whether documents are computed without padding between them."""
        return self._forward.packed

    def numbers(self, tokens: float) -> int:
        """Return how many numbers are the inputs of a layer, for a batch of so many tokens."""
        return int(tokens) * self._width

    def __call__(self, ids: list[np.ndarray]) -> torch.Tensor:
        """Return float32 answers in standard deviations, shape (documents,), with a gradient where one is wanted."""
        import torch

        cuda = self.device == "cuda"
        with torch.autocast("cuda", dtype=torch.bfloat16) if cuda else nullcontext():
            return self.network["head"](self._forward.pooled(ids)).squeeze(1).float()

    def answers(self, tokens: Tokens) -> np.ndarray:
        """Return the answers to all documents, at least one: float64, shape (n,)."""
        import numpy as np
        import torch

        texts, budget = tokens.split(), TOKENS_PER_BATCH[self.device]
        batches = plan_batches(tokens.lengths, budget=budget, packed=self.packed)
        with torch.no_grad(), threads(self.numbers(budget)):
            parts = [self([texts[row] for row in rows]) for rows in batches]
        answers = np.empty(len(texts))
        answers[np.concatenate(batches)] = torch.cat(parts).double().cpu().numpy()
        return answers


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

    def run_epoch(epoch: int) -> float:
        nonlocal parts
        total = torch.zeros((), device=reader.device)
        batches = _deal(tokens.lengths, recipe.batch_documents, alike=not (cuda and reader.packed))
        for step, rows in enumerate(batches):
            factor = rate_factor(((epoch - 1) * steps + step) / (recipe.epochs * steps))
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            loss, parts = _gradient(reader, [texts[row] for row in rows], target[rows], parts)
            torch.nn.utils.clip_grad_norm_(reader.network.parameters(), GRADIENT_NORM)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            total += loss * len(rows)
        return float(total) / len(texts) * deviation**2

    last = recipe.epochs if recipe.last_epoch is None else recipe.last_epoch
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
