"""Downloads that a full disk, a signal or another process stops: nothing is lost, and nothing is half there."""

import errno
import hashlib
import json
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from imdb_pipeline.dumps.download import get
from imdb_pipeline_tests.children import started
from imdb_pipeline_tests.downloading import (
    BODY,
    HALF,
    LIMITS,
    NAME,
    V1,
    assert_whole,
    note,
    part,
    ranges,
    refusal,
)
from imdb_pipeline_tests.faulty_server import (
    cut,
    serve,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / NAME


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_names_the_file(path):
    part(path).symlink_to("/dev/full")
    with serve({NAME: V1}) as (url, requests), pytest.raises(OSError, match="No space left") as caught:
        get(url + NAME, path, limits=LIMITS)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(part(path))
    assert len(requests) == 1
    assert not path.exists()


CHILD = """
import resource, signal, sys
from pathlib import Path
from imdb_pipeline.dumps.download import get
from imdb_pipeline.dumps.transport import Limits
url, path, file_limit = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits that it is ignored
if file_limit != "-":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_limit), int(file_limit)))
get(url, Path(path), limits=Limits(read_seconds=60, backoff_seconds=0.01))
"""


def child(url: str, path: Path, file_limit: int | str = "-") -> AbstractContextManager[subprocess.Popen]:
    """A download in a process of its own, which is killed in the end."""
    command = [sys.executable, "-c", CHILD, url, path, file_limit]
    return started(command, stderr=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen, path: Path, size: int) -> None:
    while not (part(path).exists() and part(path).stat().st_size >= size):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_a_file_that_may_not_grow_names_the_file_and_is_gone_on_with(path):
    with serve({NAME: V1}) as (url, requests):
        with child(url + NAME, path, file_limit=100_000) as process:
            _, said = process.communicate()
        assert process.returncode == 1
        assert f"File too large: '{part(path)}'" in said
        assert not path.exists()
        assert get(url + NAME, path, limits=LIMITS) is not None
    assert_whole(path, BODY)
    assert ranges(requests) == [None, "bytes=100000-"]


def test_a_killed_download_is_gone_on_with_by_another_process(path):
    stalls = [cut(60_000, ending="stall")] * 3
    with serve({NAME: V1}, {NAME: stalls}) as (url, requests):
        for kill in range(3):
            with child(url + NAME, path) as process:
                # The last bytes may still be in the process: the socket's chunks are larger than what is buffered.
                wait_for(process, path, 60_000 * kill + 40_000)
            assert process.returncode == -signal.SIGKILL
            assert not path.exists()
        done = get(url + NAME, path, limits=LIMITS)
    assert path.read_bytes() == BODY
    assert done is not None
    assert done.sha256 == hashlib.sha256(BODY).hexdigest()
    offsets = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in ranges(requests)[1:] if asked]
    assert len(offsets) == 3
    assert offsets == sorted(set(offsets))


def test_an_interrupted_download_keeps_its_part_and_two_at_once_are_refused(path):
    with serve({NAME: V1}, {NAME: [cut(HALF, ending="stall")]}) as (url, requests):
        with child(url + NAME, path) as process:
            wait_for(process, path, 1)
            assert f"another process is downloading it to {path}" in refusal(url + NAME, path)
            assert len(requests) == 1
            process.send_signal(signal.SIGINT)
            _, said = process.communicate()
        assert "KeyboardInterrupt" in said
        assert part(path).stat().st_size > 0
        assert json.loads(note(path).read_text())["etag"] == '"v1"'
        assert get(url + NAME, path, limits=LIMITS) is not None
    assert_whole(path, BODY)
    assert requests[-1].range is not None
