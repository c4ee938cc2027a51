"""Gates: what is checked before a result is published, as data, and how the outcomes read.

A gate that is required and fails keeps the result from being published; the outcome is shown either way. Which gates
there are belongs to ``dumps.gates`` (the files) and ``catalogue.gates`` (what is in them).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from imdb_pipeline.errors import GateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pandera.polars as pa
    import polars as pl

    from imdb_pipeline.settings import GateSettings

SAMPLE_ROWS = 5
Facts = TypeVar("Facts")


@dataclass(frozen=True)
class Finding:
    """What a gate saw: whether it passes, one line that says so, and a few offending rows as plain dictionaries."""

    passed: bool
    message: str
    sample: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Gate(Generic[Facts]):
    """A named question to the facts of a result.

    Attributes
    ----------
    required
        A failed one keeps the result from being published; another is a warning.
    thresholds
        The keys in ``[gates]`` of ``settings.toml`` that it is measured against. A gate with thresholds judges what may
        be true all the same, so it can be overridden; one without cannot.
    """

    name: str
    description: str
    measure: Callable[[Facts, GateSettings], Finding]
    required: bool = True
    thresholds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a gate found.

    Attributes
    ----------
    name
        As the asset declares it.
    message
        One line: what was checked, or the first thing that is wrong and what to do.
    sample
        A few offending rows, as plain dictionaries.
    required
        A failed required gate keeps the result from being published; another is a warning.
    overridden
        Why somebody let it through, or None.
    cause
        The ``ASSET/GATE`` of another asset that decided, where one did.
    """

    name: str
    passed: bool
    message: str
    sample: list[dict[str, Any]] = field(default_factory=list)
    required: bool = True
    overridden: str | None = None
    cause: str = ""

    @property
    def refuses(self) -> bool:
        return self.required and not self.passed and self.overridden is None


def run_gates(gates: Iterable[Gate[Facts]], facts: Facts, limits: GateSettings) -> list[Outcome]:
    """Put the facts to every gate, whatever the others found."""
    outcomes = []
    for gate in gates:
        finding = gate.measure(facts, limits)
        outcomes.append(Outcome(gate.name, finding.passed, finding.message, finding.sample, gate.required))
    return outcomes


def override(outcomes: list[Outcome], asset: str, reasons: Mapping[str, str]) -> list[Outcome]:
    """Return the outcomes with those let through for which a reason is recorded, under ``ASSET/GATE``."""
    return [
        outcome
        if outcome.passed or f"{asset}/{outcome.name}" not in reasons
        else replace(outcome, overridden=reasons[f"{asset}/{outcome.name}"])
        for outcome in outcomes
    ]


def require(outcomes: list[Outcome]) -> None:
    """Raise what the first refusing gate says.

    Raises
    ------
    GateError
        A required gate failed.
    """
    for outcome in outcomes:
        if outcome.refuses:
            raise GateError(outcome.message)


def check_table(name: str, frame: pl.DataFrame, schema: pa.DataFrameSchema, *, subject: str, key: str) -> Outcome:
    """Validate a frame against a pandera schema.

    Parameters
    ----------
    subject
        What the message calls the table: the file a user knows.
    key
        The column that names a row.
    """
    import pandera.errors

    try:
        schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        first = cases.row(0, named=True)
        sample = _offending_rows(frame, cases)
        where = f"row {sample[0][key]}, " if sample and key in sample[0] else ""
        return Outcome(
            name,
            passed=False,
            message=f"{subject}: {where}column {first['column']}: {first['failure_case']} fails {first['check']} "
            f"({len(cases)} failures); repair the source or fetch it again",
            sample=sample,
        )
    return Outcome(name, passed=True, message=f"{subject}: {len(frame):,} rows satisfy the schema")


def _offending_rows(frame: pl.DataFrame, cases: pl.DataFrame) -> list[dict[str, Any]]:
    indices = [index for index in cases["index"].to_list() if index is not None][:SAMPLE_ROWS]
    return [{name: str(value) for name, value in frame.row(index, named=True).items()} for index in indices]
