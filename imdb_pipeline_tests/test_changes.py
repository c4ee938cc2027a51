"""What a day changed against the previous good one, and how the report shows it."""

from pathlib import Path

import polars as pl
import pytest

from imdb_pipeline.catalogue.changes import MOVERS, Changes, Day, find_changes, read_changes, write_changes
from imdb_pipeline.catalogue.documents import build_documents
from imdb_pipeline.results.report import write_report
from imdb_pipeline.store import Pool, Store
from imdb_pipeline_tests.conftest import DAY

LEFT_OUT = ("report", "release", "catalogue_changes")
BEFORE = "2026-03-02"
CREDIT = pl.Struct({"nconst": pl.String, "category": pl.String, "name": pl.String})
COLUMNS = {
    "tconst": pl.String,
    "title": pl.String,
    "original_title": pl.String,
    "title_type": pl.String,
    "is_adult": pl.Boolean,
    "release_year": pl.Int32,
    "runtime_minutes": pl.Int32,
    "genres": pl.List(pl.String),
    "credits": pl.List(CREDIT),
    "average_rating": pl.Float64,
    "num_votes": pl.Int64,
}
EVIL = '<script>alert("x")</script>'


def movie(number: int, votes: int | None = 100, rating: float | None = 7.0, **values) -> dict:
    return {
        "tconst": f"tt{number:07d}",
        "title": f"Film {number}",
        "original_title": None,
        "title_type": "movie",
        "is_adult": False,
        "release_year": 1999,
        "runtime_minutes": 90,
        "genres": ["Drama"],
        "credits": [credit("director")],
        "average_rating": rating,
        "num_votes": votes,
        **values,
    }


def credit(category: str, name: str = "Ann O'Hara") -> dict:
    return {"nconst": "nm0000001", "category": category, "name": name}


def day_of(day: str, movies: list[dict], pool: Pool) -> Day:
    frame = pl.DataFrame(movies, schema=COLUMNS)
    return Day(day, frame, build_documents(frame, pool)[0])


def compare(folder: Path, before: list[dict], today: list[dict], **arguments) -> Changes:
    pool = Pool(folder / "pool")
    return find_changes(day_of(DAY, today, pool), day_of(BEFORE, before, pool), pool, min_votes=30, **arguments)


def test_added_removed_and_changed_movies_are_listed_with_the_fields_that_differ(tmp_path):
    changes = compare(
        tmp_path,
        [movie(1), movie(2), movie(3), movie(4, votes=55), movie(6)],
        [
            movie(6, credits=[credit("director", "Mia Sol"), credit("actor")], release_year=2001),
            movie(5, votes=None, rating=None, title=EVIL, is_adult=True),
            movie(3, title=EVIL),
            movie(2, rating=7.1, votes=101),
            movie(1),
        ],
    )
    assert changes.changes.rows() == [
        ("tt0000005", EVIL, 1999, None, "added", None),
        ("tt0000003", EVIL, 1999, 100, "changed", ["title"]),
        ("tt0000006", "Film 6", 2001, 100, "changed", ["release_year", "directors", "actors"]),
        ("tt0000004", "Film 4", 1999, 55, "removed", None),
    ]
    assert changes.counts == {
        "previous_day": BEFORE,
        "movies_today": 5,
        "movies_before": 5,
        "documents_today": 5,
        "added": 1,
        "removed": 1,
        "changed": 2,
        "ratings_changed": 1,
        "votes_changed": 1,
        "crossed_up": 0,
        "crossed_down": 1,
        "share_changed": 0.4,
    }


def test_a_movie_that_only_gets_its_document_today_is_neither_added_nor_changed(tmp_path):
    pool, movies = Pool(tmp_path), [movie(1), movie(2, votes=29)]
    today, before = day_of(DAY, movies, pool), day_of(BEFORE, movies[:1], pool)
    changes = find_changes(today, Day(BEFORE, today.movies, before.movie_documents), pool, min_votes=30)
    assert changes.changes.is_empty()
    assert changes.counts["documents_today"] == 2


def test_movies_that_cross_the_votes_are_listed_whatever_they_lacked_before(tmp_path):
    changes = compare(
        tmp_path,
        [movie(1, votes=29), movie(2, votes=None, rating=None), movie(4, 31, 5.0), movie(5), movie(6), movie(7, 29)],
        [movie(1, 30, 7.5), movie(2, votes=40), movie(3, votes=500), movie(4, 29, 5.2), movie(5, None, None), movie(7)],
    )
    crossed = changes.crossed.select("tconst", "average_rating", "num_votes", "num_votes_before", "direction")
    assert crossed.rows() == [
        ("tt0000003", 7.0, 500, None, "up"),
        ("tt0000007", 7.0, 100, 29, "up"),
        ("tt0000002", 7.0, 40, None, "up"),
        ("tt0000001", 7.5, 30, 29, "up"),
        ("tt0000004", 5.2, 29, 31, "down"),
        ("tt0000005", None, None, 100, "down"),
        ("tt0000006", None, None, 100, "down"),
    ]
    assert changes.crossed["title"].to_list() == [f"Film {number}" for number in (3, 7, 2, 1, 4, 5, 6)]
    assert (changes.counts["crossed_up"], changes.counts["crossed_down"]) == (4, 3)


def test_movers_have_enough_votes_on_both_days_and_equal_moves_are_ordered_by_votes_then_id(tmp_path):
    before = [movie(number, rating=7.3) for number in range(1, 6)] + [movie(7, votes=29), movie(8, 10, 1.0)]
    today = [
        movie(1, rating=7.4),
        movie(2, rating=7.2),
        movie(3, votes=200, rating=7.4),
        movie(4, rating=5.0),
        movie(5, rating=7.3),
        movie(7, votes=30, rating=9.0),
        movie(8, 11, 9.0),
    ]
    movers = compare(tmp_path, before, today).movers
    assert movers.select("tconst", "before", "after", "move", "num_votes").rows() == [
        ("tt0000004", 7.3, 5.0, -2.3, 100),
        ("tt0000003", 7.3, 7.4, 0.1, 200),
        ("tt0000001", 7.3, 7.4, 0.1, 100),
        ("tt0000002", 7.3, 7.2, -0.1, 100),
    ]


def test_movers_are_the_largest_few(tmp_path):
    before = [movie(number, rating=1.0) for number in range(80)]
    today = [movie(number, rating=1.0 + number / 10) for number in range(80)]
    movers = compare(tmp_path, before, today).movers
    assert movers["tconst"].to_list() == [f"tt{number:07d}" for number in range(79, 79 - MOVERS, -1)]


def test_categories_genres_and_types_that_come_and_go_are_counted(tmp_path):
    changes = compare(
        tmp_path,
        [movie(1, genres=["Drama", "Noir"], credits=[credit("actor"), credit("self")]), movie(2, title_type="tvMovie")],
        [
            movie(1, genres=["Drama", "Anime"], credits=[credit("actor"), credit("intern"), credit("intern")]),
            movie(2, genres=None, credits=[credit("puppeteer")]),
        ],
    )
    assert list(changes.new_categories.items()) == [("intern", 2), ("puppeteer", 1)]
    assert changes.gone_categories == {"director": 1, "self": 1}
    assert (changes.new_genres, changes.gone_genres) == ({"Anime": 1}, {"Noir": 1})
    assert (changes.new_title_types, changes.gone_title_types) == ({}, {"tvMovie": 1})


def test_on_the_first_day_nothing_changed_and_the_counts_say_that_there_was_no_day_before(tmp_path):
    pool = Pool(tmp_path)
    first = find_changes(day_of(DAY, [movie(1), movie(2)], pool), None, pool, min_votes=30)
    later = compare(tmp_path, [movie(1)], [movie(2)])
    for name in ("changes", "crossed", "movers"):
        assert getattr(first, name).is_empty()
        assert getattr(first, name).schema == getattr(later, name).schema
    assert first.new_categories == first.new_genres == first.new_title_types == {}
    assert first.counts.keys() == later.counts.keys()
    said = {name: value for name, value in first.counts.items() if value}
    assert said == {"movies_today": 2, "documents_today": 2}
    assert first.counts["previous_day"] is None


def test_documents_whose_texts_are_lost_are_changed_in_fields_that_nobody_knows(tmp_path):
    pool = Pool(tmp_path / "pool")
    before = day_of(BEFORE, [movie(1), movie(2)], pool)
    (old,) = pool.shards()
    today = day_of(DAY, [movie(1, runtime_minutes=91), movie(2, genres=None)], pool)
    texts = pl.read_parquet(old)
    old.unlink()
    pool.add(texts.filter(pl.col("document").str.contains("Film 2")))
    assert find_changes(today, before, pool, min_votes=30).changes["fields"].to_list() == [None, ["genres"]]
    nowhere = find_changes(today, before, Pool(tmp_path / "nowhere"), min_votes=30)
    assert nowhere.changes["fields"].to_list() == [None, None]
    assert nowhere.counts["changed"] == 2


@pytest.mark.parametrize(
    ("old", "new", "fields"),
    [
        ({"title": "A", "plot": None, "year": 1}, {"title": "A", "year": 1}, ["plot"]),
        ({"title": "A", "year": 1}, {"title": "A", "plot": None, "year": 2}, ["plot", "year"]),
        ({"title": "A", "year": 1}, {"year": 1, "title": "A"}, []),
    ],
)
def test_documents_of_another_form_are_compared_field_by_field(tmp_path, old, new, fields):
    import orjson

    pool = Pool(tmp_path)
    texts = [orjson.dumps(text).decode() for text in (old, new)]
    pool.add(pl.DataFrame({"document_hash": ["a" * 64, "b" * 64], "document": texts}))
    movies = pl.DataFrame([movie(1)], schema=COLUMNS)
    before, today = (
        Day(day, movies, pl.DataFrame({"tconst": ["tt0000001"], "document_hash": [letter * 64]}))
        for day, letter in ((BEFORE, "a"), (DAY, "b"))
    )
    assert find_changes(today, before, pool, min_votes=30).changes["fields"].to_list() == [fields]


def test_more_documents_than_are_compared_at_a_time_keep_their_own_fields(tmp_path, monkeypatch):
    monkeypatch.setattr("imdb_pipeline.catalogue.changes._BATCH", 3)
    today = [movie(number, title="?") if number % 2 else movie(number, genres=[]) for number in range(8)]
    changes = compare(tmp_path, [movie(number) for number in range(8)], today)
    assert changes.changes["fields"].to_list() == [["genres"], ["title"]] * 4


def test_frames_that_are_only_scanned_give_the_same_and_survive_the_files(tmp_path):
    before, today = [movie(1), movie(2, votes=3)], [movie(2, rating=7.1, title="Ō"), movie(3, genres=["New"])]
    whole = compare(tmp_path, before, today)
    pool = Pool(tmp_path / "pool")
    scanned = []
    for day in (day_of(DAY, today, pool), day_of(BEFORE, before, pool)):
        for name in ("movies", "movie_documents"):
            getattr(day, name).write_parquet(tmp_path / f"{day.day}.{name}.parquet")
        movies, documents = (
            pl.scan_parquet(tmp_path / f"{day.day}.{name}.parquet") for name in ("movies", "movie_documents")
        )
        scanned.append(Day(day.day, movies, documents))
    lazily = find_changes(scanned[0], scanned[1], pool, min_votes=30)
    folder = tmp_path / "written"
    folder.mkdir()
    write_changes(folder, lazily)
    assert sorted(path.name for path in folder.iterdir()) == [
        "changes.parquet",
        "crossed.parquet",
        "movers.parquet",
        "summary.json",
    ]
    again = read_changes(folder)
    for name, value in vars(whole).items():
        same = value.equals if isinstance(value, pl.DataFrame) else value.__eq__
        assert same(getattr(again, name)), name
    assert again.movers.schema == whole.movers.schema


def report_of(held_home: Path, folder: Path, changes: Changes | None) -> str:
    """Write the report of a held day together with these changes, and return its HTML."""
    held = Store(held_home / "store")
    revisions = {asset: held.get(asset, DAY) for asset in held.assets() if asset not in LEFT_OUT}
    store = Store(folder / "store")
    if changes is not None:
        with store.stage("catalogue_changes") as staged:
            write_changes(staged, changes)
            revisions["catalogue_changes"] = store.publish(
                staged,
                asset="catalogue_changes",
                day=DAY,
                key="k",
                code_version="1",
                inputs={},
                settings={},
                rows=len(changes.changes),
                info={"seconds": 0.1, "device_name": "CPU"},
            )
    path = folder / "report.html"
    write_report(path, day=DAY, source="sample", revisions=revisions)
    return path.read_text()


def test_the_report_names_the_day_before_and_escapes_the_titles_that_changed(held_home, tmp_path):
    changes = compare(
        tmp_path,
        [movie(1, rating=5.0), movie(2, title=EVIL), movie(3, votes=29), movie(4, genres=[EVIL])],
        [movie(1, rating=7.5, title=EVIL), movie(3, votes=31, title=EVIL), movie(4), movie(5, votes=4321, title=EVIL)],
    )
    html = report_of(held_home, tmp_path, changes)
    section = html.split("<h2>What changed</h2>")[1].split("<h2>")[0]
    assert f"Compared with <b>{BEFORE}</b>" in section
    assert "<dt>movies added</dt><dd>1</dd>" in section
    assert ">Reached 30 votes</caption>" in section
    assert "+2.5" in section
    assert "4,321" in section
    assert '<th scope="row">title</th>' in section
    assert "genre gone" in section
    assert "&lt;script&gt;alert" in section


def test_the_report_of_the_first_day_says_so_and_one_without_the_asset_leaves_the_section_out(held_home, tmp_path):
    pool = Pool(tmp_path / "pool")
    first = find_changes(day_of(DAY, [movie(1)], pool), None, pool, min_votes=30)
    html = report_of(held_home, tmp_path, first)
    section = html.split("<h2>What changed</h2>")[1].split("<h2>")[0]
    assert section.count("<p>") == 1
    assert "This is the first day held" in section
    assert "<table" not in section
    assert "What changed" not in report_of(held_home, tmp_path, None)
