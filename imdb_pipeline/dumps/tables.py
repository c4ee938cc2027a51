"""The four dumps as typed tables: columns, keys, the null token, and pandera schemas of what the values may be.

Reading is strict: columns by name in any order, none missing or unknown, every row with all its cells, every number a
number. What a row means for a movie belongs to ``catalogue``.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from imdb_pipeline.errors import InputError
from imdb_pipeline.gates import Outcome, check_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import polars as pl

NULL = r"\N"


@dataclass(frozen=True)
class Dump:
    """One of IMDb's files (https://developer.imdb.com/non-commercial-datasets/)."""

    file: str
    columns: tuple[str, ...]

    @property
    def asset(self) -> str:
        """The name of its asset: ``title.basics.tsv.gz`` is ``title_basics_dump``."""
        return self.file.removesuffix(".tsv.gz").replace(".", "_") + "_dump"


BASICS = Dump(
    "title.basics.tsv.gz",
    (
        "tconst",
        "titleType",
        "primaryTitle",
        "originalTitle",
        "isAdult",
        "startYear",
        "endYear",
        "runtimeMinutes",
        "genres",
    ),
)
RATINGS = Dump("title.ratings.tsv.gz", ("tconst", "averageRating", "numVotes"))
PRINCIPALS = Dump("title.principals.tsv.gz", ("tconst", "ordering", "nconst", "category", "job", "characters"))
NAMES = Dump(
    "name.basics.tsv.gz",
    ("nconst", "primaryName", "birthYear", "deathYear", "primaryProfession", "knownForTitles"),
)
DUMPS = (BASICS, RATINGS, PRINCIPALS, NAMES)


def read_header(path: Path, dump: Dump) -> list[str]:
    """Return the column names of a dump, in the order of the file.

    Raises
    ------
    InputError
        It is no gzip file, is empty, or its columns are not the dump's.
    """
    try:
        with gzip.open(path, "rb") as file:
            line = file.readline(65_536)
    except (gzip.BadGzipFile, EOFError, OSError) as error:
        raise InputError(f"{path}: not a whole gzip file ({error}); fetch it again") from None
    if not line.strip():
        raise InputError(f"{path}: empty; fetch it again")
    header = line.decode("utf-8", errors="replace").rstrip("\r\n").split("\t")
    missing = [name for name in dump.columns if name not in header]
    unknown = [name for name in header if name not in dump.columns]
    if missing or unknown or len(header) != len(dump.columns):
        parts = [f"column {name} is missing" for name in missing] + [
            f"column {name[:60]!r} is unknown" for name in unknown
        ]
        raise InputError(
            f"{path}: {'; '.join(parts[:3]) or 'a column stands twice'}; "
            f"expected the tab-separated columns {', '.join(dump.columns)}"
        )
    return header


def scan_dump(path: Path, dump: Dump) -> pl.LazyFrame:
    """Return a dump lazily, every column a String, ``\\N`` still in it and a missing cell null."""
    import polars as pl

    header = read_header(path, dump)
    return pl.scan_csv(
        path,
        separator="\t",
        quote_char=None,
        schema=dict.fromkeys(header, pl.String),
    ).select(dump.columns)


def first_rows(path: Path, dump: Dump, count: int) -> list[dict[str, str]]:
    """Return the first rows of a dump as they stand in the file."""
    header = read_header(path, dump)
    with gzip.open(path, "rt", encoding="utf-8", errors="replace", newline="\n") as file:
        next(file)
        return [dict(zip(header, line.rstrip("\r\n").split("\t"), strict=False)) for line in islice(file, count)]


def collect(frame: pl.LazyFrame, path: Path) -> pl.DataFrame:
    """Run a query on a dump by streaming.

    Raises
    ------
    InputError
        A row of the file has too many cells or is not UTF-8.
    """
    import polars as pl

    try:
        return frame.collect(engine="streaming")
    except (pl.exceptions.ComputeError, pl.exceptions.SchemaError, pl.exceptions.NoDataError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: a row cannot be read ({reason}); fetch the file again") from None


def cast(
    frame: pl.DataFrame,
    path: Path,
    types: Mapping[str, type[pl.DataType]],
    *,
    key: str,
    required: tuple[str, ...],
) -> pl.DataFrame:
    """Turn ``\\N`` and empty cells into null and cast the named columns.

    Parameters
    ----------
    key
        The column that names a row in messages.
    required
        Columns that must have a cell in every row. IMDb leaves some cells of some columns empty
        (``primaryProfession``); the last column of a dump never is, so naming it here finds short rows.

    Raises
    ------
    InputError
        A required cell is missing, or a cell is no value of its type; the message names row, column and value.
    """
    import polars as pl

    for name in required:
        bad = frame.filter(pl.col(name).fill_null("") == "")
        if len(bad):
            raise InputError(
                f"{path}: row {bad[key][0] or 'without an id'}: no cell in column {name}: it is empty, or the row is "
                f"too short ({len(bad)} such rows); fetch the file again"
            )
    nulled = frame.with_columns(pl.when(~pl.all().is_in([NULL, ""])).then(pl.all()).name.keep())
    typed = nulled.with_columns(pl.col(name).cast(dtype, strict=False) for name, dtype in types.items())
    for name, dtype in types.items():
        bad = nulled.filter(typed[name].is_null() & nulled[name].is_not_null())
        if len(bad):
            raise InputError(
                f"{path}: row {bad[key][0]}: column {name} is {bad[name][0]!r}, not of type {dtype} "
                f"({len(bad)} such rows); fetch the file again or repair it"
            )
    return typed


def read_ratings(path: Path) -> pl.DataFrame:
    """Return title.ratings: tconst (String), averageRating (Float64), numVotes (Int64).

    Raises
    ------
    InputError
        The file is not in IMDb's form.
    """
    import polars as pl

    types = {"averageRating": pl.Float64, "numVotes": pl.Int64}
    return cast(collect(scan_dump(path, RATINGS), path), path, types, key="tconst", required=RATINGS.columns)


def check_ratings(path: Path, *, shown: str) -> Outcome:
    """Check what title.ratings holds: unique ids, ratings from 1 to 10, votes not negative.

    Parameters
    ----------
    shown
        What messages call the file.
    """
    import pandera.polars as pa
    import polars as pl

    name = "title_ratings_table"
    schema = pa.DataFrameSchema(
        {
            "tconst": pa.Column(pl.String, pa.Check.str_matches(r"^tt\d+$"), unique=True),
            "averageRating": pa.Column(pl.Float64, pa.Check.in_range(1, 10)),
            "numVotes": pa.Column(pl.Int64, pa.Check.ge(0)),
        },
        strict=True,
    )
    try:
        ratings = read_ratings(path)
    except InputError as error:
        return Outcome(name, passed=False, message=str(error).replace(str(path), shown))
    return check_table(name, ratings, schema, subject=shown, key="tconst")
