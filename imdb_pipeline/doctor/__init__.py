"""``imdb-pipeline doctor``: what is wrong with a machine or a home, what to do about it, how long a run would take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imdb_pipeline.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Finding", "examine"]


def examine(home: Path, *, encoder: bool = False) -> Iterator[Finding]:
    """Look at the machine, then at the home, then at the encoder; nothing but a probe file is written, and deleted.

    Parameters
    ----------
    encoder
        Compare the home's encoder with the study's cosines too.
    """
    from imdb_pipeline.doctor import duration, encoder_probe, home_checks, machine

    findings = machine.examine()
    yield from findings
    if any(finding.status == "fail" for finding in findings):
        return
    settings, findings = home_checks.examine(home)
    yield from findings
    if settings is None:
        return
    speed, findings = encoder_probe.examine(home, settings)
    yield from findings
    if speed is not None:
        yield duration.estimate(home, settings, speed)
        if encoder:
            yield encoder_probe.compare_with_study(home, speed.encoder)
