"""The encoder: texts in, unit vectors out, with the pooling and the maximum length that the model's own files name.

Which encoder is meant belongs to ``model_files``, how batches are made up to ``packing``, caching to ``cache``.
"""

from __future__ import annotations

import logging
import time
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

from imdb_pipeline.embeddings.model_files import (
    EncoderChoice,
    first_line,
    identify,
    local_folder,
    read_text_form,
)
from imdb_pipeline.embeddings.packing import Forward, Tokens, choose_forward, encode
from imdb_pipeline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    import torch

log = logging.getLogger(__name__)

TOKENS_PER_BATCH = {"cpu": 2_048, "cuda": 65_536}
"""On a CPU what its caches hold; on a GPU enough to keep it busy. Halved where memory is short."""
_TEXTS_AT_ONCE = 8_192
"""What the tokenizer says of a text takes a hundred times the memory of its ids."""


class Encoder:
    """A transformers model for texts. What it is is known at once; the weights are loaded when they are needed.

    Parameters
    ----------
    device
        ``cpu`` or ``cuda``.
    dtype
        ``float32`` or ``bfloat16``: what the model computes in; vectors are float32 all the same.

    Attributes
    ----------
    identity
        What it is: all that decides a vector besides the text.
    device
        What it computes on.

    Raises
    ------
    InputError
        The files are missing, damaged or ask for what is not supported; on first use: the weights cannot be loaded.
    """

    def __init__(self, choice: EncoderChoice, *, device: str, dtype: str) -> None:
        self.identity = identify(choice, dtype=dtype)
        self.device = device
        self._folder = local_folder(choice)
        self._budget = TOKENS_PER_BATCH[device]

    @cached_property
    def weights(self) -> int:
        """The number of weights that every token meets: all but those of the embedding tables."""
        from torch import nn

        tables = {id(module.weight) for module in self._model.modules() if isinstance(module, nn.Embedding)}
        return sum(weight.numel() for weight in self._model.parameters() if id(weight) not in tables)

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Return the tokens of texts, cut at the maximum length; on all cores."""
        prompt, lower = self._text_form
        return tokenize(self._tokenizer, texts, prompt=prompt, lower=lower)

    def encode(
        self, tokens: Tokens, *, done: Callable[[int, int, int], object] = lambda documents, tokens, slots: None
    ) -> Callable[[], np.ndarray]:
        """Compute the unit vectors of texts; on a GPU the work goes on after the return.

        Parameters
        ----------
        done
            Told after each batch: documents, tokens, and tokens with padding.

        Returns
        -------
        callable
            Waits for the vectors and returns them: float32, shape (number of texts, dimension), in the order given.

        Raises
        ------
        PipelineError
            Memory is too short for a single text.
        """
        import numpy as np

        if not len(tokens.lengths):
            return lambda: np.empty((0, self.identity.dimension), dtype=np.float32)
        collect, self._budget = encode(tokens, self._forward, budget=self._budget, done=done)
        return collect

    def tokens_per_second(self, tokens: Tokens) -> float:
        """Return what the device does with texts like these: a batch of those of middling length, done twice."""
        import numpy as np

        middle = np.argsort(tokens.lengths, kind="stable")[len(tokens.lengths) // 2 :]
        count = max(1, int(np.searchsorted(tokens.lengths[middle].cumsum(), self._budget, side="right")))
        batch = tokens.take(middle[:count])
        for _ in range(2):  # the first time something is set up
            started = time.monotonic()
            self.encode(batch)()
        return float(batch.lengths.sum()) / (time.monotonic() - started)

    def compile(self, tokens: Tokens, backend: Any = "inductor") -> bool:
        """Let torch.compile fuse each layer: some ten seconds, worth it for long work on a GPU.

        Parameters
        ----------
        tokens
            A few texts to try it on; where it fails, without a compiler for one, the layers stay as they were.

        Returns
        -------
        bool
            Whether they are compiled.
        """
        from torch._dynamo.exc import TorchDynamoException

        _ = self._forward  # its trial is not to be compiled
        layers = layers_of(self._model)
        for layer in layers:
            layer.compile(dynamic=True, backend=backend)
        try:
            self.encode(tokens)()
        except TorchDynamoException as error:
            for layer in layers:
                layer._compiled_call_impl = None
            log.warning("going on without torch.compile: %s", first_line(error))
            return False
        return True

    @property
    def packed(self) -> bool:
        """Whether texts are computed without padding between them."""
        return self._forward.packed

    @cached_property
    def _forward(self) -> Forward:
        return choose_forward(
            self._model,
            pooling=self.identity.pooling,
            padding=getattr(self._model.config, "pad_token_id", None) or 0,
            longest=self.identity.max_length,
        )

    @cached_property
    def _text_form(self) -> tuple[str, bool]:
        return read_text_form(self._folder)

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self._folder, self.identity.max_length)

    @cached_property
    def _model(self) -> Any:
        from imdb_pipeline.onednn import use_for_linear_layers

        model = load_model(self._folder, dtype=self.identity.dtype)
        if self.device == "cpu" and self.identity.dtype == "float32":
            use_for_linear_layers(model)
        return model.to(self.device).eval()


def load_tokenizer(folder: Path, max_length: int) -> Any:
    """Return the tokenizer (of the library tokenizers) in a folder, which cuts texts at ``max_length`` tokens."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.enable_truncation(max_length)
    return backend


def load_model(folder: Path, *, dtype: str) -> Any:
    """Return the model of transformers in a folder, on the CPU.

    Raises
    ------
    InputError
        Its weights cannot be loaded, or some are missing: those would be drawn at random.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModel
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # what is missing is told below
    try:
        model, loading = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=getattr(torch, dtype),
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(f"encoder {folder}: the model cannot be loaded ({first_line(error)}); give another") from None
    finally:
        transformers_logging.set_verbosity(verbosity)
    # A pooler stands behind the last hidden state, which is all that is read.
    missing = sorted(name for name in loading["missing_keys"] if not name.startswith("pooler."))
    if missing:
        some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise InputError(
            f"encoder {folder}: {len(missing)} of the model's weights are not in its files ({some}); get it anew"
        )
    return model


def tokenize(tokenizer: Any, texts: Sequence[str], *, prompt: str = "", lower: bool = False) -> Tokens:
    """Return the tokens of texts, cut where the tokenizer (of the library tokenizers) is told to; on all cores.

    Parameters
    ----------
    prompt, lower
        As from ``read_text_form``.
    """
    import numpy as np

    ids, lengths, truncated = [np.empty(0, np.int32)], [np.empty(0, np.int64)], 0
    for first in range(0, len(texts), _TEXTS_AT_ONCE):
        some = texts[first : first + _TEXTS_AT_ONCE]
        encodings = tokenizer.encode_batch_fast([prompt + (text.lower() if lower else text) for text in some])
        lengths.append(np.fromiter((len(encoding) for encoding in encodings), np.int64, len(encodings)))
        flat = chain.from_iterable(encoding.ids for encoding in encodings)
        ids.append(np.fromiter(flat, np.int32, int(lengths[-1].sum())))
        truncated += sum(bool(encoding.overflowing) for encoding in encodings)
    return Tokens(np.concatenate(ids), np.concatenate(lengths), truncated)


def layers_of(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Return the model's longest list of layers."""
    from torch import nn

    lists = [list(module) for module in model.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len, default=[])
