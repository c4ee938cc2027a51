"""SIGKILL at every point of every write: readers see old or new, recovery clears up, a rerun gives the same bytes."""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from imdb_pipeline.durable import temporaries
from imdb_pipeline.errors import NotPublishedError
from imdb_pipeline.settings import load_settings
from imdb_pipeline.store import Store
from imdb_pipeline_tests.commands import run_command
from imdb_pipeline_tests.crash import kill, points_in_the_code, record
from imdb_pipeline_tests.crash_scenarios import FIRST, SCENARIOS
from imdb_pipeline_tests.tiny_dumps import FILES, write_dumps

pytestmark = pytest.mark.slow

WORK = "imdb_pipeline_tests.crash_scenarios:work"


@dataclass(frozen=True)
class Complete:
    """A scenario that ran to its end: the points that it reached, and what readers saw before and after."""

    points: list[str]
    old: dict[Any, Any]
    new: dict[Any, Any]


@pytest.fixture(scope="module")
def complete(tmp_path_factory) -> dict[str, Complete]:
    runs = {}
    for name, scenario in SCENARIOS.items():
        home = tmp_path_factory.mktemp(name)
        scenario.before(home)
        old = seen(home)
        runs[name] = Complete(record(WORK, name, home), old, seen(home))
    return runs


def seen(home: Path) -> dict[Any, Any]:
    """Return what readers see, part by part; each part is checked to be whole."""
    store = Store(home / "store")
    pool = store.pool("documents")
    assert pool.verify() == []
    documents = set(pool.read({"document_hash": pl.String})["document_hash"])
    parts: dict[Any, Any] = {"settings": load_settings(home)} | {shard.name: True for shard in pool.shards()}
    for asset in store.assets():
        for day in store.days(asset):
            for revision in store.revisions(asset, day):
                if revision.expired:
                    continue
                store.verify(revision)
                if asset == "movie_documents":
                    assert set(pl.read_parquet(revision.file("documents.parquet"))["document_hash"]) <= documents
            newest = store.get(asset, day)
            parts[asset, day] = (newest.data_hash, newest.expired)
    try:
        current = store.current()
    except NotPublishedError:
        parts["current"] = "damaged"
    else:
        for asset in current["assets"] if current else ():
            store.verify(store.released(asset))
        parts["current"] = current and (current["day"], current["assets"]["movies"]["data_hash"])
    return parts


def left_over(home: Path) -> list[Path]:
    """Return what was begun and not finished: temporary files, and revisions that nothing names."""
    store = Store(home / "store")
    days = [(asset, day) for asset in store.assets() for day in store.days(asset)]
    published = {revision.folder for asset, day in days for revision in store.revisions(asset, day)}
    revisions = {path.parent for path in home.rglob("manifest.json")}
    return [*(path for folder in (home, *home.rglob("*/")) for path in temporaries(folder)), *(revisions - published)]


def test_every_point_in_the_code_is_reached_by_a_scenario(complete):
    assert {point for run in complete.values() for point in run.points} == points_in_the_code()


@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_any_point_readers_see_old_or_new_and_a_rerun_ends_as_if_nothing_had_been(name, complete, tmp_path):
    whole = complete[name]
    for nth, point in enumerate(whole.points):
        home = tmp_path / str(nth)
        SCENARIOS[name].before(home)
        kill(WORK, name, home, nth=nth)
        now = seen(home)
        for part in now.keys() | whole.old.keys() | whole.new.keys():
            assert now.get(part) in (whole.old.get(part), whole.new.get(part)), (nth, point, part)
        Store(home / "store").recover()
        assert left_over(home) == [], (nth, point)
        seen(home)
        SCENARIOS[name].work(home)
        assert seen(home) == whole.new, (nth, point)
        assert left_over(home) == [], (nth, point)


@pytest.mark.parametrize(
    ("point", "nth", "published"),
    [
        ("file: written", 0, 0),
        ("publish: manifest written", 1, 1),
        ("publish: folder renamed", 2, 2),
    ],
)
def test_a_killed_fetch_shows_whole_dumps_alone_and_the_next_one_ends_it(tmp_path, point, nth, published):
    home, source = tmp_path / "home", write_dumps(tmp_path / "source")
    store = Store(home / "store")
    command = ("fetch", "--home", home, "--source", source, "--day", FIRST)
    kill("imdb_pipeline.cli:main", *command, nth=nth, point=point)
    assert len(store.assets()) == published
    for asset in store.assets():
        store.verify(store.get(asset, FIRST))
    store.recover()
    assert left_over(home) == []
    ran = run_command(*command)
    assert ran.status == 0, ran.err
    for file, text in FILES.items():
        path = store.get(file.removesuffix(".tsv.gz").replace(".", "_") + "_dump", FIRST).file(file)
        assert path.read_bytes() == (source / file).read_bytes()
        assert gzip.decompress(path.read_bytes()).decode() == text
    assert left_over(home) == []
    assert store.recover() == []
