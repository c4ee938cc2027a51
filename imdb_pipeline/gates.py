"""Checks of a table before it is published, and how their outcomes read.

A check that fails keeps the table from being published; it is shown either way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imdb_pipeline.errors import GateError

if TYPE_CHECKING:
    import pandera.polars as pa
    import polars as pl

SAMPLE_ROWS = 5


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    Attributes
    ----------
    name
        As the asset declares it.
    message
        One line: what was checked, or the first thing that is wrong and what to do.
    sample
        A few offending rows, as plain dictionaries.
    required
        A failed required check keeps the result from being published; another is a warning.
    """

    name: str
    passed: bool
    message: str
    sample: list[dict[str, Any]] = field(default_factory=list)
    required: bool = True


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


def require(outcomes: list[Outcome]) -> None:
    """Raise what a failed required check says.

    Raises
    ------
    GateError
        A required check failed.
    """
    failed = [outcome for outcome in outcomes if outcome.required and not outcome.passed]
    if failed:
        raise GateError(failed[0].message)


def _offending_rows(frame: pl.DataFrame, cases: pl.DataFrame) -> list[dict[str, Any]]:
    indices = [index for index in cases["index"].to_list() if index is not None][:SAMPLE_ROWS]
    return [{name: str(value) for name, value in frame.row(index, named=True).items()} for index in indices]
