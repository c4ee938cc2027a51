"""Publishing: revisions, pointers, releases, locks, expiry, recovery, damaged files."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import pytest

from imdb_pipeline.errors import InputError, NotPublishedError, PipelineError
from imdb_pipeline.locks import held_partitions
from imdb_pipeline.store import Pool, Store, step_key, write_atomically
from imdb_pipeline_tests.children import started
from imdb_pipeline_tests.crash import ROOT, run_child

DAY = "2026-01-02"


def publish(store, asset="movies", day=DAY, text="a", key="k", inputs=None):
    with store.stage(asset) as folder:
        (folder / "data.txt").write_text(text)
        return store.publish(
            folder, asset=asset, day=day, key=key, code_version="1", inputs=inputs or {}, settings={}, rows=1, info={}
        )


def test_the_pointer_names_the_newest_revision_and_the_old_one_stays(tmp_path):
    store = Store(tmp_path)
    first, second = publish(store, text="a"), publish(store, text="b")
    assert store.get("movies", DAY).id == second.id != first.id
    assert first.file("data.txt").read_text() == "a"
    assert store.get("movies", DAY).file("data.txt").read_text() == "b"


def test_equal_bytes_have_an_equal_data_hash(tmp_path):
    store = Store(tmp_path)
    assert (
        publish(store, text="a").data_hash == publish(store, text="a").data_hash != publish(store, text="b").data_hash
    )


def test_a_step_that_fails_leaves_the_old_revision_and_no_staging(tmp_path):
    store = Store(tmp_path)
    good = publish(store)

    def die():
        with store.stage("movies") as folder:
            (folder / "data.txt").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        die()
    assert store.get("movies", DAY).id == good.id
    assert list((tmp_path / ".staging").iterdir()) == []


def test_a_manifest_says_what_was_made_from_what(tmp_path):
    store = Store(tmp_path)
    source = publish(store, "title_basics_dump")
    with store.stage("movies") as folder:
        pl.DataFrame({"a": [1]}).write_parquet(folder / "movies.parquet")
        made = store.publish(
            folder,
            asset="movies",
            day=DAY,
            key="k",
            code_version="7",
            inputs={"title_basics_dump": source},
            settings={"min_votes": 30},
            rows=1,
            info={"seconds": 1.0},
        )
    manifest = json.loads((made.folder / "manifest.json").read_text())
    assert manifest["inputs"]["title_basics_dump"]["data_hash"] == source.data_hash
    assert manifest["schema"] == {"movies.parquet": {"a": "Int64"}}
    assert manifest["files"]["movies.parquet"]["bytes"] == made.file("movies.parquet").stat().st_size
    assert manifest["settings"] == {"min_votes": 30}


def test_what_is_missing_is_said_with_the_days_that_are_held(tmp_path):
    store = Store(tmp_path)
    publish(store, day="2026-01-01")
    with pytest.raises(NotPublishedError, match=r"movies of 2026-01-02 is not published \(days held: 2026-01-01\)"):
        store.get("movies", DAY)


def test_the_newest_day_at_or_before_is_found(tmp_path):
    store = Store(tmp_path)
    publish(store, day="2026-01-01")
    later = publish(store, day="2026-01-05")
    assert store.at_or_before("movies", "2025-12-31") is None
    found = store.at_or_before("movies", "2026-01-04")
    assert found is not None
    assert found.day == "2026-01-01"
    assert store.at_or_before("movies", "2026-01-05") == later


@pytest.mark.parametrize(
    ("asset", "day"), [("../movies", DAY), ("movies", "../x"), ("Movies", DAY), ("movies", "today")]
)
def test_names_never_become_other_paths(tmp_path, asset, day):
    with pytest.raises(InputError):
        Store(tmp_path).latest(asset, day)


def test_a_release_names_one_set_and_never_moves_back(tmp_path):
    store = Store(tmp_path)
    old, new = publish(store, day="2026-01-01", text="old"), publish(store, day=DAY, text="new")
    store.release(DAY, {"movies": new})
    assert store.release("2026-01-01", {"movies": old})["day"] == DAY
    assert store.released("movies").file("data.txt").read_text() == "new"


def test_a_release_of_two_contents_of_one_input_is_refused(tmp_path):
    store = Store(tmp_path)
    first = publish(store, "movies", text="a")
    made = publish(store, "report", text="r", inputs={"movies": first})
    second = publish(store, "movies", text="b")
    with pytest.raises(NotPublishedError, match="report of 2026-01-02 was made from an older movies"):
        store.release(DAY, {"movies": second, "report": made})
    assert store.current() is None


def test_another_days_result_under_the_same_key_is_adopted_without_a_copy(tmp_path):
    store = Store(tmp_path)
    first = publish(store, day="2026-01-01", key="same")
    held = store.find("movies", "same")
    assert held is not None
    adopted = store.adopt(held, DAY, {})
    assert adopted.data_hash == first.data_hash
    assert adopted.file("data.txt").stat().st_ino == first.file("data.txt").stat().st_ino
    assert store.find("movies", "other") is None


def test_nothing_released_says_how_to_make_a_release(tmp_path):
    with pytest.raises(NotPublishedError, match="imdb-pipeline run"):
        Store(tmp_path / "store").released("movies")


def test_a_damaged_manifest_is_named(tmp_path):
    store = Store(tmp_path)
    (publish(store).folder / "manifest.json").write_text("{")
    with pytest.raises(NotPublishedError, match=r"manifest cannot be read"):
        store.get("movies", DAY)


def test_a_key_follows_each_of_its_parts():
    base = step_key("a", "1", {"b": "x"}, {"seed": 0})
    assert base == step_key("a", "1", {"b": "x"}, {"seed": 0})
    others = [
        step_key("c", "1", {"b": "x"}, {"seed": 0}),
        step_key("a", "2", {"b": "x"}, {"seed": 0}),
        step_key("a", "1", {"b": "y"}, {"seed": 0}),
        step_key("a", "1", {"b": "x"}, {"seed": 1}),
    ]
    assert len({base, *others}) == 5


def test_a_shard_is_named_by_its_content(tmp_path):
    pool = Pool(tmp_path / "pool")
    path = pool.add(pl.DataFrame({"a": [1, 2]}))
    assert pool.add(pl.DataFrame({"a": [1, 2]})) == path
    assert pool.shards() == [path]


def test_a_small_file_is_replaced_whole(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def unpublished(store, revision):
    """Undo the moving of the pointer, as if the publisher had died before it."""
    folder = revision.folder.parent
    older = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name < revision.id)
    (folder / "LATEST").write_text(older[-1]) if older else (folder / "LATEST").unlink()


def test_revisions_are_in_the_order_of_their_making(tmp_path):
    store = Store(tmp_path)
    made = [publish(store, text=text) for text in "abc"]
    assert store.revisions("movies", DAY) == made
    assert store.revisions("movies", "2026-01-09") == []


def test_a_clock_that_goes_back_does_not_turn_the_order_round(tmp_path):
    store = Store(tmp_path)
    first = publish(store)
    ahead = first.folder.with_name("29990101T000000.000000-" + first.id[-8:])
    first.folder.rename(ahead)
    manifest = json.loads((ahead / "manifest.json").read_text())
    (ahead / "manifest.json").write_text(json.dumps({**manifest, "revision": ahead.name}))
    (ahead.parent / "LATEST").write_text(ahead.name)
    second = publish(store, text="b")
    assert second.id > ahead.name
    assert [revision.id for revision in store.revisions("movies", DAY)] == [ahead.name, second.id]


def test_a_revision_that_was_never_pointed_at_is_not_seen_and_goes(tmp_path):
    store = Store(tmp_path)
    good = publish(store)
    lost = publish(store, text="lost")
    unpublished(store, lost)
    assert store.get("movies", DAY).id == good.id
    assert store.revisions("movies", DAY) == [good]
    assert store.recover() == [f"deleted {lost.folder}, which was not published"]
    assert not lost.folder.exists()
    assert store.recover() == []


def test_a_revision_that_was_never_pointed_at_does_not_become_an_old_one(tmp_path):
    store = Store(tmp_path)
    good = publish(store)
    lost = publish(store, text="lost")
    unpublished(store, lost)
    new = publish(store, text="new")
    assert store.revisions("movies", DAY) == [good, new]


@pytest.mark.parametrize("pointer", [None, b"", b"\xff\x00", b"../../x", b"20260102T000000.000000-00000000"])
def test_a_lost_pointer_is_made_again_from_the_newest_revision(tmp_path, pointer):
    store = Store(tmp_path)
    publish(store, text="old")
    newest = publish(store, text="new")
    path = newest.folder.parent / "LATEST"
    path.unlink() if pointer is None else path.write_bytes(pointer)
    if pointer is None:
        assert store.latest("movies", DAY) is None
    else:
        with pytest.raises(NotPublishedError, match=r"LATEST: damaged|manifest cannot be read"):
            store.get("movies", DAY)
    assert store.recover() == [f"{path} names {newest.id} again"]
    assert store.get("movies", DAY) == newest


def test_a_damaged_newest_manifest_gives_way_to_the_one_before(tmp_path):
    store = Store(tmp_path)
    old, new = publish(store, text="old"), publish(store, text="new")
    (new.folder / "manifest.json").write_text("{}")
    store.recover()
    assert store.get("movies", DAY) == old
    assert not new.folder.exists()


def test_a_day_without_a_revision_that_can_be_read_is_not_published(tmp_path):
    store = Store(tmp_path)
    (publish(store).folder / "manifest.json").write_text("[]")
    store.recover()
    assert store.days("movies") == []
    assert publish(store).file("data.txt").is_file()


def test_recovery_keeps_what_current_names(tmp_path):
    store = Store(tmp_path)
    publish(store)
    new = publish(store, text="new")
    store.release(DAY, {"movies": new})
    unpublished(store, new)
    store.recover()
    assert store.released("movies").file("data.txt").read_text() == "new"


@pytest.mark.parametrize("damage", [None, b"", b"[]", b"{", b"\xff"])
def test_a_lost_current_is_made_again_from_the_newest_release(tmp_path, damage):
    store = Store(tmp_path)
    movies = publish(store)
    current = store.release(DAY, {"movies": movies})
    publish(store, "release", inputs={"movies": movies})
    (tmp_path / "CURRENT").unlink() if damage is None else (tmp_path / "CURRENT").write_bytes(damage)
    with pytest.raises(NotPublishedError, match=r"no release yet|CURRENT: damaged"):
        store.released("movies")
    assert store.recover() == [f"{tmp_path / 'CURRENT'} names the release of {DAY} again"]
    assert store.current()["assets"] == current["assets"]  # pyright: ignore[reportOptionalSubscript]


def test_a_damaged_current_without_any_release_goes(tmp_path):
    store = Store(tmp_path)
    publish(store)
    (tmp_path / "CURRENT").write_bytes(b"")
    store.recover()
    assert store.current() is None


def test_verify_finds_a_file_that_is_not_what_was_published(tmp_path):
    store = Store(tmp_path)
    made = publish(store)
    store.verify(made)
    made.file("data.txt").write_text("b")
    with pytest.raises(PipelineError, match=rf"data\.txt: not the bytes that were published.* {DAY}"):
        store.verify(made)
    made.file("data.txt").unlink()
    with pytest.raises(PipelineError, match=r"data\.txt: missing; materialize movies of 2026-01-02 again"):
        store.verify(made)


def test_an_expired_revision_keeps_its_manifest_and_says_that_its_files_are_gone(tmp_path):
    store = Store(tmp_path)
    made = publish(store, text="abc")
    assert not made.expired
    assert store.expire(made) == 3
    assert made.expired
    assert [path.name for path in sorted(made.folder.iterdir())] == ["EXPIRED", "manifest.json"]
    assert store.get("movies", DAY) == store.at_or_before("movies", DAY) == made
    assert store.days("movies") == [DAY]
    assert store.get("movies", DAY).data_hash == made.data_hash
    for refused in (lambda: made.file("data.txt"), lambda: store.verify(made), lambda: store.adopt(made, DAY, {})):
        with pytest.raises(NotPublishedError, match=r"movies of 2026-01-02 expired .* opens from its documents"):
            refused()
    assert store.expire(made) == 0
    assert store.recover() == []


def test_an_expired_revision_is_not_found_by_its_key_and_an_older_one_is(tmp_path):
    store = Store(tmp_path)
    older = publish(store, day="2026-01-01", key="same")
    store.expire(publish(store, key="same"))
    assert store.find("movies", "same") == older
    store.expire(older)
    assert store.find("movies", "same") is None


def test_expiring_a_day_leaves_the_files_that_another_day_links(tmp_path):
    store = Store(tmp_path)
    first = publish(store, day="2026-01-01")
    adopted = store.adopt(first, DAY, {})
    assert store.expire(first) == 0
    store.verify(adopted)


def test_the_newest_revision_of_a_day_is_never_removed(tmp_path):
    store = Store(tmp_path)
    old, new = publish(store, text="old"), publish(store, text="new")
    with pytest.raises(ValueError, match="newest"):
        store.remove(new)
    assert store.remove(old) > 0
    assert store.revisions("movies", DAY) == [new]


def test_a_day_that_is_being_made_is_refused_to_another_thread(tmp_path):
    store = Store(tmp_path)
    said = []

    def second():
        try:
            with store.lock("movies", DAY):
                said.append("held")
        except PipelineError as error:
            said.append(str(error))

    with store.lock("movies", DAY), store.lock("movies", "2026-01-03"), store.lock("movie_map", DAY):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    second()
    assert said == [f"another run is making movies of {DAY}; wait for its end", "held"]
    assert list((tmp_path / ".locks").iterdir()) == []


@contextlib.contextmanager
def at_work(function, *arguments):
    """A child that prints a line when it is at work and ends with its stdin."""
    command = [sys.executable, "-m", "imdb_pipeline_tests.crash", "none", f"{__name__}:{function}", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent)}
    with started(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "at work"
        yield child


def make_the_day(root, text):
    """In a child: make the day under its lock, when told to."""
    store = Store(Path(root))
    try:
        with store.lock("movies", DAY), store.stage("movies") as folder:
            (folder / "data.txt").write_text(text)
            print("at work", flush=True)
            sys.stdin.read()
            store.publish(
                folder, asset="movies", day=DAY, key="k", code_version="1", inputs={}, settings={}, rows=1, info={}
            )
    except PipelineError as error:
        print(error, flush=True)


def test_of_two_processes_that_make_a_day_one_wins_and_the_other_says_so(tmp_path):
    store = Store(tmp_path)
    with at_work("make_the_day", tmp_path, "first") as first:
        assert [(held["asset"], held["day"], held["pid"]) for held in held_partitions(tmp_path / ".locks")] == [
            ("movies", DAY, first.pid)
        ]
        second = run_child(f"{__name__}:make_the_day", tmp_path, "second")
        assert second.stdout.strip() == f"another run is making movies of {DAY}; wait for its end"
        assert store.recover() == [], "the first is alive"
        first.communicate()
    assert store.get("movies", DAY).file("data.txt").read_text() == "first"
    assert held_partitions(tmp_path / ".locks") == []


def test_a_killed_process_holds_no_lock_and_its_staging_goes(tmp_path):
    store = Store(tmp_path)
    with at_work("make_the_day", tmp_path, "half"):
        pass  # in the end it is killed
    with store.lock("movies", DAY):
        pass
    (left,) = (tmp_path / ".staging").iterdir()
    assert store.recover() == [f"deleted {left}, which a killed run left"]
    assert list((tmp_path / ".staging").iterdir()) == []
    assert list((tmp_path / ".locks").iterdir()) == []


def test_a_run_waits_for_a_collection_and_a_collection_gives_way_to_a_run(tmp_path):
    store = Store(tmp_path)
    with store.lock("movies", DAY), store.at_rest() as at_rest:
        assert not at_rest
    with store.at_rest() as at_rest:
        assert at_rest
        child = threading.Thread(target=lambda: publish_under_lock(store))
        child.start()
        child.join(0.2)
        assert store.days("movies") == []
    child.join()
    assert store.days("movies") == [DAY]


def publish_under_lock(store):
    with store.lock("movies", DAY):
        publish(store)
