"""Matrix products by oneDNN on x86 CPUs.

PyTorch's own float32 products are MKL's: on an AMD CPU with AVX-512 oneDNN is twice as fast (benchmarks/RESULTS.md).
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def available() -> bool:
    """Return whether this machine and this build of PyTorch have it."""
    import torch

    return (
        platform.machine().lower() in ("x86_64", "amd64")
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def linear(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return ``rows @ weight.T + bias``: float32 of shapes (..., k), (n, k), (n,) to (..., n); no gradient."""
    import torch

    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")


def use_for_linear_layers(model: torch.nn.Module, *, training: bool = False) -> None:
    """Let the linear layers of a float32 model on the CPU compute so, where it is available.

    Parameters
    ----------
    training
        With a gradient; else for inference alone.
    """
    import torch
    from torch import nn

    if not available():
        return

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
            ctx.save_for_backward(rows, weight)
            return linear(rows, weight, bias)

        @staticmethod
        def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
            rows, weight = ctx.saved_tensors
            flat = gradients[0].flatten(0, -2)
            to_rows = linear(gradients[0].contiguous(), weight.t().contiguous())
            to_weight = linear(flat.t().contiguous(), rows.flatten(0, -2).t().contiguous())
            return to_rows, to_weight, flat.sum(0) if ctx.needs_input_grad[2] else None

    class OneDnnLinear(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            if training and torch.is_grad_enabled():
                return Product.apply(input, self.weight, self.bias)  # pyright: ignore[reportReturnType]
            return linear(input, self.weight, self.bias)

    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = OneDnnLinear
