"""NumPy arrays as torch tensors, without a copy where there can be none."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


def tensor_of(array: np.ndarray, device: str) -> torch.Tensor:
    """Return ``array`` as a tensor on ``device``; an array that cannot be written, as Parquet gives them, is copied."""
    import numpy as np
    import torch

    return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(device)
