"""The lines of a dump in bounded memory, and which of them bear a wanted id, found before anything is parsed.

What a line must look like to be a row is in ``rows``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imdb_pipeline.dumps.inflate import inflate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import numpy as np
    import polars as pl

MAX_LINE_BYTES = 1 << 20
_SHORTEST = 10  # bytes of an id of two letters and seven digits, and its tab
_SLACK = 16  # bytes after the lines of a buffer, so that any line can be read to where its id may end


class Lines(NamedTuple):
    """Whole lines of a file.

    Attributes
    ----------
    starts, ends
        Int64: where in the buffer a line begins, and where its newline is.
    first
        The number of the first line.
    """

    buffer: bytes
    starts: np.ndarray
    ends: np.ndarray
    first: int

    def line(self, index: int) -> bytes:
        return self.buffer[self.starts[index] : self.ends[index]]

    def too_long(self) -> np.ndarray:
        """Return the indices of those that are longer than ``MAX_LINE_BYTES``."""
        import numpy as np

        return np.flatnonzero(self.ends - self.starts > MAX_LINE_BYTES)

    def pieces(self, chosen: np.ndarray) -> list[bytes]:
        """Return lines, given by their indices in order, with their newlines; neighbours in one piece."""
        import numpy as np

        breaks = np.flatnonzero(np.diff(chosen) != 1)
        starts = self.starts[chosen[np.append(0, breaks + 1)]] if len(chosen) else chosen
        ends = self.ends[chosen[np.append(breaks, -1)]] + 1 if len(chosen) else chosen
        return [self.buffer[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def read_lines(path: Path, reject: Callable[[int, bytes], None]) -> Iterator[Lines]:
    """Yield all lines, the header too, one or two megabytes at a time; those that do not fit in are rejected."""
    pieces: list[bytes] = []
    size, first, too_long = 0, 1, False
    for piece in _ending_in_newline(inflate(path, shown=str(path))):
        if too_long:
            _, newline, piece = piece.partition(b"\n")
            too_long = not newline
            first += len(newline)
        pieces.append(piece)
        size += len(piece)
        if size <= MAX_LINE_BYTES:
            continue
        lines = cut(b"".join([*pieces, bytes(_SLACK)]), first)
        if len(lines.ends):
            yield lines
            stop = int(lines.ends[-1]) + 1
            pieces, size, first = [lines.buffer[stop:size]], size - stop, first + len(lines.ends)
        else:
            reject(first, lines.buffer)
            pieces, size, too_long = [], 0, True
    if size:
        yield cut(b"".join([*pieces, bytes(_SLACK)]), first)


def _ending_in_newline(pieces: Iterable[bytes]) -> Iterator[bytes]:
    last = b"\n"
    for piece in pieces:
        last = piece[-1:]
        yield piece
    if last != b"\n":
        yield b"\n"


def cut(buffer: bytes, first: int) -> Lines:
    """Return the lines in a buffer, up to its last newline."""
    import numpy as np

    ends = positions(buffer, b"\n")
    starts = np.empty_like(ends)
    starts[:1], starts[1:] = 0, ends[:-1] + 1
    return Lines(buffer, starts, ends, first)


def positions(text: bytes, byte: bytes) -> np.ndarray:
    """Return where a byte stands, int64. ``flatnonzero`` over eight bytes at once, then which of the eight."""
    import numpy as np

    found = np.frombuffer(text, np.uint8) == byte[0]
    whole = len(found) // 8 * 8
    words = found[:whole].view("<u8")
    at = np.flatnonzero(words != 0)
    values = words[at]
    if (values & (values - np.uint64(1))).any():  # two in eight
        return np.flatnonzero(found)
    positions = at * 8 + np.log2(values.astype(np.float64)).astype(np.int64) // 8
    return np.concatenate([positions, np.flatnonzero(found[whole:]) + whole])


class Selection:
    """Which lines bear a wanted id, mostly without looking for where the id ends.

    The eight bytes after an id's two letters decide: seven digits and a tab, or eight digits. Lines in which they are
    something else, or that the bytes around them contradict, are looked at one by one.
    """

    def __init__(self, ids: pl.Series, column: int) -> None:
        import numpy as np
        import polars as pl

        self._ids, self._column = ids.cast(pl.Binary), column
        letters = (self._ids.bin.head(2)[0] if len(ids) else b"").ljust(2, b"\0")
        self._letters = letters
        frame = pl.DataFrame({"id": (ids + "\t").cast(pl.Binary)})
        size = pl.col("id").bin.size()
        frame = frame.filter(size >= _SHORTEST).select(
            key=pl.col("id").bin.slice(2, 8).bin.reinterpret(dtype=pl.UInt64, endianness="big"),
            usual=pl.col("id").bin.starts_with(letters) & (size <= _SHORTEST + 1),
        )
        # With one key that no line has, so that there is always a nearest one.
        self._keys = np.sort(np.append(frame.filter("usual")["key"].to_numpy(), np.uint64(0)))
        self._others = np.sort(frame.filter(~pl.col("usual"))["key"].to_numpy())

    def __call__(self, lines: Lines) -> np.ndarray:
        """Return the indices of lines, in order."""
        import numpy as np

        if self._column:
            return self._one_by_one(lines, np.arange(len(lines.ends)))
        array = np.frombuffer(lines.buffer, np.uint8)
        windows = np.lib.stride_tricks.as_strided(np.frombuffer(lines.buffer, "V8", 1), (len(array) - 7,), (1,))
        keys = windows[lines.starts + 2].view("<u8")
        # Neighbours often share their id: decide once for all of them.
        heads = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
        runs = np.diff(heads, append=len(keys))
        keys = keys[heads]
        tab_last, plain = _digits(keys)
        keys = keys.byteswap()
        plain &= ~np.isin(keys, self._others)
        wanted = plain & (self._keys[np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)] == keys)
        chosen, tabs = _members(heads[wanted], runs[wanted]), np.repeat(10 - tab_last[wanted], runs[wanted])
        starts = lines.starts[chosen]
        sure = (array[starts] == self._letters[0]) & (array[starts + 1] == self._letters[1])
        sure &= (array[starts + tabs] == ord("\t")) & (lines.ends[chosen] - starts >= _SHORTEST)
        unclear = (
            chosen[~sure],
            _members(heads[~plain], runs[~plain]),
            np.flatnonzero(lines.ends - lines.starts < _SHORTEST),
        )
        if sum(map(len, unclear)):
            return np.union1d(chosen[sure], self._one_by_one(lines, np.unique(np.concatenate(unclear))))
        return chosen

    def _one_by_one(self, lines: Lines, which: np.ndarray) -> np.ndarray:
        """Return those of ``which`` whose id is wanted, or that have no cell or nothing for one."""
        import numpy as np
        import polars as pl

        cells = [lines.line(line).split(b"\t", self._column + 1) for line in which.tolist()]
        without = [len(row) < max(2, self._column + 1) or not row[self._column] for row in cells]
        ids = pl.Series(
            [b"" if lacks else row[self._column].rstrip(b"\r") for row, lacks in zip(cells, without, strict=True)],
            dtype=pl.Binary,
        )
        return which[np.array(without, dtype=bool) | ids.is_in(self._ids.implode()).to_numpy()]


def _members(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the integers of runs: ``counts`` of them from each of ``starts``."""
    import numpy as np

    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())


def _digits(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return of eight bytes each: whether the last is a tab, and whether the others, or all, are digits."""
    import numpy as np

    tab_last = keys >> np.uint64(56) == ord("\t")
    zero = np.uint64(ord("0") << 56)
    digits = np.where(tab_last, keys & np.uint64((1 << 56) - 1) | zero, keys)
    # A byte outside 0 to 9 sets its top bit in the one or in the other.
    over = (digits - np.uint64(0x3030303030303030)) | (digits + np.uint64(0x4646464646464646))
    return tab_last, over & np.uint64(0x8080808080808080) == 0
