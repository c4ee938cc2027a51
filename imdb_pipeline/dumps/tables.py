"""The four dumps as typed tables: columns, types, the null token, and the schema of the ratings.

Columns are known by name, in any order, none missing or unknown. How rows are read, and what becomes of bad ones, is in
``rows``; what a row means for a movie belongs to ``catalogue``.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from imdb_pipeline.dumps.inflate import inflate
from imdb_pipeline.errors import InputError
from imdb_pipeline.gates import Outcome, check_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import polars as pl

    from imdb_pipeline.dumps.rows import Rejected

NULL = r"\N"
_MAX_HEADER_BYTES = 65_536


@dataclass(frozen=True)
class Dump:
    """One of IMDb's files (https://developer.imdb.com/non-commercial-datasets/).

    Attributes
    ----------
    columns
        The first is the id by which rows are selected.
    required
        Columns that have a value in every row.
    types
        Of the columns that are not text: names of polars types; Boolean stands for 0 and 1.
    """

    file: str
    columns: tuple[str, ...]
    required: tuple[str, ...]
    types: Mapping[str, str] = field(hash=False)

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
    required=("tconst", "titleType", "primaryTitle"),
    types={"isAdult": "Boolean", "startYear": "Int32", "endYear": "Int32", "runtimeMinutes": "Int32"},
)
RATINGS = Dump(
    "title.ratings.tsv.gz",
    ("tconst", "averageRating", "numVotes"),
    required=("tconst", "averageRating", "numVotes"),
    types={"averageRating": "Float64", "numVotes": "Int64"},
)
PRINCIPALS = Dump(
    "title.principals.tsv.gz",
    ("tconst", "ordering", "nconst", "category", "job", "characters"),
    required=("tconst", "ordering", "nconst", "category"),
    types={"ordering": "Int32"},
)
NAMES = Dump(
    "name.basics.tsv.gz",
    ("nconst", "primaryName", "birthYear", "deathYear", "primaryProfession", "knownForTitles"),
    required=("nconst",),
    types={"birthYear": "Int32", "deathYear": "Int32"},
)
DUMPS = (BASICS, RATINGS, PRINCIPALS, NAMES)


def read_header(path: Path, dump: Dump, *, shown: str | None = None) -> list[str]:
    """Return the column names of a dump, in the order of the file.

    Parameters
    ----------
    shown
        What messages call the file, if not its path.

    Raises
    ------
    InputError
        It is no gzip file, is empty, or its columns are not the dump's.
    """
    shown = shown or str(path)
    line = b""
    for piece in inflate(path, shown=shown):
        line += piece
        if b"\n" in piece or len(line) > _MAX_HEADER_BYTES:
            break
    line = line.partition(b"\n")[0][:_MAX_HEADER_BYTES]
    if line.startswith(b"\xef\xbb\xbf"):
        raise InputError(
            f"{shown}: begins with a byte order mark, so its first column has another name; remove the mark"
        )
    if not line.strip():
        raise InputError(f"{shown}: empty; fetch it again")
    header = line.decode("utf-8", errors="replace").rstrip("\r").split("\t")
    missing = [name for name in dump.columns if name not in header]
    unknown = [name for name in header if name not in dump.columns]
    if missing or unknown or len(header) != len(dump.columns):
        parts = [f"column {name} is missing" for name in missing] + [
            f"column {name[:60]!r} is unknown" for name in unknown
        ]
        raise InputError(
            f"{shown}: {'; '.join(parts[:3]) or 'a column stands twice'}; "
            f"expected the tab-separated columns {', '.join(dump.columns)}"
        )
    return header


def first_rows(path: Path, dump: Dump, count: int) -> list[dict[str, str]]:
    """Return the first rows of a dump as they stand in the file."""
    header = read_header(path, dump)
    with gzip.open(path, "rt", encoding="utf-8", errors="replace", newline="\n") as file:
        next(file)
        return [dict(zip(header, line.rstrip("\r\n").split("\t"), strict=False)) for line in islice(file, count)]


def read_ratings(path: Path, rejected: Rejected) -> pl.DataFrame:
    """Return title.ratings: tconst (String), averageRating (Float64), numVotes (Int64).

    Parameters
    ----------
    rejected
        Takes the rows that are left out.

    Raises
    ------
    InputError
        The file is not whole, or its columns are not the dump's.
    """
    import polars as pl

    from imdb_pipeline.dumps.rows import read_batches

    types = {name: getattr(pl, RATINGS.types.get(name, "String")) for name in RATINGS.columns}
    batches = [batch.rows(*RATINGS.columns) for batch in read_batches(path, RATINGS, rejected)]
    return pl.concat([pl.DataFrame(schema=types), *batches])


def check_ratings(path: Path, *, shown: str) -> Outcome:
    """Check what title.ratings holds: unique ids, ratings from 1 to 10, votes not negative.

    Rows that cannot be read are left out and told of in the message.

    Parameters
    ----------
    shown
        What messages call the file.
    """
    import pandera.polars as pa
    import polars as pl

    from imdb_pipeline.dumps.rows import Rejected

    name = "title_ratings_table"
    schema = pa.DataFrameSchema(
        {
            "tconst": pa.Column(pl.String, pa.Check.str_matches(r"^tt\d+$"), unique=True),
            "averageRating": pa.Column(pl.Float64, pa.Check.in_range(1, 10)),
            "numVotes": pa.Column(pl.Int64, pa.Check.ge(0)),
        },
        strict=True,
    )
    rejected = Rejected()
    try:
        ratings = read_ratings(path, rejected)
    except InputError as error:
        return Outcome(name, passed=False, message=str(error).replace(str(path), shown))
    outcome = check_table(name, ratings, schema, subject=shown, key="tconst")
    if not rejected.counts:
        return outcome
    return replace(outcome, message=f"{outcome.message}; {rejected.summary()}")
