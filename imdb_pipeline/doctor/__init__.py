"""``imdb-pipeline doctor``: what is wrong with a machine or a home, what to do about it, how long a run would take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imdb_pipeline.doctor.finding import Finding, fail
from imdb_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Finding", "examine"]


def examine(home: Path, *, encoder: bool = False) -> Iterator[Finding]:
    """Look at the machine, then at the home, then at the encoder; nothing but a probe file is written, and deleted.

    What depends on something that failed is not looked at.

    Parameters
    ----------
    encoder
        Compare the home's encoder with the study's cosines too.
    """
    from imdb_pipeline.doctor import duration, encoder_probe, home_checks, machine
    from imdb_pipeline.settings import load_settings

    findings = machine.examine()
    yield from findings
    if any(finding.status == "fail" for finding in findings):
        return
    broken = False
    for finding in home_checks.examine(home):
        broken |= finding.status == "fail" and finding.check in home_checks.NEEDED
        yield finding
    if broken:
        return
    try:
        speed, findings = encoder_probe.examine(home, load_settings(home))
        yield from findings
        if speed is not None:
            yield duration.estimate(home, load_settings(home), speed)
            if encoder:
                yield encoder_probe.compare_with_study(home, speed.encoder)
    except (PipelineError, OSError) as error:
        yield fail("encoder", str(error), "mend what the lines above name first")
