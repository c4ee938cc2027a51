"""The machine: Python, installed packages, cores, memory, GPU."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from imdb_pipeline import __version__
from imdb_pipeline.doctor.finding import Finding, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

LITTLE_MEMORY = 4e9
"""Bytes: a run on 28,785 movies peaked at 1.9 GB (benchmarks/RESULTS.md)."""
_OLDEST = (3, 11)


def examine() -> list[Finding]:
    """Look at what every home needs; where packages are missing, at nothing that they are needed for."""
    packages = _packages()
    findings = [_python(), packages, _cores(), _memory()]
    return findings if packages.status == "fail" else [*findings, *_gpu()]


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < _OLDEST:
        return fail("python", found, "install Python 3.11 or later")
    return ok("python", found)


def _packages() -> Finding:
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement

    wrong = []
    try:
        needed = [Requirement(line) for line in requires("imdb-pipeline") or []]
    except PackageNotFoundError:
        return warn("packages", "imdb-pipeline is not installed, it runs from a folder", "pip install -e .")
    for each in needed:
        if each.marker is not None and not each.marker.evaluate({"extra": ""}):
            continue
        try:
            held = version(each.name)
        except PackageNotFoundError:
            wrong.append(f"{each.name} is missing")
            continue
        if not each.specifier.contains(held, prereleases=True):
            wrong.append(f"{each.name} {held} is not {each.specifier}")
    if wrong:
        return fail("packages", "; ".join(wrong), "pip install imdb-pipeline with the versions of constraints.txt")
    named = ", ".join(f"{name} {version(name)}" for name in ("dagster", "polars", "torch", "transformers"))
    return ok("packages", f"imdb-pipeline {__version__}, {named}")


def _cores() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    busy = os.getloadavg()[0]
    found = f"{cores} cores, load {busy:.1f}"
    if busy > 1.5 * cores:
        return warn("cpu", found, "other programs use the cores: runs take that much longer")
    return ok("cpu", found)


def _memory() -> Finding:
    total, available = _memory_bytes()
    if total is None or available is None:
        return ok("memory", "not known on this system")
    found = f"{available / 1e9:.1f} of {total / 1e9:.1f} GB free"
    if available < LITTLE_MEMORY:
        return warn("memory", found, f"close other programs: a catalogue of decades wants {LITTLE_MEMORY / 1e9:.0f} GB")
    return ok("memory", found)


def _memory_bytes() -> tuple[float | None, float | None]:
    """Return how much memory there is and how much is free, a container's limit counted."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        total, available = (float(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        return None, None
    try:
        limit = float(Path("/sys/fs/cgroup/memory.max").read_text())
        used = float(Path("/sys/fs/cgroup/memory.current").read_text())
        stat = dict(line.split() for line in Path("/sys/fs/cgroup/memory.stat").read_text().splitlines())
        used -= float(stat["inactive_file"])  # files that were read: given back when memory is short
    except (OSError, KeyError, ValueError):  # no container, or one without a limit: "max"
        return total, available
    return min(total, limit), min(available, limit - used)


def _gpu() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield fail("gpu", f"torch cannot be loaded: {error}", "install it again")
        return
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            name = torch.cuda.get_device_name(index)
            try:
                free, total = torch.cuda.mem_get_info(index)
                torch.ones(1, device=f"cuda:{index}").sum().item()  # this torch may hold no code for an old GPU
            except RuntimeError as error:
                found = f"{name}: torch cannot compute on it ({str(error).strip().splitlines()[0]})"
                yield warn("gpu", found, "free its memory, or install a torch for it; --device cpu does without")
                continue
            yield ok("gpu", f"{name}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free, CUDA {torch.version.cuda}")
        yield _cuml()
        return
    driver = shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia/version").exists()
    if not driver:
        yield ok("gpu", "none: everything runs on the CPU, with smaller neural predictors, named so")
    elif torch.version.cuda is None:
        yield warn("gpu", "an NVIDIA driver, but torch is a CPU build", "install torch with CUDA for this driver")
    else:
        advice = "see whether `nvidia-smi` lists the GPU, and whether the driver is new enough for this torch"
        yield warn("gpu", f"an NVIDIA driver, but torch (CUDA {torch.version.cuda}) finds no GPU", advice)


def _cuml() -> Finding:
    if importlib.util.find_spec("cuml") is None:
        advice = "pip install 'imdb-pipeline[gpu]': UMAP and SVR then run on the GPU too"
        return warn("cuml", "not installed: UMAP and SVR run on the CPU", advice)
    from importlib.metadata import PackageNotFoundError, version

    for name in ("cuml-cu13", "cuml-cu12", "cuml"):
        try:
            return ok("cuml", f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ok("cuml", "installed")
