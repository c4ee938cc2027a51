"""Publishing: revisions, pointers, releases, and what happens when a step dies before its end."""

import json

import polars as pl
import pytest

from imdb_pipeline.errors import InputError, NotPublishedError
from imdb_pipeline.store import Pool, Store, step_key, write_atomically

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
