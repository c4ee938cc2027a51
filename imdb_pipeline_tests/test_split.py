"""A movie's side of the split follows from its id or its year alone, and never from which others there are."""

from __future__ import annotations

import polars as pl
import pytest

from imdb_pipeline.models.split import MIN_MOVIES, bucket_by_id, build_split, part_by_id, too_few


def rated(rows: list[tuple[str, int | None, float | None, int | None]]) -> pl.DataFrame:
    schema = {"tconst": pl.String, "release_year": pl.Int32, "average_rating": pl.Float64, "num_votes": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


@pytest.mark.parametrize(
    ("tconst", "part"),
    [
        # int(sha256(tconst).hexdigest()[:8], 16) % 10, worked out with sha256sum.
        ("tt0000020", "test"),
        ("tt0000008", "validation"),
        ("tt0000011", "validation"),
        ("tt0000001", "train"),
        ("tt0000006", "train"),
        ("tt0000004", "train"),
    ],
)
def test_frozen_examples_keep_their_side(tconst, part):
    split = build_split(rated([(tconst, 2000, 6.5, 30)]), day_year=2026)
    assert split["split"].to_list() == [part]


def test_a_movie_keeps_its_side_when_others_are_added():
    few = rated([(f"tt{number:07d}", 2000, 6.0, 50) for number in range(200)])
    many = rated([(f"tt{number:07d}", 2000, 6.0, 50) for number in range(5000)])
    before, after = build_split(few, day_year=2026), build_split(many, day_year=2026)
    assert before.select("tconst", "split").equals(after.head(200).select("tconst", "split"))
    shares = after["split"].value_counts(normalize=True)
    assert {row[0]: round(row[1], 1) for row in shares.iter_rows()} == {"train": 0.8, "validation": 0.1, "test": 0.1}


def test_only_movies_with_enough_votes_are_split_and_sorted_by_id():
    movies = rated(
        [
            ("tt0000003", 2000, 7.0, 30),
            ("tt0000002", 2000, 7.0, 29),
            ("tt0000001", None, 5.0, 31),
            ("tt1", 1990, None, None),
        ]
    )
    split = build_split(movies, day_year=2026)
    assert split["tconst"].to_list() == ["tt0000001", "tt0000003"]
    assert split["average_rating"].to_list() == [5.0, 7.0]
    assert build_split(movies, day_year=2026, min_votes=29).height == 3
    assert split.schema == {
        "tconst": pl.String,
        "average_rating": pl.Float64,
        "split": pl.String,
        "split_by_time": pl.String,
    }


@pytest.mark.parametrize(
    ("day_year", "expected"),
    [
        # The latest movie decides, as in imdb2010s: 2019 is complete in 2026.
        (2026, {2015: "train", 2016: "train", 2017: "validation", 2018: "test", 2019: "test", None: None}),
        # The day's own year is not complete: it is on no side.
        (2019, {2015: "train", 2016: "validation", 2017: "test", 2018: "test", 2019: None, None: None}),
        # A decade of which nothing else is known: train to 2016, validation 2017, test 2018 and 2019.
        (
            2026,
            dict.fromkeys(range(2010, 2017), "train") | {2017: "validation", 2018: "test", 2019: "test"},
        ),
        # A year without movies keeps its place.
        (2026, {2010: "train", 2017: "validation", 2019: "test"}),
        (2026, {2010: "train", 2018: "test", 2019: "test"}),
        (2026, {2019: "test"}),
        # A day before all its movies has no complete year.
        (2015, {2015: None, 2016: None}),
    ],
)
def test_by_time_the_last_two_complete_years_are_test(day_year, expected):
    movies = rated([(f"tt{place:07d}", year, 6.0, 30) for place, year in enumerate(expected)])
    split = build_split(movies, day_year=day_year).join(movies.select("tconst", "release_year"), on="tconst")
    assert dict(zip(split["release_year"], split["split_by_time"], strict=True)) == expected


def test_the_buckets_are_those_that_the_parts_are_made_of():
    ids = [f"tt{number:07d}" for number in range(300)]
    parts = {0: "test", 1: "validation"}
    assert [part_by_id(tconst) for tconst in ids] == [parts.get(bucket_by_id(tconst), "train") for tconst in ids]
    assert {bucket_by_id(tconst) for tconst in ids} == set(range(10))


def test_with_no_release_year_at_all_nothing_is_split_by_time():
    split = build_split(rated([("tt0000001", None, 6.0, 30)]), day_year=2026)
    assert split["split_by_time"].to_list() == [None]


def test_too_few_movies_are_named_with_what_is_needed():
    movies = rated([(f"tt{number:07d}", 2000, 6.0, 50) for number in range(MIN_MOVIES)])
    assert too_few(build_split(movies, day_year=2026)) is None
    message = "21 movies with 30 votes or more: too few to learn from, at least 300 are needed"
    assert too_few(build_split(movies.head(21), day_year=2026)) == message
    assert too_few(build_split(movies.clear(), day_year=2026)) is not None
