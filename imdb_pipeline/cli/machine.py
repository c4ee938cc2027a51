"""The command that looks at the machine and the home: doctor."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from imdb_pipeline.cli.app import HomeOption, JsonOption, app
from imdb_pipeline.cli.show import print_json
from imdb_pipeline.results.plain_text import visible
from imdb_pipeline.settings import home_path

if TYPE_CHECKING:
    from imdb_pipeline.doctor import Finding

_WIDTH = 16


@app.command()
def doctor(
    home: HomeOption = None,
    encoder: Annotated[
        bool, typer.Option("--encoder", help="Also embed three films of the home and compare with the study's cosines")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Find what is wrong with this machine or the home, say what to do, and how long a run would take.

    Looks at Python, packages, memory, GPU, disk, the source, what is published, Dagster's database and the encoder.
    Exits 1 where a run would not succeed.

    Examples: imdb-pipeline doctor; imdb-pipeline doctor --home imdb-home --encoder
    """
    from imdb_pipeline.doctor import examine

    findings = []
    for finding in examine(home_path(home), encoder=encoder):
        findings.append(finding)
        if not as_json:
            print(_line(finding), flush=True)
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    failed = sum(finding.status == "fail" for finding in findings)
    if failed:
        if not as_json:
            print(f"{failed} of {len(findings)} would keep a run from succeeding")
        sys.exit(1)


def _line(finding: Finding) -> str:
    line = f"{finding.status:<5} {finding.check:<{_WIDTH}} {visible(finding.found)}"
    return f"{line}\n{' ' * (_WIDTH + 7)}-> {visible(finding.advice)}" if finding.advice else line
