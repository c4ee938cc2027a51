"""A full disk: one line that says so, and nothing published is touched."""

import errno
import os
from pathlib import Path

import polars as pl
import pytest

from imdb_pipeline.errors import PipelineError
from imdb_pipeline.store import Store
from imdb_pipeline_tests.crash import run_child
from imdb_pipeline_tests.test_store import DAY, publish


def fill_the_disk(root, how):
    """In a child: run into the largest file that it may write, which is as a full disk is."""
    import resource

    store = Store(Path(root))
    limit = 200 if how == "manifest" else 50_000 if how == "shard" else 1000
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    frame = pl.DataFrame({"a": [f"{i * 7919}" for i in range(100_000)]})
    try:
        with store.stage("movies") as folder:
            match how:
                case "python":
                    (folder / "data.txt").write_bytes(bytes(100_000))
                case "polars":
                    frame.write_parquet(folder / "data.parquet")
                case "shard":
                    store.pool("documents").add(frame)
                case "manifest":
                    (folder / "data.txt").write_text("small")
                    store.publish(
                        folder, asset="movies", day=DAY, key="k", code_version="1", inputs={}, settings={}, rows=1,
                        info={},
                    )  # fmt: skip
                case "release":
                    revision = store.get("movies", DAY)
                    store.release("2026-01-03", {f"asset_{number}": revision for number in range(100)})
    except PipelineError as error:
        print(error)


@pytest.mark.parametrize("how", ["python", "polars", "shard", "manifest", "release"])
def test_a_full_disk_costs_one_line_and_leaves_current_as_it_was(tmp_path, how):
    store = Store(tmp_path)
    good = publish(store)
    store.release(DAY, {"movies": good})
    store.pool("documents").add(pl.DataFrame({"a": [1]}))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    ran = run_child(f"{__name__}:fill_the_disk", tmp_path, how)
    assert ran.stdout.strip() == f"{tmp_path}: {os.strerror(errno.EFBIG)}; free some space and run again", ran.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert store.recover() == []
    store.verify(store.released("movies"))


@pytest.mark.parametrize(
    "write",
    [
        lambda: pl.DataFrame({"a": [1]}).write_parquet("/dev/full"),
        lambda: Path("/dev/full").write_bytes(b"x"),
    ],
)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_whatever_library_meets_the_full_disk_the_error_is_one_line(tmp_path, write):
    store = Store(tmp_path)
    with (
        pytest.raises(PipelineError, match="No space left on device; free some space"),
        store.stage("movies"),
    ):
        write()
    assert list((tmp_path / ".staging").iterdir()) == []


def test_another_error_in_a_stage_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError), Store(tmp_path).stage("movies") as folder:
        (folder / "nothing").read_bytes()
