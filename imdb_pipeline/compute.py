"""What a run computes on: device, precision, seed."""

from __future__ import annotations

from dataclasses import dataclass

from imdb_pipeline.errors import InputError


@dataclass(frozen=True)
class Compute:
    """The device (``cpu`` or ``cuda``), its name, the encoder's dtype (``float32`` or ``bfloat16``), and the seed."""

    device: str
    device_name: str
    dtype: str
    seed: int


def choose_compute(*, device: str = "auto", dtype: str = "auto", seed: int = 0) -> Compute:
    """Settle device and precision for this machine.

    Parameters
    ----------
    device
        ``auto`` takes CUDA where torch can use it.
    dtype
        ``auto`` is bfloat16 on CUDA and float32 on a CPU, where bfloat16 is slower.

    Raises
    ------
    InputError
        An unknown name, or CUDA where there is none.
    """
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device {device}: unknown; give auto, cpu or cuda")
    if dtype not in ("auto", "float32", "bfloat16"):
        raise InputError(f"dtype {dtype}: unknown; give auto, float32 or bfloat16")
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise InputError("device cuda: torch finds no CUDA device on this machine; give --device cpu or auto")
    chosen = "cuda" if available and device != "cpu" else "cpu"
    if dtype == "auto":
        dtype = "bfloat16" if chosen == "cuda" else "float32"
    name = torch.cuda.get_device_name() if chosen == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return Compute(chosen, name, dtype, seed)
