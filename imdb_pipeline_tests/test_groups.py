"""Errors by votes, year, genre and people: the right movies in each group, the right figures of them."""

from __future__ import annotations

import json

import polars as pl
import pytest

from imdb_pipeline.models.groups import by_group, people_seen

CREDITS = pl.List(pl.Struct({"nconst": pl.String, "category": pl.String, "name": pl.String}))


def judged(**columns: list) -> pl.DataFrame:
    count = len(next(iter(columns.values())))
    usual = {
        "rating": [6.0] * count,
        "prediction": [6.0] * count,
        "num_votes": [50] * count,
        "release_year": [2015] * count,
        "genres": [["Drama"]] * count,
        "people_seen": [True] * count,
    }
    types = {"release_year": pl.Int32, "num_votes": pl.Int64, "genres": pl.List(pl.String), "people_seen": pl.Boolean}
    return pl.DataFrame({**usual, **columns}, schema_overrides=types)


def counts(frame: pl.DataFrame, grouping: str) -> dict[str, int]:
    return {row["group"]: row["n"] for row in by_group(frame, seed=0) if row["grouping"] == grouping}


def test_votes_fall_into_buckets_in_their_order():
    found = counts(judged(num_votes=[30, 99, 100, 999, 1_000, 9_999, 10_000, 2_000_000]), "votes")
    assert list(found.items()) == [("30-99", 2), ("100-999", 2), ("1,000-9,999", 2), ("10,000 or more", 2)]


def test_years_are_shown_one_by_one_and_many_of_them_by_decade():
    assert counts(judged(release_year=[2018, 2017, 2018, None]), "year") == {"2017": 1, "2018": 2, "unknown": 1}
    many = counts(judged(release_year=[*range(1987, 2014), None]), "year")
    assert many == {"1980s": 3, "1990s": 10, "2000s": 10, "2010s": 4, "unknown": 1}


def test_a_movie_stands_in_each_of_its_genres_the_commonest_first():
    found = counts(judged(genres=[["Drama", "War"], ["Drama"], None, ["Drama", "Drama"]]), "genre")
    assert next(iter(found.items())) == ("Drama", 3)
    assert found == {"Drama": 3, "War": 1, "unknown": 1}


def test_people_are_seen_not_seen_or_nobody_is_named():
    found = counts(judged(people_seen=[True, False, False, None]), "people")
    assert found == {"seen in training": 1, "not seen in training": 2, "nobody named": 1}


def test_the_figures_of_a_group_are_of_its_movies_alone():
    frame = judged(rating=[5.0, 7.0, 6.0] * 10, prediction=[6.0, 7.0, 9.0] * 10, genres=[["A"], ["A"], ["B"]] * 10)
    rows = {row["group"]: row for row in by_group(frame, seed=0) if row["grouping"] == "genre"}
    assert (rows["A"]["mse"], rows["A"]["mae"], rows["A"]["bias"]) == pytest.approx((0.5, 0.5, 0.5))
    assert rows["A"]["r2_within"] == pytest.approx(0.5)
    assert rows["A"]["bias_low"] < 0.5 < rows["A"]["bias_high"]
    assert (rows["B"]["mse"], rows["B"]["bias"], rows["B"]["r2_within"]) == (9, 3, None)
    json.dumps(list(rows.values()), allow_nan=False)


def test_a_handful_of_movies_has_no_interval():
    rows = by_group(judged(rating=[5.0] * 9), seed=0)
    assert all(row["mse_low"] is None and row["bias_high"] is None for row in rows)


def test_people_count_as_seen_by_their_id_for_direction_and_cast_alone():
    def movies(*credits: list[tuple[str | None, str]]) -> pl.DataFrame:
        named = [[{"nconst": who, "category": what, "name": "Same Name"} for who, what in each] for each in credits]
        return pl.DataFrame({"credits": pl.Series(named, dtype=CREDITS)})

    training = movies([("nm1", "director"), ("nm2", "composer")], [])
    seen = people_seen(
        movies(
            [("nm1", "actor"), ("nm9", "director")],
            [("nm9", "director"), ("nm1", "writer")],
            [("nm2", "actress")],
            [("nm1", "composer")],
            [],
        ),
        training,
    )
    assert seen.to_list() == [True, False, True, None, None]
    assert people_seen(movies([("nm1", "director")]), movies([])).to_list() == [False]
