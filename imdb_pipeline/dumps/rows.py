"""The rows of a dump in bounded memory: the wanted lines of ``lines``, checked, parsed and typed.

Which columns a dump has and of what types is in ``tables``; which rows are wanted is the caller's business.

The rule for bad rows, the same for all four files. A row is rejected (left out, counted, located) if it

- is longer than 1 MiB, has too few or too many cells, is not UTF-8 or holds a NUL byte, or if its last
  cell is empty, which IMDb never writes: the row was cut short;
- has no value in a column that must have one, or has a cell that is no value of its column's type.

The other rows go on. Everything else is data: quotes, ``<script>``, other control characters, a carriage return inside
a cell. Only ``\\N`` and an empty cell are null. Lines end in LF or CRLF, the last one maybe in nothing.

A row that is not wanted is checked only as far as was read to find that out: its id, where rows are selected by ids;
its form and the columns that ``Batch.peek`` reads, where a batch is asked for some of its rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imdb_pipeline.dumps.lines import MAX_LINE_BYTES, Selection, cut, positions, read_lines
from imdb_pipeline.dumps.tables import NULL, read_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    import polars as pl

    from imdb_pipeline.dumps.tables import Dump

SHOWN_REJECTED = 250
"""Of the rejected rows of a file, so many are kept to be shown; all are counted."""
SHOWN_CHARACTERS = 200
"""Of the text of a rejected row."""

_BATCH_BYTES = 4 << 20  # of lines parsed at once


@dataclass
class Rejected:
    """The rows that were left out so far: ``counts`` by file, and the first of each file."""

    counts: dict[str, int] = field(default_factory=dict)
    _shown: list[tuple[str, int, str, str]] = field(default_factory=list)

    def add(self, file: str, line: int, reason: str, text: bytes) -> None:
        count = self.counts.get(file, 0)
        if count < SHOWN_REJECTED:
            text = text[: 4 * SHOWN_CHARACTERS]  # a character takes at most four bytes
            self._shown.append((file, line, reason, text.decode(errors="replace")[:SHOWN_CHARACTERS].rstrip("\r")))
        self.counts[file] = count + 1

    def summary(self) -> str:
        """Say in one line how many there are and where the first one is."""
        counts = ", ".join(f"{count:,} of {file}" for file, count in self.counts.items())
        if not self._shown:
            return "no row rejected"
        file, line, reason, _ = self._shown[0]
        return f"rows rejected: {counts}; the first: {file} line {line}: {reason}"

    def frame(self) -> pl.DataFrame:
        """Return file (String), line (Int64; the header is line 1), reason, text (String)."""
        import polars as pl

        schema = {"file": pl.String, "line": pl.Int64, "reason": pl.String, "text": pl.String}
        return pl.DataFrame(self._shown, schema=schema, orient="row").sort("file", "line", maintain_order=True)


def read_batches(path: Path, dump: Dump, rejected: Rejected, *, ids: pl.Series | None = None) -> Iterator[Batch]:
    """Yield the rows of a dump that have the right form, some megabytes at a time, in the order of the file.

    There is at least one batch; it may be empty.

    Parameters
    ----------
    rejected
        Takes the rows that are left out.
    ids
        Only rows whose cell of the dump's first column is one of these (String, no nulls). Fast where ids are two
        letters and seven or eight digits and that column is the file's first too; else slow, and right all the same.

    Raises
    ------
    InputError
        The file is not whole, or its columns are not the dump's.
    """
    import numpy as np

    header = read_header(path, dump)
    select = None if ids is None else Selection(ids, header.index(dump.columns[0]))

    def reject_too_long(number: int, text: bytes) -> None:
        rejected.add(dump.file, number, f"longer than {MAX_LINE_BYTES:,} bytes", text)

    texts: list[bytes] = []
    numbers: list[np.ndarray] = []
    size, some = 0, False
    for lines in read_lines(path, reject_too_long):
        chosen = np.arange(len(lines.ends)) if select is None else select(lines)
        too_long = lines.too_long()
        for line in too_long.tolist():
            reject_too_long(lines.first + line, lines.line(line))
        header_line = [0] if lines.first == 1 else []
        if len(too_long) or header_line:
            chosen = np.setdiff1d(chosen, np.append(too_long, header_line), assume_unique=True)
        pieces = lines.pieces(chosen)
        texts += pieces
        size += sum(map(len, pieces))
        numbers.append(chosen + lines.first)
        if size >= _BATCH_BYTES:
            yield _batch(b"".join(texts), np.concatenate(numbers), header, dump, rejected)
            texts, numbers, size, some = [], [], 0, True
    if size or not some:
        yield _batch(b"".join(texts), np.concatenate(numbers), header, dump, rejected)


@dataclass(frozen=True)
class Batch:
    """Some rows of the right form.

    Attributes
    ----------
    text
        Their lines, each with its newline.
    numbers
        Int64, the number in the file of each line; the header is line 1.
    """

    text: bytes
    numbers: np.ndarray
    _header: list[str]
    _dump: Dump
    _rejected: Rejected

    def peek(self, *columns: str) -> pl.DataFrame:
        """Return a few columns of all rows as Strings, null where there is no value; nothing is rejected."""
        import polars as pl

        schema = dict.fromkeys(self._header, pl.String)
        if not self.text:
            return pl.DataFrame(schema=schema).select(columns)
        return pl.read_csv(
            self.text,
            has_header=False,
            separator="\t",
            quote_char=None,
            null_values=NULL,
            schema=schema,
            columns=sorted(self._header.index(name) for name in columns),
        ).select(columns)

    def rows(self, *columns: str, where: pl.Series | None = None) -> pl.DataFrame:
        """Return rows, after rejecting those without a required value or with a cell that is not of its type.

        Parameters
        ----------
        columns
            Which; of the type that the dump says, or String.
        where
            Boolean, one per row: which rows.
        """
        import numpy as np
        import polars as pl

        if where is not None:
            chosen = np.flatnonzero(where)
            text = b"".join(cut(self.text, 0).pieces(chosen))
            return Batch(text, self.numbers[chosen], self._header, self._dump, self._rejected).rows(*columns)
        types, required = self._dump.types, self._dump.required
        casts = {name: _cast(name, dtype) for name, dtype in types.items()}
        raw = self.peek(*dict.fromkeys((*columns, *required, *types)))
        typed = raw.with_columns(**casts)
        if all(typed[name].null_count() == raw[name].null_count() for name in types) and not any(
            raw[name].null_count() for name in required
        ):
            return typed.select(columns)
        reasons = raw.select(
            pl.coalesce(
                *(pl.when(pl.col(name).is_null()).then(pl.lit(f"column {name}: no value")) for name in required),
                *(
                    pl.when(pl.col(name).is_not_null() & cast.is_null()).then(
                        pl.format(f"column {name}: '{{}}' is not of type {types[name]}", pl.col(name).str.head(60))
                    )
                    for name, cast in casts.items()
                ),
            )
        ).to_series()
        lines = self.text.split(b"\n")
        for row in np.flatnonzero(reasons.is_not_null()).tolist():
            self._rejected.add(self._dump.file, int(self.numbers[row]), reasons[row], lines[row])
        return typed.filter(reasons.is_null()).select(columns)


def _cast(name: str, dtype: str) -> pl.Expr:
    import polars as pl

    column = pl.col(name)
    if dtype == "Boolean":
        return pl.when(column.is_in(["0", "1"])).then(column == "1")
    return column.cast(getattr(pl, dtype), strict=False)


def _batch(text: bytes, numbers: np.ndarray, header: list[str], dump: Dump, rejected: Rejected) -> Batch:
    """Return the lines as a batch, less those that have not the right form."""
    import numpy as np

    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    if not _is_well_formed(text, len(numbers), len(header)):
        lines = text.split(b"\n")[:-1]
        good = []
        for row, (number, line) in enumerate(zip(numbers.tolist(), lines, strict=True)):
            if fault := _fault(line, header):
                rejected.add(dump.file, number, fault, line)
            else:
                good.append(row)
        text, numbers = b"".join([lines[row] + b"\n" for row in good]), numbers[np.array(good, dtype=np.int64)]
    return Batch(text, numbers, header, dump, rejected)


def _is_well_formed(text: bytes, rows: int, columns: int) -> bool:
    """Whether no line has a fault: for all at once what ``_fault`` says of each."""
    import numpy as np
    import polars as pl

    if b"\0" in text:
        return False
    try:
        pl.Series([text]).cast(pl.String)  # an order of magnitude faster than text.decode()
    except pl.exceptions.ComputeError:
        return False
    tabs, ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\t")), positions(text, b"\n")
    if len(tabs) != rows * (columns - 1):
        return False
    first, last = tabs[:: columns - 1], tabs[columns - 2 :: columns - 1]
    return bool(np.all(first[1:] > ends[:-1]) and np.all(last < ends - 1))


def _fault(line: bytes, header: list[str]) -> str | None:
    """Say what is wrong with the form of a line, or None."""
    cells = line.split(b"\t")
    if len(cells) < len(header):
        return f"column {header[len(cells)]}: no such cell, the row has {len(cells)} of {len(header)}"
    if len(cells) > len(header):
        return f"column {header[-1]}: more cells follow, the row has {len(cells)} instead of {len(header)}"
    for name, cell in zip(header, cells, strict=True):
        if b"\0" in cell:
            return f"column {name}: a NUL byte"
        try:
            cell.decode()
        except UnicodeDecodeError:
            return f"column {name}: not UTF-8"
    return None if cells[-1] else f"column {header[-1]}: empty, the row was cut short"
