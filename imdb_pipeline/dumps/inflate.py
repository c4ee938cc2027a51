"""A gzip file as its unpacked bytes, piece by piece in bounded memory, and what can be wrong with it as gzip.

What the bytes mean belongs to ``rows`` and ``tables``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imdb_pipeline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIECE_BYTES = 1 << 20
"""The most that is unpacked at once."""
_READ_BYTES = 1 << 15  # what comes out stays in a core's cache, and is small enough for memory that is used again
_MAGIC = b"\x1f\x8b"


def inflate(path: Path, *, shown: str) -> Iterator[bytes]:
    """Yield the unpacked bytes of a gzip file of one or more members, each piece at most ``PIECE_BYTES``.

    Parameters
    ----------
    shown
        What messages call the file.

    Raises
    ------
    InputError
        It is empty, no gzip file, damaged, cut short, or goes on after its gzip data; known only once that place is
        reached.
    """
    from isal import isal_zlib

    with path.open("rb") as file:
        data = file.read(_READ_BYTES)
        if data[:2] != _MAGIC:
            what = f"not a whole gzip file ({_what_instead(data)})" if data else "empty"
            raise InputError(f"{shown}: {what}; fetch it again")
        while data:
            member = isal_zlib.decompressobj(wbits=31)
            try:
                while not member.eof:
                    if piece := member.decompress(data, PIECE_BYTES):
                        yield piece
                    data = member.unconsumed_tail
                    # Without room left in the last piece there may be more to come from what was read already.
                    if (
                        not data
                        and not member.eof
                        and len(piece) < PIECE_BYTES
                        and not (data := file.read(_READ_BYTES))
                    ):
                        raise InputError(f"{shown}: not a whole gzip file (cut short); fetch it again")
            except isal_zlib.IsalError as error:  # pyright: ignore[reportGeneralTypeIssues]
                raise InputError(f"{shown}: damaged gzip data ({error}); fetch it again") from None
            data = member.unused_data
            if len(data) < len(_MAGIC):
                data += file.read(_READ_BYTES)
            if data and data[:2] != _MAGIC:
                what = "other bytes" if any(data) else "zeros"
                raise InputError(f"{shown}: not a whole gzip file ({what} after its end); fetch it again")


def _what_instead(data: bytes) -> str:
    """Say what a file that is not gzip seems to be, from its beginning."""
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] == b"<":
        return "it looks like a web page"
    if text[:7] in (b"tconst\t", b"nconst\t"):
        return "it looks like plain TSV; compress it with gzip"
    return f"it begins with {data[:8]!r}"
