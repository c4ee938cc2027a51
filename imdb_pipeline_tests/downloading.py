"""What the tests of downloads share: a file, limits that are short, and what is left beside a file."""

import dataclasses
import gzip
import random
from pathlib import Path

import pytest

from imdb_pipeline.dumps.download import get
from imdb_pipeline.dumps.transport import Limits
from imdb_pipeline.errors import InputError
from imdb_pipeline_tests.faulty_server import File

NAME = "title.ratings.tsv.gz"
BODY = gzip.compress(random.Random(1).randbytes(300_000), mtime=0)
OTHER = gzip.compress(random.Random(2).randbytes(300_000), mtime=0)  # of the same length
V1 = File(BODY)
V2 = File(OTHER, etag='"v2"', last_modified="Thu, 05 Mar 2026 12:00:00 GMT")
LIMITS = Limits(
    connect_seconds=10,
    read_seconds=20,
    bytes_per_second=2_000,
    window_seconds=20,
    attempts=3,
    backoff_seconds=0.01,
    longest_wait_seconds=0.05,
    deadline_seconds=60,
)
HALF = 150_000
IN_2100 = "Fri, 01 Jan 2100 12:00:00 GMT"


def part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def note(path: Path) -> Path:
    return path.with_name(f"{path.name}.part.json")


def ranges(requests) -> list[str | None]:
    return [request.range for request in requests]


def assert_whole(path: Path, body: bytes) -> None:
    """The file, and nothing beside it."""
    assert path.read_bytes() == body
    assert sorted(path.parent.iterdir()) == [path]


def refusal(url: str, path: Path, limits: Limits = LIMITS) -> str:
    """What a download is refused with: one line that names the address."""
    with pytest.raises(InputError) as caught:
        get(url, path, limits=limits)
    message = str(caught.value)
    assert message.startswith(url)
    assert message.isprintable()
    assert not path.exists()
    return message


def leave_part(url: str, path: Path, *, size: int | None = None) -> None:
    """Leave behind what the first attempt brings (or ``size`` bytes), as a process that was killed does."""
    refusal(url, path, dataclasses.replace(LIMITS, attempts=1, bytes_per_second=1e9))
    if size is not None:
        part(path).write_bytes(BODY[:size])
