"""What a run computes on: device, precision, seed; and which of several GPUs."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from imdb_pipeline.errors import InputError
from imdb_pipeline.locks import hold

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

_AGAIN_SECONDS = 1.0


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
        ``auto`` is bfloat16 on CUDA, and float32 where that is faster: on a CPU and on GPUs older than Ampere.

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
        dtype = (
            "bfloat16" if chosen == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
        )
    name = torch.cuda.get_device_name() if chosen == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return Compute(chosen, name, dtype, seed)


@contextmanager
def on_free_gpu(compute: Compute, locks: Path) -> Iterator[Compute]:
    """Have ``cuda`` mean a GPU that no other process with the same ``locks`` uses; wait until one is free.

    Nothing is done on a CPU. Only the calling thread is told: another one starts on the first GPU.

    Parameters
    ----------
    locks
        A folder with a file a GPU; it may be on a file system that several machines share.
    """
    if compute.device != "cuda":
        yield compute
        return
    import torch

    names = [str(torch.cuda.get_device_properties(index).uuid) for index in range(torch.cuda.device_count())]
    with take_free(names, locks) as index, torch.cuda.device(index):
        yield replace(compute, device_name=torch.cuda.get_device_name(index))
        torch.cuda.empty_cache()  # for other processes, and for cuML in this one: what torch keeps is for torch alone


@contextmanager
def take_free(names: Sequence[str], locks: Path) -> Iterator[int]:
    """Hold the lock of one of several devices and give its number; wait while other processes hold them all.

    The system frees it when the process ends, however it ends.
    """
    locks.mkdir(parents=True, exist_ok=True)
    told = False
    while True:
        for index, name in enumerate(names):
            path = locks / name
            path.touch()
            with hold(path, wait=False) as held:
                if held:
                    yield index
                    return
        if not told:
            log.info("waiting for one of %d GPUs, all in use", len(names))
            told = True
        time.sleep(_AGAIN_SECONDS)
