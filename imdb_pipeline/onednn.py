"""Matrix products by oneDNN on x86 CPUs.

PyTorch's own float32 products are MKL's: on an AMD CPU with AVX-512 oneDNN is twice as fast (benchmarks/RESULTS.md).
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

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


def use_for_linear_layers(model: torch.nn.Module) -> None:
    """Let the linear layers of a float32 model on the CPU compute so, where it is available: for inference alone."""
    from torch import nn

    if not available():
        return

    class OneDnnLinear(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return linear(input, self.weight, self.bias)

    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = OneDnnLinear
