"""A file that was fetched is a whole dump, or is refused in one line that says what is wrong with it."""

import gzip
import random
import subprocess
import sys

import pytest

from imdb_pipeline.dumps.tables import RATINGS
from imdb_pipeline.dumps.verify import verify
from imdb_pipeline.errors import InputError

HEADER = "tconst\taverageRating\tnumVotes\n"
ROWS = "".join(f"tt{number:07}\t{random.Random(number).uniform(1, 10):.1f}\t{number}\n" for number in range(30_000))
TEXT = (HEADER + ROWS).encode()
PACKED = gzip.compress(TEXT, mtime=0)


def check(folder, data: bytes, **limits) -> tuple[int, int]:
    path = folder / "fetched"
    path.write_bytes(data)
    return verify(path, RATINGS, shown="https://example.org/title.ratings.tsv.gz", **limits)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    "data",
    [
        PACKED,
        gzip.compress(TEXT.removesuffix(b"\n")),
        gzip.compress(TEXT[:10]) + gzip.compress(b"") + gzip.compress(TEXT[10:]),
        b"".join(gzip.compress(TEXT[start : start + 1000]) for start in range(0, len(TEXT), 1000)),
    ],
    ids=["one member", "no last newline", "three members", "many members"],
)
def test_rows_and_bytes_of_a_whole_file(tmp_path, data):
    rows, unpacked = check(tmp_path, data)
    assert rows == 30_000
    assert unpacked == len(gzip.decompress(data))


def test_the_least_there_can_be_is_one_row(tmp_path):
    assert check(tmp_path, gzip.compress((HEADER + "tt1\t1\t1").encode())) == (1, len(HEADER) + 7)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (gzip.compress(b""), "empty"),
        (gzip.compress(HEADER.encode()), "no row after the header"),
        (b"<!DOCTYPE html>\n<html><body>Service unavailable</body></html>", "looks like a web page"),
        (b"\xef\xbb\xbf\n  <html>", "looks like a web page"),
        (gzip.compress(b"<html><body>Service unavailable</body></html>"), "column tconst is missing"),
        (TEXT, "looks like plain TSV"),
        (b"PK\x03\x04" + PACKED, "not a whole gzip file (it begins with"),
        (flipped(PACKED, -8), "damaged gzip data"),
        (flipped(PACKED, -1), "damaged gzip data"),
        (flipped(PACKED, len(PACKED) // 2), "damaged gzip data"),
        (PACKED[:-1], "not a whole gzip file (cut short)"),
        (PACKED[:-8], "not a whole gzip file (cut short)"),
        (PACKED[: len(PACKED) // 2], "not a whole gzip file (cut short)"),
        (PACKED[:5], "not a whole gzip file (cut short)"),
        (PACKED + PACKED[:15], "not a whole gzip file (cut short)"),
        (PACKED + b"\0", "not a whole gzip file (zeros after its end)"),
        (PACKED + bytes(100_000), "not a whole gzip file (zeros after its end)"),
        (PACKED + b"tt0000001\t1.0\t5\n", "not a whole gzip file (other bytes after its end)"),
        (PACKED + b"\x1f", "not a whole gzip file (other bytes after its end)"),
        (PACKED + PACKED + b"x", "not a whole gzip file (other bytes after its end)"),
        (gzip.compress(b"\xef\xbb\xbf" + TEXT), "byte order mark"),
        (gzip.compress(TEXT.replace(b"numVotes", b"votes")), "column numVotes is missing; column 'votes' is unknown"),
        (gzip.compress(b"x" * 100_000), "column tconst is missing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",  # gzip's bytes hold the time
)
def test_a_file_that_is_no_whole_dump_is_refused_in_one_line(tmp_path, data, says):
    with pytest.raises(InputError) as error:
        check(tmp_path, data)
    message = str(error.value)
    assert message.startswith("https://example.org/title.ratings.tsv.gz: ")
    assert says in message
    assert "\n" not in message


def test_a_file_is_refused_once_it_unpacks_to_more_than_is_allowed(tmp_path):
    assert check(tmp_path, PACKED, max_unpacked_bytes=len(TEXT))[1] == len(TEXT)
    with pytest.raises(InputError, match="unpacks to more than"):
        check(tmp_path, PACKED, max_unpacked_bytes=len(TEXT) - 1)


def bomb(megabytes: int) -> bytes:
    """The header, and then newlines: about a thousand times smaller than what comes out of it."""
    return gzip.compress(HEADER.encode()) + gzip.compress(b"\n" * 1_000_000) * megabytes


def test_a_small_file_may_be_packed_as_well_as_it_likes(tmp_path):
    assert check(tmp_path, bomb(60))[0] == 60_000_000


def test_a_file_that_unpacks_without_end_is_refused_in_bounded_memory(tmp_path):
    (tmp_path / "bomb").write_bytes(bomb(1500))
    code = """
import resource, sys
from pathlib import Path
from imdb_pipeline.dumps.tables import RATINGS
from imdb_pipeline.dumps.verify import verify
from imdb_pipeline.errors import InputError
import isal.isal_zlib, numpy
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    verify(Path(sys.argv[1]), RATINGS, shown="bomb")
except InputError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used) // 1024)
"""
    printed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "bomb")], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert printed[0].startswith("bomb: unpacks to more than ")
    assert int(printed[1]) < 100  # of the 1,500 MB in it
