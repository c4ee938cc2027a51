"""The gates of a snapshot's files: each whole, each as long as the last good day lets expect, the ratings in range.

What the rows say of movies is judged in ``catalogue.gates``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.dumps.tables import RATINGS, check_ratings
from imdb_pipeline.gates import Finding, Gate, Outcome, override, run_gates

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from imdb_pipeline.dumps.snapshot import DumpFile
    from imdb_pipeline.settings import GateSettings


@dataclass(frozen=True)
class Baseline:
    """The last good day: the newest up to this one whose movies are published.

    Attributes
    ----------
    days
        Between it and the day that is judged; at least 1.
    dumps
        By asset, rows and sha256 of its file.
    """

    day: str
    days: int
    dumps: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class DumpFacts:
    """A file of a snapshot, where it is, and what it is compared with."""

    file: DumpFile
    path: Path
    asset: str
    before: Baseline | None


def whole_gzip(facts: DumpFacts, limits: GateSettings) -> Finding:
    file = facts.file
    return Finding(
        file.problem is None,
        file.problem or f"{file.file}: {file.rows:,} rows, {file.unpacked_bytes:,} bytes unpacked",
    )


def row_count(facts: DumpFacts, limits: GateSettings) -> Finding:
    if facts.before is None:
        return Finding(True, f"{facts.file.file}: {facts.file.rows:,} rows; no earlier day to compare with")
    return compare_count(
        f"{facts.file.shown}: rows", facts.file.rows, facts.before.dumps[facts.asset]["rows"], facts.before, limits
    )


def compare_count(what: str, now: int, before: int, baseline: Baseline, limits: GateSettings) -> Finding:
    """Judge a count against the last good day's: not much fewer, not many more, wider with the days between."""
    fewer = max(limits.row_slack, before * min(1.0, limits.max_row_loss * baseline.days))
    more = max(limits.row_slack, before * limits.max_row_gain * baseline.days)
    change = now - before
    share = f" ({change / before:+.1%})" if before else ""
    told = f"{what} {now:,}, {before:,} on {baseline.day}{share}"
    if -fewer <= change <= more:
        return Finding(True, told)
    limit = f"at most {fewer:,.0f} fewer" if change < 0 else f"at most {more:,.0f} more"
    return Finding(False, f"{told}; {limit} are let through; wait for the next publication")


def new_content(facts: DumpFacts, limits: GateSettings) -> Finding:
    before = facts.before
    if before is not None and before.dumps[facts.asset]["sha256"] == facts.file.sha256:
        return Finding(False, f"{facts.file.shown}: unchanged since {before.day}")
    return Finding(True, f"{facts.file.file}: not the file of an earlier day")


def ratings_table(facts: DumpFacts, limits: GateSettings) -> Finding:
    if facts.file.problem is not None:
        return Finding(False, f"{facts.file.shown}: not read, since the file is not whole")
    outcome = check_ratings(facts.path, shown=facts.file.shown)
    return Finding(outcome.passed, outcome.message, outcome.sample)


FILE_GATES: tuple[Gate[DumpFacts], ...] = (
    Gate("whole_gzip", "The file unpacks to its end, has IMDb's columns, and holds rows.", whole_gzip),
    Gate(
        "row_count",
        "Rows against the last good day: not more than 2 % fewer or 5 % more a day; 50 are always allowed ([gates]).",
        row_count,
        thresholds=("max_row_loss", "max_row_gain", "row_slack"),
    ),
    Gate("new_content", "The file is not, byte for byte, that of the last good day.", new_content, required=False),
)
RATINGS_GATES: tuple[Gate[DumpFacts], ...] = (
    Gate("title_ratings_table", "Unique ids, ratings from 1 to 10, votes not negative.", ratings_table),
)
SNAPSHOT_ACCEPTED = "snapshot_accepted"
SNAPSHOT_DESCRIPTION = "The other three files of the snapshot pass their gates too: the four are published or none."


def gates_of(asset: str) -> tuple[Gate[DumpFacts], ...]:
    """Return the gates of one dump's file."""
    return FILE_GATES + (RATINGS_GATES if asset == RATINGS.asset else ())


def judge(
    files: Mapping[str, DumpFile],
    folder: Path,
    *,
    before: Baseline | None,
    limits: GateSettings,
    reasons: Mapping[str, str],
) -> dict[str, list[Outcome]]:
    """Put the four files of a snapshot to their gates.

    Parameters
    ----------
    folder
        Where the files are.
    reasons
        Recorded overrides, by ``ASSET/GATE``.

    Returns
    -------
    dict
        By asset, the outcomes of its gates, and last whether the other three are accepted.
    """
    judged = {
        asset: override(
            run_gates(gates_of(asset), DumpFacts(file, folder / file.file, asset, before), limits), asset, reasons
        )
        for asset, file in files.items()
    }
    refusing = {asset: next((each for each in outcomes if each.refuses), None) for asset, outcomes in judged.items()}
    for asset, outcomes in judged.items():
        others = [(other, outcome) for other, outcome in refusing.items() if other != asset and outcome]
        if others:
            other, outcome = others[0]
            accepted = Outcome(SNAPSHOT_ACCEPTED, False, outcome.message, cause=f"{other}/{outcome.name}")
        else:
            accepted = Outcome(SNAPSHOT_ACCEPTED, True, f"the other {len(files) - 1} files are accepted")
        outcomes.append(accepted)
    return judged
