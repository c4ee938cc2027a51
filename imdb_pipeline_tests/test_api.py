"""The Python API on a finished home: polars frames in and out, the same answers as the command line's."""

from __future__ import annotations

import json

import polars as pl
import pytest

from imdb_pipeline import api
from imdb_pipeline.errors import InputError
from imdb_pipeline.serving import ServedRelease
from imdb_pipeline.store import Store


def answer(home, movie) -> dict:
    return ServedRelease(Store(home / "store")).predict(movie)


def test_many_movies_are_predicted_as_each_alone_in_the_order_asked_for(answering_home):
    movies = api.load_movies(answering_home)
    held = api.load_predictions(answering_home)
    without = movies.join(held, on="tconst", how="anti")["tconst"][0]
    asked = [held["tconst"][9], without, held["tconst"][3], held["tconst"][9]]
    frame = api.predict(asked, home=answering_home)
    assert frame["tconst"].to_list() == asked
    for row, tconst in zip(frame.to_dicts(), asked, strict=True):
        alone = answer(answering_home, tconst)
        assert {name: value for name, value in row.items() if value is not None} == {
            name: value for name, value in alone.items() if value is not None
        }
    for same in (pl.Series(asked), pl.DataFrame({"tconst": asked, "title": ["not read"] * 4})):
        assert api.predict(same, home=answering_home).equals(frame)
    assert api.predict(held, home=answering_home)["prediction"].equals(held["prediction"])


def test_movies_that_do_not_exist_come_as_dicts_files_or_a_frame_of_fields(answering_home, tmp_path):
    described = [{"title": "Not Made", "genres": ["Drama"]}, {"title": "Nor This", "release_year": 2030}]
    frame = api.predict(described, home=answering_home)
    assert frame["tconst"].is_null().all()
    assert frame["missing"].to_list()[0][0] == "is_adult"
    for row, movie in zip(frame.to_dicts(), described, strict=True):
        alone = answer(answering_home, movie)
        assert {name: row[name] for name in alone} == alone
    path = tmp_path / "movie.json"
    path.write_text(json.dumps(described[0]))
    assert api.predict(path, home=answering_home).equals(frame.head(1))
    assert api.predict(described[0], home=answering_home).equals(frame.head(1))
    assert api.predict(pl.DataFrame(described), home=answering_home).equals(frame)


def test_a_shared_name_and_an_unknown_one_are_told(answering_home):
    credits = api.load_movies(answering_home).select("credits").explode("credits").drop_nulls().unnest("credits")
    counts = credits.drop_nulls("name").group_by("name").agg(people=pl.col("nconst").n_unique())
    shared, people = counts.sort("people", "name").row(-1)
    assert people > 1
    (row,) = api.predict({"directors": [shared, "Nobody Ever"]}, home=answering_home).to_dicts()
    assert [(each["name"], each["people_of_that_name"]) for each in row["ambiguous"]] == [(shared, people)]
    assert row["ambiguous"][0]["others"]
    assert row["unknown"] == [{"field": "directors", "person": "Nobody Ever"}]


def test_an_explanation_is_a_frame_of_changes_and_its_trees_add_up(answering_home):
    tconst = api.load_predictions(answering_home).filter(split="train")["tconst"][0]
    frame = api.explain(tconst, home=answering_home, directors=["nm0000001"])
    told = ServedRelease(Store(answering_home / "store")).explain(tconst, directors=["nm0000001"])
    assert frame.filter(change="field")["field"].to_list() == [each["field"] for each in told["fields"]]
    assert frame.filter(change="field")["changed"].to_list() == [each["prediction"] for each in told["fields"]]
    assert frame.filter(change="person")["nconst"].to_list() == [each["nconst"] for each in told["people"]]
    (director,) = frame.filter(change="director").to_dicts()
    assert director["effect"] == pytest.approx(director["changed"] - director["prediction"])
    trees = frame.filter(change="trees")
    assert trees["field"][0] == "base"
    assert trees["effect"].sum() == pytest.approx(told["contributions"]["prediction"], abs=1e-9)
    assert frame["learned"].all()
    assert frame["prediction"].unique().to_list() == [told["prediction"]]


def test_nearest_movies_of_many_are_those_of_each(answering_home):
    ids = api.load_embeddings(answering_home)["tconst"].head(3)
    frame = api.similar(ids, k=4, home=answering_home)
    assert frame["asked"].to_list() == [each for each in ids for _ in range(4)]
    for tconst, own in frame.group_by("asked", maintain_order=True):
        assert own.equals(api.similar(tconst[0], k=4, home=answering_home))
    assert api.similar(ids.to_frame(), k=4, home=answering_home).equals(frame)


def test_nothing_asked_for_is_a_frame_without_rows(answering_home):
    assert api.predict([], home=answering_home).is_empty()
    assert "cosine" in api.similar([], home=answering_home).columns
    assert "prediction" in api.predict(pl.DataFrame({"tconst": []}), home=answering_home).columns


def test_what_is_no_movie_is_refused_naming_it(answering_home):
    with pytest.raises(InputError, match="the id or the title 'tt9999999'"):
        api.predict(["tt9999999"], home=answering_home)
    with pytest.raises(InputError, match="give ids or titles"):
        api.similar(pl.DataFrame({"title": ["A"]}), home=answering_home)
    with pytest.raises(InputError, match="unknown field 'titel'"):
        api.predict(pl.DataFrame({"titel": ["A"]}), home=answering_home)
    for nothing in (None, 7):
        with pytest.raises(InputError, match="expected an id, a title, a file or a dict"):
            api.predict([nothing], home=answering_home)  # pyright: ignore[reportArgumentType]


def test_the_leaderboard_is_a_frame_the_best_first(held_home):
    board = api.leaderboard(held_home)
    assert board.columns[:2] == ["model", "validation_mse"]
    assert board["validation_mse"].is_sorted()
    assert board["fit_seconds"].dtype == pl.Float64
