"""Batches of texts without waste: sorted by length, a budget of tokens each, no padding where the model allows it.

The same code on a CPU and on a GPU. Reading texts, and where vectors go, belongs elsewhere.
"""

from __future__ import annotations

import logging
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import torch

log = logging.getLogger(__name__)

_TRIAL_LENGTHS = 150, 5, 80, 5
"""Texts for a trial: longer than a local window, shorter, and two of equal length."""
_TRIAL_TOLERANCE = 1e-4
"""Distance in float32 of the unit vectors of a text packed and alone: rounding gives 1e-6, a window left out 3e-3."""
_SHORT_OF_MEMORY = (
    "out of memory",
    "alloc_failed",
    "can't allocate memory",
    "not enough memory",
    "could not create a memory object",
)
"""What CUDA, cuBLAS and cuDNN, PyTorch on a CPU, and oneDNN say; PyTorch has a class of its own for the first alone."""
_KERNEL_TOLERANCE = 2e-2
"""Relative error of attention in half precision against float32."""


@dataclass(frozen=True)
class Tokens:
    """Texts as token ids: ``ids`` int32, one text after the other; ``lengths`` int64; how many texts were cut."""

    ids: np.ndarray
    lengths: np.ndarray
    truncated: int

    def split(self) -> list[np.ndarray]:
        """Return the ids of each text."""
        import numpy as np

        return np.split(self.ids, self.lengths.cumsum()[:-1])

    def take(self, rows: np.ndarray) -> Tokens:
        """Return some of the texts, at least one; which of them were cut is not known."""
        import numpy as np

        texts = self.split()
        return Tokens(np.concatenate([texts[row] for row in rows]), self.lengths[rows], 0)


def plan_batches(lengths: np.ndarray, *, budget: int, packed: bool) -> list[np.ndarray]:
    """Return the rows of each batch, the longest first.

    Parameters
    ----------
    budget
        Tokens a batch; a longer text makes a batch of its own.
    packed
        Whether padding does not count: without it a batch costs its longest text for each of its texts.
    """
    import numpy as np

    order = np.argsort(-lengths, kind="stable")
    batches: list[np.ndarray] = []
    first = 0
    while first < len(order):
        cost = (
            lengths[order[first:]].cumsum() if packed else np.arange(1, len(order) - first + 1) * lengths[order[first]]
        )
        count = max(1, int(np.searchsorted(cost, budget, side="right")))
        batches.append(order[first : first + count])
        first += count
    return batches


@dataclass(frozen=True)
class Forward:
    """A batch of token ids to unit vectors.

    Attributes
    ----------
    model
        Of transformers, on its device.
    pooling
        ``cls`` or ``mean``.
    padding
        The id of the padding token.
    packed
        Whether texts lie one after the other in one row, or in rows filled up to the longest.
    """

    model: Any
    pooling: str
    padding: int
    packed: bool

    def __call__(self, ids: list[np.ndarray]) -> torch.Tensor:
        """Return float32 unit vectors, shape (texts, dimension), on the model's device."""
        import torch
        from torch.nn.functional import normalize

        with torch.inference_mode():
            return normalize(self.pooled(ids), dim=-1)

    def pooled(self, ids: list[np.ndarray]) -> torch.Tensor:
        """Return the pooled vectors as they are, float32 of the same shape; with a gradient, where one is wanted."""
        import torch

        lengths = torch.tensor([len(text) for text in ids])
        return self._packed(ids, lengths) if self.packed else self._padded(ids, lengths)

    def slots(self, lengths: np.ndarray) -> int:
        """Return how many tokens a batch computes, padding included."""
        return int(lengths.sum() if self.packed else lengths.max() * len(lengths))

    def _packed(self, ids: list[np.ndarray], lengths: torch.Tensor) -> torch.Tensor:
        import numpy as np
        import torch

        from imdb_pipeline.embeddings.attention import register
        from imdb_pipeline.embeddings.model_files import first_position

        self._attend_with(register())
        starts = torch.zeros(len(ids) + 1, dtype=torch.int32)
        torch.cumsum(lengths, 0, out=starts[1:])
        flat = torch.from_numpy(np.concatenate(ids).astype(np.int64))
        positions = torch.arange(len(flat)) - torch.repeat_interleave(starts[:-1], lengths)
        hidden = self.model(
            input_ids=self._moved(flat[None]),
            position_ids=self._moved((positions + first_position(self.model.config))[None]),
            cu_seq_lens_q=self._moved(starts),
            max_length_q=int(lengths.max()),
        ).last_hidden_state[0]
        if self.pooling == "cls":
            return hidden.index_select(0, self._moved(starts[:-1].long())).float()
        # unsafe: without looking at the lengths, for which the GPU would have to be waited for
        return torch.segment_reduce(hidden.float(), "mean", lengths=self._moved(lengths), unsafe=True)

    def _padded(self, ids: list[np.ndarray], lengths: torch.Tensor) -> torch.Tensor:
        import torch

        self._attend_with("sdpa")
        rows = torch.full((len(ids), int(lengths.max())), self.padding, dtype=torch.long)
        for row, text in zip(rows, ids, strict=True):
            row[: len(text)] = torch.from_numpy(text)
        mask = self._moved((torch.arange(rows.shape[1]) < lengths[:, None]).long())
        hidden = self.model(input_ids=self._moved(rows), attention_mask=mask).last_hidden_state.float()
        if self.pooling == "cls":
            return hidden[:, 0]
        return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

    def _attend_with(self, name: str) -> None:
        if self.model.config._attn_implementation != name and self.model._supports_attention_backend:
            self.model.set_attn_implementation(name)

    def _moved(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the tensor on the model's device; the copy to a GPU goes on beside the computation."""
        if self.model.device.type != "cuda":
            return tensor
        return tensor.pin_memory().to(self.model.device, non_blocking=True)


def choose_forward(model: Any, *, pooling: str, padding: int, longest: int, trains: bool = False) -> Forward:
    """Return how a model is given batches: packed where a trial shows that a text has the same vector as alone.

    The trial is in float32, where nothing but rounding may differ; in half precision on CUDA the attention kernel is
    tried beside it. In float32 CUDA has no such kernel.

    Parameters
    ----------
    longest
        Tokens that the model takes.
    trains
        The model, with weights in float32, is to be trained: on CUDA in half precision by autocast, and the gradient
        of the attention kernel is tried as well.

    Raises
    ------
    PipelineError
        Memory is too short even for that.
    """
    packed, padded = (Forward(model, pooling, padding, packed=packed) for packed in (True, False))
    half = trains or str(model.dtype) in ("torch.bfloat16", "torch.float16")
    if model.device.type == "cuda" and not half:
        return padded
    tell = log.warning if model.device.type == "cuda" else log.info  # a GPU is there for its speed
    if not getattr(model, "_supports_attention_backend", False):
        tell("texts are padded: the model's attention is not exchangeable")
        return padded
    window = getattr(model.config, "sliding_window", None)
    try:
        if half and model.device.type == "cuda":
            config = model.config
            width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
            _try_kernel(model.device, -1 if window is None else window, width, gradient=trains)
        _try_model(
            packed if not half or trains else replace(packed, model=deepcopy(model).float()), window or 0, longest
        )
    except (AttributeError, TypeError, ValueError, IndexError, RuntimeError) as error:  # of models not built for it
        if out_of_memory(error):
            raise PipelineError(
                f"out of memory on a few texts to try the encoder with; {_ways(model.device.type)}"
            ) from error
        tell("texts are padded: the model takes none that are packed (%s)", str(error).strip().split("\n")[0])
        return padded
    return packed


def _try_model(forward: Forward, window: int, longest: int) -> None:
    """Raise ValueError where a text has another vector packed with others than alone."""
    import torch

    size = int(forward.model.config.vocab_size)
    draw = torch.Generator().manual_seed(0)
    lengths = [
        min(longest, max(length, 2 * window + 2)) if number == 0 else min(longest, length)
        for number, length in enumerate(_TRIAL_LENGTHS)
    ]
    texts = [torch.randint(size, (length,), generator=draw).int().numpy() for length in lengths]
    alone = replace(forward, packed=False)
    expected = torch.cat([alone([text]) for text in texts]).double()
    distance = float((forward(texts).double() - expected).norm(dim=1).max())
    if not distance < _TRIAL_TOLERANCE:
        raise ValueError(f"packed, a vector is off by {distance:.1e}")


def _try_kernel(device: torch.device, window: int, size: int, *, gradient: bool) -> None:
    """Raise ValueError where attention in half precision is not what it is in float32, within sequences and windows.

    Parameters
    ----------
    size
        Width of a head.
    gradient
        Whether the gradient, by query, key and value, is tried as well.
    """
    import torch

    from imdb_pipeline.embeddings.attention import by_equal_lengths, by_flash_attention

    draw = torch.Generator().manual_seed(0)
    longest = max(_TRIAL_LENGTHS[0], 2 * window + 2)
    starts = [0, longest, longest + 5, longest + 85]
    drawn = torch.randn(4, starts[-1], 2, size, generator=draw).bfloat16().to(device)
    query, key, value, weights = drawn
    ends = torch.tensor(starts, dtype=torch.int32, device=device)
    scale = size**-0.5
    for width in {-1, window}:
        results = []
        for dtype in (torch.float32, torch.bfloat16):
            # copies: what was drawn shall know no gradient when the next width is tried
            parts = [part.to(dtype, copy=True).requires_grad_(gradient) for part in (query, key, value)]
            if dtype is torch.float32:
                attended = by_equal_lengths(*parts, starts, width, scale)
            else:
                attended = by_flash_attention(*parts, ends, longest, width, scale)
            if gradient:
                (attended.float() * weights).sum().backward()
            results.append([attended.detach().float(), *(part.grad.float() for part in parts if part.grad is not None)])
        for exact, rounded in zip(*results, strict=True):
            error = float((rounded - exact).norm() / exact.norm())
            if not error < _KERNEL_TOLERANCE:
                raise ValueError(f"flash attention is off by {error:.1e}")


def encode(
    tokens: Tokens, forward: Forward, *, budget: int, done: Callable[[int, int, int], object]
) -> tuple[Callable[[], np.ndarray], int]:
    """Compute the vectors of texts, at least one, in batches of at most ``budget`` tokens; see ``Encoder.encode``.

    Where memory is short the budget is halved, down to the longest text, and the same texts are tried again.

    Returns
    -------
    callable, int
        Waits for the vectors and returns them; the budget that sufficed.
    """
    import numpy as np

    texts = tokens.split()
    order: list[np.ndarray] = []
    vectors: list[torch.Tensor] = []
    waiting = plan_batches(tokens.lengths, budget=budget, packed=forward.packed)[::-1]
    while waiting:
        rows = waiting.pop()
        lengths = tokens.lengths[rows]
        enough = False
        try:
            vectors.append(forward([texts[row] for row in rows]))
            enough = True
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        if not enough:  # only now are the failed batch's tensors free, which the error held
            budget = _halved(min(budget, forward.slots(lengths)), int(lengths.max()), forward.model.device.type)
            left = np.concatenate([rows, *waiting[::-1]])
            again = plan_batches(tokens.lengths[left], budget=budget, packed=forward.packed)
            waiting = [left[batch] for batch in reversed(again)]
            continue
        order.append(rows)
        done(len(rows), int(lengths.sum()), forward.slots(lengths))
    return _collected(order, vectors), budget


def out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory, the computer's or the GPU's, was too short."""
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _SHORT_OF_MEMORY)


def _ways(device: str) -> str:
    ways = "free memory" if device == "cpu" else "free memory on the GPU, give --device cpu"
    return f"{ways}, or a smaller encoder in a home of its own"


def _halved(budget: int, longest: int, device: str) -> int:
    """Return half the budget of a batch that memory was too short for, but no less than its longest text."""
    import torch

    if budget <= longest:
        raise PipelineError(f"out of memory on a single document of {longest:,} tokens; {_ways(device)}")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    smaller = max(budget // 2, longest)
    log.warning("out of memory with %d tokens a batch: going on with %d, the same documents again", budget, smaller)
    return smaller


def _collected(order: list[np.ndarray], vectors: list[torch.Tensor]) -> Callable[[], np.ndarray]:
    """Start to copy the vectors to host memory, and return what waits for them and brings them into their order."""
    import numpy as np
    import torch

    rows = torch.from_numpy(np.concatenate(order))
    joined = torch.cat(vectors)
    if joined.is_cuda:
        host = torch.empty(joined.shape, dtype=joined.dtype, pin_memory=True)
        host.copy_(joined, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()
    else:
        host, copied = joined, None

    def collect() -> np.ndarray:
        if copied is not None:
            copied.synchronize()
        placed = torch.empty_like(host)
        placed[rows] = host
        return placed.numpy()

    return collect
