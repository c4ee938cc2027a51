"""Attention within sequences that lie one after the other in one row, without padding between them.

``register`` makes it one of transformers' attention functions. On CUDA in half precision it is PyTorch's
variable-length flash attention (``torch.nn.attention.varlen``, PyTorch 2.11 or later); elsewhere sequences of equal
length go through scaled_dot_product_attention together. Both are behind one operator, which torch.compile keeps whole;
where a gradient is wanted they are called as they are, and flash attention is an operator itself.
"""

from __future__ import annotations

from functools import cache
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

NAME = "imdb_pipeline_packed"
_SCHEMA = (
    "(Tensor query, Tensor key, Tensor value, Tensor starts, SymInt longest, SymInt window, float scale) -> Tensor"
)


@cache
def register() -> str:
    """Register the attention function with transformers, and return its name.

    A model that uses it is called with one row of token ids, ``position_ids`` that start anew at each sequence,
    ``cu_seq_lens_q`` (int32, shape (sequences + 1,): where each starts, and the end) and ``max_length_q`` (int: no
    sequence is longer).
    """
    import torch
    from transformers import AttentionInterface

    @torch.library.custom_op("imdb_pipeline::packed_attention", mutates_args=(), schema=_SCHEMA)
    def packed_attention(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        starts: torch.Tensor,
        longest: int,
        window: int,
        scale: float,
    ) -> torch.Tensor:
        return attend(query, key, value, starts, longest, window, scale)

    packed_attention.register_fake(lambda query, *_: query.new_empty(query.shape))

    def attention(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        *,
        cu_seq_lens_q: torch.Tensor,
        max_length_q: int,
        scaling: float | None = None,
        sliding_window: int | None = None,
        **_: Any,
    ) -> tuple[torch.Tensor, None]:
        # transformers: (1, heads, tokens, width); a token sees those nearer than sliding_window
        q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
        window = -1 if sliding_window is None else sliding_window - 1
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        differentiated = torch.is_grad_enabled() and query.requires_grad
        compute = attend if differentiated else torch.ops.imdb_pipeline.packed_attention
        attended = compute(q, k, v, cu_seq_lens_q, max_length_q, window, scale)
        return attended.unsqueeze(0), None

    AttentionInterface.register(NAME, attention)
    return NAME


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    starts: torch.Tensor,
    longest: int,
    window: int,
    scale: float,
) -> torch.Tensor:
    """Attend in the way that device and precision allow: shapes (tokens, heads, width), starts (sequences + 1,)."""
    import torch

    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16):
        return by_flash_attention(query, key, value, starts, longest, window, scale)
    return by_equal_lengths(query, key, value, starts.tolist(), window, scale)


def by_flash_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    starts: torch.Tensor,
    longest: int,
    window: int,
    scale: float,
) -> torch.Tensor:
    """Attend in half precision on CUDA: shapes (tokens, heads, width), starts (sequences + 1,)."""
    from torch.nn.attention.varlen import varlen_attn

    attended: Any = varlen_attn(
        query, key, value, starts, starts, longest, longest, scale=scale, window_size=(window, window)
    )
    return attended.contiguous()


def by_equal_lengths(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, starts: list[int], window: int, scale: float
) -> torch.Tensor:
    """Attend with neighbouring sequences of equal length in one call: shapes (tokens, heads, width)."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    attended = []
    lengths = [end - start for start, end in pairwise(starts)]
    start = 0
    for length, group in groupby(lengths):
        end = start + length * len(list(group))
        if end == start:
            continue
        batch = [part[start:end].unflatten(0, (-1, length)).transpose(1, 2) for part in (query, key, value)]
        mask = None
        if 0 <= window < length - 1:
            place = torch.arange(length, device=query.device)
            mask = (place[:, None] - place).abs() <= window
        result = scaled_dot_product_attention(*batch, attn_mask=mask, scale=scale)
        attended.append(result.transpose(1, 2).flatten(0, 1))
        start = end
    return torch.cat(attended)
