"""Whether a file that was fetched is a whole dump: gzip to its last byte, the right columns, at least one row.

Whether its rows can be read belongs to ``rows``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imdb_pipeline.dumps.inflate import inflate
from imdb_pipeline.dumps.tables import read_header
from imdb_pipeline.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from imdb_pipeline.dumps.tables import Dump

_SMALL = 64 << 20


def verify(
    path: Path, dump: Dump, *, shown: str, max_unpacked_bytes: int = 64 << 30, max_ratio: float = 200.0
) -> tuple[int, int]:
    """Read a dump to its end, in bounded memory, and return its rows and its size unpacked in bytes.

    Parameters
    ----------
    shown
        What messages call the file.
    max_unpacked_bytes
        A file that unpacks to more is refused as soon as it has: it has no end, or none worth waiting for.
    max_ratio
        The same for one that unpacks to so many times its size, once that is over 64 MiB. Dumps have about 5.

    Raises
    ------
    InputError
        It is not gzip, is cut short or damaged, goes on after its gzip data, unpacks without end, has other columns, or
        holds no row.
    """
    import numpy as np

    read_header(path, dump, shown=shown)
    most = min(max_unpacked_bytes, max(_SMALL, int(max_ratio * path.stat().st_size)))
    lines = size = 0
    last = b"\n"
    for piece in inflate(path, shown=shown):
        lines += int(np.count_nonzero(np.frombuffer(piece, np.uint8) == ord("\n")))
        size += len(piece)
        last = piece[-1:]
        if size > most:
            raise InputError(
                f"{shown}: unpacks to more than {most:,} bytes, which no dump does; look at the file, fetch it again"
            )
    rows = lines + (last != b"\n") - 1
    if rows < 1:
        raise InputError(f"{shown}: no row after the header; fetch it again")
    return rows, size
