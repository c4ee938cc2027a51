"""What a run computes on, where a GPU is there; PyTorch's answers about it stand in for one."""

import pytest
import torch

from imdb_pipeline.compute import Compute, choose_compute


@pytest.mark.parametrize(
    ("device", "dtype", "ampere", "chosen"),
    [
        ("auto", "auto", True, Compute("cuda", "NVIDIA H200", "bfloat16", 0)),
        ("cuda", "auto", False, Compute("cuda", "NVIDIA H200", "float32", 0)),
        ("cuda", "bfloat16", False, Compute("cuda", "NVIDIA H200", "bfloat16", 0)),
    ],
)
def test_half_precision_is_taken_where_the_gpu_computes_in_it(device, dtype, ampere, chosen, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: ampere or including_emulation)
    assert choose_compute(device=device, dtype=dtype) == chosen
