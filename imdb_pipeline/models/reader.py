"""A network that reads documents and answers a rating: a transformer, pooled, and a head; and its files.

How it is trained belongs to ``reader_training``; what the transformer is, and its weights at the start, to
``transformer`` (from scratch) and ``finetuned`` (a pretrained encoder). On CUDA it computes in bfloat16 by autocast.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.embeddings.encoder import TOKENS_PER_BATCH, tokenize
from imdb_pipeline.embeddings.model_files import first_line
from imdb_pipeline.embeddings.packing import Forward, choose_forward, plan_batches
from imdb_pipeline.errors import PipelineError
from imdb_pipeline.models.saved import (
    ARRAYS_FILE,
    FIT_AGAIN,
    read_arrays,
    read_json,
    read_settings,
    write_arrays,
    write_json,
    write_settings,
)
from imdb_pipeline.models.scale import on_scale
from imdb_pipeline.models.tensors import tensor_of
from imdb_pipeline.models.training import seeded, threads
from imdb_pipeline.onednn import use_for_linear_layers

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import torch
    from transformers import PretrainedConfig

    from imdb_pipeline.embeddings.packing import Tokens
    from imdb_pipeline.models.examples import Inputs

CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"
NEEDED_SETTINGS = {
    "pooling": str,
    "max_length": int,
    "prompt": str,
    "lower": bool,
    "target_mean": float,
    "target_deviation": float,
}


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
                f"{folder / TOKENIZER_FILE}: not a tokenizer ({first_line(error)}); {FIT_AGAIN}"
            ) from None
        try:
            with torch.device("meta"):
                expected = build_network(config).state_dict()
            known = int(config["vocab_size"])
        except Exception as error:  # whatever a model of transformers makes of a bad configuration
            raise PipelineError(
                f"{folder / CONFIG_FILE}: no transformer's configuration ({first_line(error)}); {FIT_AGAIN}"
            ) from None
        if size > known:
            raise PipelineError(f"{folder / TOKENIZER_FILE}: {size} tokens, the network knows {known}; {FIT_AGAIN}")
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
