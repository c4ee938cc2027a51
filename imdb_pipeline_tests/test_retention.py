"""What a collection keeps and what it deletes: days, revisions, shards, refused files."""

import json
import os
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from imdb_pipeline.errors import PipelineError
from imdb_pipeline.pool import Pool
from imdb_pipeline.retention import collect
from imdb_pipeline.settings import RetentionSettings
from imdb_pipeline.status import home_status
from imdb_pipeline.store import Store

LONG_AFTER = date(2999, 1, 1)
"""Long after the tests publish: nothing counts as just made."""
DAYS = [f"2026-01-{number:02}" for number in range(1, 11)]
KEEP = RetentionSettings(dumps_days=2, days=4, documents_days=6, revisions=2)


def publish(store, asset, day, *, text="x", inputs=(), **tables):
    """Publish a day of an asset; ``documents=["h1"]`` is a table documents.parquet that lists the document h1."""
    with store.stage(asset) as folder:
        (folder / "data.txt").write_text(f"{asset} {day} {text}")
        for name, hashes in tables.items():
            frame = pl.DataFrame({"document_hash": hashes}, schema={"document_hash": pl.String})
            frame.write_parquet(folder / f"{name}.parquet")
        if "embeddings" in tables:
            (folder / "encoder.json").write_text(json.dumps({"pool": "embeddings_e"}))
        named = {revision.asset: revision for revision in inputs}
        return store.publish(
            folder, asset=asset, day=day, key=day, code_version="1", inputs=named, settings={}, rows=1, info={}
        )


def with_files(store, asset):
    return [day for day in store.days(asset) if not store.get(asset, day).expired]


@pytest.mark.parametrize(
    ("asset", "kept"),
    [
        ("title_basics_dump", DAYS[-2:]),
        ("movies", DAYS[-4:]),
        ("movie_map", DAYS[-4:]),
        ("movie_documents", DAYS[-6:]),
        ("catalogue_changes", DAYS[-6:]),
        ("leaderboard", DAYS[-6:]),
        ("champion", DAYS[-6:]),
        ("release", DAYS[-6:]),
        ("rating_split", DAYS[-6:]),
        ("prediction_ledger", DAYS),
    ],
)
def test_an_asset_keeps_the_files_of_as_many_days_as_its_kind_says(tmp_path, asset, kept):
    store = Store(tmp_path / "store")
    for day in DAYS:
        publish(store, asset, day, documents=["h"])
    collected = collect(store, KEEP, today=LONG_AFTER)
    assert with_files(store, asset) == kept
    assert store.days(asset) == DAYS
    assert [day for _, day, _ in collected.expired] == [day for day in DAYS if day not in kept]
    again = collect(store, KEEP, today=LONG_AFTER)
    assert (again.expired, again.removed, again.bytes_freed) == ([], [], 0)


def test_a_home_that_was_off_for_months_loses_nothing_by_it(tmp_path):
    store = Store(tmp_path / "store")
    for day in ("2024-05-01", "2025-01-01", "2026-01-01", "2026-01-02"):
        publish(store, "movies", day)
    assert collect(store, KEEP, today=LONG_AFTER).expired == []
    publish(store, "movies", "2026-01-03")
    assert [day for _, day, _ in collect(store, KEEP, today=LONG_AFTER).expired] == ["2024-05-01"]


def test_a_training_is_as_old_as_the_last_day_that_it_served(tmp_path):
    store = Store(tmp_path / "store")
    for day in DAYS:
        publish(store, "movies", day)
    for day in (DAYS[0], DAYS[3], DAYS[7]):
        publish(store, "mlp_predictor", day)
    collect(store, KEEP, today=LONG_AFTER)
    assert with_files(store, "movies") == DAYS[6:]
    assert with_files(store, "mlp_predictor") == [DAYS[3], DAYS[7]], "that of the 4th still serves on the 7th"


def test_the_release_and_the_newest_day_of_each_asset_stay_with_what_they_were_made_from(tmp_path):
    store = Store(tmp_path / "store")
    dump = publish(store, "title_basics_dump", DAYS[0])
    movies = publish(store, "movies", DAYS[0], inputs=[dump])
    store.release(DAYS[0], {"movies": movies})
    old = publish(store, "movies", DAYS[1])
    standing = publish(store, "mlp_predictor", DAYS[1], inputs=[old])
    for day in DAYS[2:]:
        publish(store, "movies", day, inputs=[publish(store, "title_basics_dump", day)])
    collect(store, RetentionSettings(dumps_days=1, days=1, revisions=1), today=LONG_AFTER)
    assert with_files(store, "movies") == [DAYS[0], DAYS[1], DAYS[-1]]
    assert with_files(store, "title_basics_dump") == [DAYS[0], DAYS[-1]]
    for revision in (dump, movies, old, standing):
        store.verify(revision)


def test_superseded_revisions_are_removed_whole_but_those_that_are_needed(tmp_path):
    store = Store(tmp_path / "store")
    made = [publish(store, "movies", DAYS[0], text=text) for text in "abcde"]
    store.release(DAYS[0], {"movies": made[1]})
    collected = collect(store, KEEP, today=LONG_AFTER)
    assert store.revisions("movies", DAYS[0]) == [made[1], made[3], made[4]]
    assert collected.removed == [("movies", DAYS[0], revision.id) for revision in (made[0], made[2])]
    assert not made[0].folder.exists()
    assert list((tmp_path / "store" / ".staging").iterdir()) == []


def test_what_was_made_today_or_yesterday_is_not_judged(tmp_path):
    store = Store(tmp_path / "store")
    for day in DAYS:
        publish(store, "movies", day)
    made = datetime.fromisoformat(store.get("movies", DAYS[0]).manifest["created_at"]).date()
    assert collect(store, KEEP, today=made + timedelta(days=1)).expired == []
    assert len(collect(store, KEEP, today=made + timedelta(days=3)).expired) == 6


def test_nothing_is_collected_while_a_run_is_at_work(tmp_path):
    store = Store(tmp_path / "store")
    for day in DAYS:
        publish(store, "movies", day)
    with store.lock("movies", "2026-02-01"):
        assert collect(store, KEEP, today=LONG_AFTER).busy
    assert with_files(store, "movies") == DAYS
    assert not collect(store, KEEP, today=LONG_AFTER).busy


def test_one_line_says_what_was_collected(tmp_path, caplog):
    store = Store(tmp_path / "store")
    for day in DAYS:
        publish(store, "movies", day, text="x" * 1_000_000)
    caplog.set_level("INFO", logger="imdb_pipeline")
    collect(store, KEEP, today=LONG_AFTER)
    assert caplog.messages == [
        "collected: 6 revisions expired, 0 removed, 0 shards retired, 0 refused days and 0 dead trainings deleted, "
        "6.0 MB freed"
    ]


def add(pool, *hashes):
    return pool.add(pl.DataFrame({"document_hash": list(hashes), "document": [f"text of {each}" for each in hashes]}))


def held(pool):
    return sorted(pool.read({"document_hash": pl.String})["document_hash"])


def test_rows_that_no_kept_day_lists_leave_the_pool_and_their_shards_later(tmp_path):
    store = Store(tmp_path / "store")
    pool = store.pool("documents")
    dead, mostly, alive = add(pool, "d1", "d2"), add(pool, "d3", "d4", "a1"), add(pool, "d5", "a2")
    publish(store, "movie_documents", DAYS[0], documents=["d1", "d2", "d3", "d4", "d5", "a1", "a2"])
    publish(store, "movie_documents", DAYS[1], documents=["a1", "a2"])
    assert collect(store, RetentionSettings(documents_days=2), today=LONG_AFTER).retired == []
    collected = collect(store, RetentionSettings(documents_days=1), today=LONG_AFTER)
    assert set(collected.retired) == {dead, mostly}
    assert held(pool) == ["a1", "a2", "d5"]
    assert alive in pool.shards()
    assert pool.dead_rows() == 1
    assert dead.exists(), "a reader may be scanning it"
    assert mostly.exists(), "a reader may be scanning it"
    assert collect(store, KEEP, today=LONG_AFTER + timedelta(days=1)).bytes_freed == 0
    size = dead.stat().st_size + mostly.stat().st_size
    assert collect(store, KEEP, today=LONG_AFTER + timedelta(days=2)).bytes_freed == size
    assert sorted(tmp_path.rglob("*.retired")) == []
    assert sorted(pool.root.glob("*.parquet")) == pool.shards()
    assert held(pool) == ["a1", "a2", "d5"]
    texts = pool.read({"document_hash": pl.String, "document": pl.String}).rows()
    assert ("a1", "text of a1") in texts


def test_vectors_live_as_long_as_a_day_of_embeddings_lists_them(tmp_path):
    store = Store(tmp_path / "store")
    mine, other = store.pool("embeddings_e"), store.pool("embeddings_other")
    for pool in (mine, other):
        for number in range(1, 4):
            add(pool, f"h{number}")
    for number, day in enumerate(DAYS[:3], start=1):
        listed = [f"h{number}", "h2"]
        publish(store, "movie_documents", day, documents=listed)
        publish(store, "movie_embeddings", day, embeddings=listed)
    collect(store, RetentionSettings(days=2), today=LONG_AFTER)
    assert held(mine) == ["h2", "h3"]
    assert held(other) == []


def test_the_vectors_of_titles_live_as_long_as_those_of_their_documents(tmp_path):
    store = Store(tmp_path / "store")
    pool = store.pool("embeddings_e")
    for number in range(1, 4):
        add(pool, f"h{number}")
        add(pool, f"t{number}")
    for number, day in enumerate(DAYS[:3], start=1):
        publish(store, "movie_documents", day, documents=[f"h{number}"])
        publish(store, "movie_embeddings", day, embeddings=[f"h{number}"], titles=[f"t{number}"])
    collect(store, RetentionSettings(days=2), today=LONG_AFTER)
    assert held(pool) == ["h2", "h3", "t2", "t3"]


def test_the_vectors_of_a_run_that_was_killed_while_it_embedded_are_kept(tmp_path):
    store = Store(tmp_path / "store")
    pool = store.pool("embeddings_e")
    add(pool, "h1")
    add(pool, "h2")
    add(pool, "h3")
    publish(store, "movie_documents", DAYS[0], documents=["h1"])
    publish(store, "movie_embeddings", DAYS[0], embeddings=["h1"])
    publish(store, "movie_documents", DAYS[1], documents=["h1", "h2"])
    collect(store, KEEP, today=LONG_AFTER)
    assert held(pool) == ["h1", "h2"]


def test_a_shard_that_was_just_written_is_not_judged(tmp_path):
    store = Store(tmp_path / "store")
    pool = store.pool("documents")
    shard = add(pool, "h1")
    written = datetime.fromtimestamp(shard.stat().st_mtime, UTC).date()
    assert collect(store, KEEP, today=written + timedelta(days=1)).retired == []
    assert collect(store, KEEP, today=written + timedelta(days=2)).retired == [shard]


def test_a_retired_shard_that_is_written_again_is_read_again(tmp_path):
    pool = Pool(tmp_path / "pool")
    shard = add(pool, "h1")
    pool.retire(shard, LONG_AFTER)
    assert held(pool) == []
    assert add(pool, "h1") == shard
    assert held(pool) == ["h1"]
    assert pool.delete_retired(LONG_AFTER) == 0


def test_a_damaged_mark_of_retirement_deletes_nothing(tmp_path):
    pool = Pool(tmp_path / "pool")
    shard = add(pool, "h1")
    pool.retire(shard, LONG_AFTER)
    shard.with_suffix(".retired").write_bytes(b"\xff")
    assert pool.delete_retired(LONG_AFTER) == 0
    assert pool.shards() == [shard]


def test_a_damaged_shard_is_told_of_and_put_aside(tmp_path, caplog):
    store = Store(tmp_path / "store")
    pool = store.pool("documents")
    good, bad = add(pool, "h1", "h2"), add(pool, "h3")
    bad.write_bytes(good.read_bytes())
    publish(store, "movie_documents", DAYS[0], documents=["h1", "h2"])
    assert collect(store, KEEP, today=LONG_AFTER).damaged == [bad]
    assert f"{bad}: its bytes are not what its name says" in caplog.text
    assert pool.verify() == []
    assert pool.shards() == [good]


@pytest.mark.parametrize("damage", [b"", b"PAR1 no footer PAR1", b"<html>"])
def test_a_shard_that_is_no_parquet_is_named_and_its_rows_can_be_made_again(tmp_path, damage):
    pool = Pool(tmp_path / "pool" / "documents")
    frame = pl.DataFrame({"document_hash": ["h1"], "document": ["text"]})
    add(pool, "h2")
    bad = pool.add(frame)
    bad.write_bytes(damage)
    for read in (held, Pool.rows):
        with pytest.raises(PipelineError, match=f"{bad}: a damaged shard .* move it out of its folder"):
            read(pool)
    (found,) = pool.verify()
    aside = pool.set_aside(found)
    assert aside.read_bytes() == damage
    assert held(pool) == ["h2"]
    assert pool.add(frame) == bad
    assert pool.verify() == []


def test_a_list_of_documents_that_cannot_be_read_keeps_the_pool_as_it_is(tmp_path):
    store = Store(tmp_path / "store")
    shard = add(store.pool("documents"), "h1")
    made = publish(store, "movie_documents", DAYS[0], documents=[])
    path = made.file("documents.parquet")
    path.write_bytes(b"")
    with pytest.raises(PipelineError, match=f"{path}: cannot be read"):
        collect(store, KEEP, today=LONG_AFTER)
    assert store.pool("documents").shards() == [shard]


def refused(home, name, *, reason, mtime):
    folder = home / "quarantine" / name
    folder.mkdir(parents=True)
    (folder / "title.basics.tsv.gz").write_bytes(b"<html>")
    told = {"day": DAYS[0], "snapshot": "0a", "asset": "movies", "reason": reason, "gates": {}}
    told["refused_at"] = "2026-01-01T12:00:00"
    (folder / "reason.json").write_text(json.dumps(told))
    os.utime(folder, (mtime, mtime))
    return folder


def test_refused_files_are_deleted_after_their_days(tmp_path):
    store = Store(tmp_path / "store")
    publish(store, "movies", DAYS[0])
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()
    folder = refused(tmp_path, f"{DAYS[0]}-0a", reason="no gzip", mtime=noon)
    assert collect(store, KEEP, today=date(2026, 1, 14)).quarantined == []
    assert collect(store, KEEP, today=date(2026, 1, 15)).quarantined == [folder]
    assert not folder.exists()


def test_what_a_killed_training_left_is_deleted_when_none_has_gone_on_from_it_for_two_weeks(tmp_path):
    store = Store(tmp_path / "store")
    publish(store, "movies", DAYS[0])
    left, at_work = (tmp_path / "checkpoints" / "mlp_predictor" / day for day in DAYS[:2])
    for folder, begun in ((left, 1), (at_work, 10)):
        epoch = folder / "by_id" / "epoch.safetensors"
        epoch.parent.mkdir(parents=True)
        epoch.write_bytes(bytes(1000))
        for path, day in ((epoch, begun), (epoch.parent, 1), (folder, 1)):
            noon = datetime(2026, 1, day, 12, tzinfo=UTC).timestamp()
            os.utime(path, (noon, noon))
    assert collect(store, KEEP, today=date(2026, 1, 14)).checkpoints == []
    collected = collect(store, KEEP, today=date(2026, 1, 15))
    assert (collected.checkpoints, collected.bytes_freed) == ([left], 1000)
    assert (left.exists(), at_work.exists()) == (False, True)


def test_the_status_shows_what_expired_is_left_over_refused_or_at_work(tmp_path):
    store = Store(tmp_path / "store")
    assert home_status(tmp_path)["assets"] == []
    for day in DAYS[:6]:
        publish(store, "movies", day)
    publish(store, "movie_documents", DAYS[5], documents=["h1", "h2"])
    add(store.pool("documents"), "h1", "h2", "h3")
    collect(store, KEEP, today=LONG_AFTER)
    left = store.root / ".staging" / f".movies-{'0' * 32}"
    left.mkdir()
    refused(tmp_path, f"{DAYS[0]}-0a", reason="no gzip", mtime=0)
    with store.lock("movies", DAYS[0]), store.stage("movies"):
        status = home_status(tmp_path)
    assert [(asset["asset"], asset["days"], asset["expired_days"]) for asset in status["assets"]] == [
        ("movie_documents", 1, 0),
        ("movies", 6, 2),
    ]
    assert [(pool["pool"], pool["shards"], pool["rows"], pool["live_rows"]) for pool in status["pools"]] == [
        ("documents", 1, 3, 2)
    ]
    assert status["pool_bytes"] == status["pools"][0]["bytes"] > 0
    assert status["leftovers"] == [str(left)]
    assert [(each["day"], each["reason"]) for each in status["quarantine"]] == [(DAYS[0], "no gzip")]
    assert [(lock["asset"], lock["day"], lock["pid"]) for lock in status["locks"]] == [("movies", DAYS[0], os.getpid())]
    assert json.loads(json.dumps(status)) == status
