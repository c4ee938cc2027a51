"""`predict` and `explain` on a finished home: of a movie that it holds, of one from a file, and what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import polars as pl
import pytest

from imdb_pipeline import api
from imdb_pipeline.errors import InputError, NotPublishedError, PipelineError
from imdb_pipeline.models.examples import INPUT_COLUMNS, Inputs
from imdb_pipeline.serving import ServedRelease
from imdb_pipeline.store import Store
from imdb_pipeline_tests.answering import release
from imdb_pipeline_tests.commands import run_command


def predicted(movie, *, home) -> dict:
    return ServedRelease(Store(home / "store")).predict(movie)


def explained(movie, *, home, **options) -> dict:
    return ServedRelease(Store(home / "store")).explain(movie, **options)


@pytest.fixture(scope="module")
def home(answering_home):
    return answering_home


@pytest.fixture(scope="module")
def movies(home):
    return api.load_movies(home)


def one_json(*arguments: object) -> dict:
    ran = run_command(*arguments, "--json")
    assert (ran.status, ran.err) == (0, "")
    return json.loads(ran.out)


def refused(*arguments: object) -> str:
    """Return the one line that a command fails with."""
    ran = run_command(*arguments)
    assert (ran.status, ran.out) == (1, "")
    (line,) = ran.err.splitlines()
    assert "Traceback" not in line
    return line


@pytest.mark.parametrize("basis", ["held_out", "out_of_fold", "future"])
def test_a_movie_with_a_document_has_the_figures_of_the_predictions_table(home, movies, basis):
    unique = pl.col("title").str.to_lowercase().is_unique() & ~pl.col("title").str.contains(r"\(")
    named = movies.filter(unique).select("tconst", "title", "release_year")
    table = api.load_predictions(home).filter(basis=basis).join(named, on="tconst")
    row = table.row(0, named=True)
    by_id = one_json("predict", row["tconst"], "--home", home)
    assert {name: by_id[name] for name in row} == row
    assert (by_id["model"], by_id["model_id"]) == ("blend", "blend-7")
    assert by_id["low"] <= by_id["prediction"] <= by_id["high"]
    for called in (row["title"].upper(), f"{row['title']} ({row['release_year']})"):
        assert predicted(called, home=home) == by_id
    text = run_command("predict", row["tconst"], "--home", home).out
    assert f"predicted {row['prediction']:.1f}" in text
    assert ("rated" in text) == (row["average_rating"] is not None)


def test_a_movie_without_a_document_is_predicted_by_the_model_that_serves(home, movies):
    without = movies.join(api.load_predictions(home), on="tconst", how="anti")
    rated = pl.col("average_rating").is_not_null()
    for basis, rows in (("future", without.filter(~rated)), ("few_votes", without.filter(rated))):
        row = rows.row(0, named=True)
        answer = one_json("predict", row["tconst"], "--home", home)
        assert (answer["basis"], answer["split"], answer["num_votes"]) == (basis, None, row["num_votes"])
        assert 1 <= answer["low"] <= answer["prediction"] <= answer["high"] <= 10
        told = explained(row["tconst"], home=home)
        assert answer["prediction"] == pytest.approx(told["prediction"], abs=1e-9)
        assert not told["learned"]
        assert ("learnt a little" in told["says"]) == (basis == "few_votes")


def test_a_movie_whose_document_is_gone_is_predicted_by_the_model_that_did_not_see_it(home, tmp_path):
    table = api.load_predictions(home)
    gone = table.filter(basis="out_of_fold").row(0, named=True)
    less = table.filter(pl.col("tconst") != gone["tconst"])
    other = shutil.copytree(home, tmp_path / "home")
    release(
        Store(other / "store"), rating_predictions=lambda folder: less.write_parquet(folder / "predictions.parquet")
    )
    answer = predicted(gone["tconst"], home=other)
    assert (answer["basis"], answer["split"], answer["num_votes"]) == ("out_of_fold", "train", gone["num_votes"])
    for name in ("prediction", "low", "high"):
        assert answer[name] == pytest.approx(gone[name], abs=1e-5)


def test_a_movie_from_a_file_is_predicted_and_the_answer_says_what_is_not_known(home, movies, tmp_path):
    credits = movies.select("credits").explode("credits").drop_nulls().unnest("credits").drop_nulls("name")
    named = credits.group_by("name").agg(pl.col("nconst").n_unique()).sort("nconst", "name")
    (shared, people), (unique, _) = named.row(-1), named.row(0)
    assert people > 1
    value = {
        "title": "Not Made Yet",
        "genres": ["Drama", "Splatter"],
        "release_year": 2031,
        "directors": [shared],
        "actors": [unique, "Nobody Ever"],
    }
    path = tmp_path / "movie.json"
    path.write_text(json.dumps(value))
    answer = one_json("predict", path, "--home", home)
    assert answer["basis"] == "future"
    assert 1 <= answer["low"] <= answer["prediction"] <= answer["high"] <= 10
    assert answer["unknown"] == [{"field": "actors", "person": "Nobody Ever"}]
    assert [(each["name"], each["people_of_that_name"]) for each in answer["ambiguous"]] == [(shared, people)]
    assert answer["unknown_genres"] == ["Splatter"]
    assert answer["missing"] == ["is_adult", "runtime_minutes", "writers", "producers", "principals"]
    assert predicted(path, home=home) == predicted(value, home=home) == answer
    text = run_command("predict", path, "--home", home).out
    assert "not in the catalogue: Nobody Ever (actors)" in text
    assert f"{people} people are called {shared}" in text
    bare = predicted({}, home=home)
    assert bare["missing"][0] == "title"
    assert np.isfinite(bare["prediction"])


def test_an_explanation_of_a_rated_movie_sums_to_what_the_trees_predict(home, movies):
    rated = api.load_predictions(home).filter(split="train")["tconst"]
    row = movies.filter(
        pl.col("tconst").is_in(rated.implode())
        & pl.col("credits").list.eval(pl.element().struct.field("category") == "actor").list.any()
    ).row(0, named=True)
    answer = one_json("explain", row["tconst"], "--home", home)
    assert answer["learned"]
    assert answer["tconst"] == row["tconst"]
    assert {"title", "actors"} <= {each["field"] for each in answer["fields"]}
    trees = answer["contributions"]
    total = trees["base"] + sum(each["effect"] for each in trees["fields"])
    served = ServedRelease(Store(home / "store")).served
    inputs = Inputs(movies.filter(tconst=row["tconst"]).select(INPUT_COLUMNS), np.zeros((1, 1), dtype=np.float32))
    (expected,) = served.model.members["boosting"].predict(inputs)  # pyright: ignore[reportAttributeAccessIssue]
    assert trees["model"] == "boosting"
    assert total == pytest.approx(expected, abs=1e-9)
    assert trees["prediction"] == pytest.approx(expected, abs=1e-9)
    text = run_command("explain", row["tconst"], "--home", home).out
    assert "the cast" in text
    assert "learnt from this movie's own rating" in text


def test_an_explanation_of_a_file_gives_what_predict_gives_of_the_changed_file(home, movies, tmp_path):
    cast = movies.select("credits").explode("credits").drop_nulls().unnest("credits").drop_nulls("name")
    (actor, director, other) = (
        cast.filter(category=category)["nconst"].unique().sort()[place]
        for category, place in (("actor", 0), ("director", 0), ("director", 1))
    )
    value = {"title": "Not Made", "directors": [{"nconst": director}], "actors": [{"nconst": actor}, "Nobody Ever"]}
    path = tmp_path / "movie.json"
    path.write_text(json.dumps(value))
    answer = one_json("explain", path, "--home", home, "--director", other, "--director", "No Such Director")
    assert not answer["learned"]
    assert answer["prediction"] == pytest.approx(predicted(value, home=home)["prediction"], abs=1e-6)
    changed = {each["field"]: each["prediction"] for each in answer["fields"]}
    directed = {each["nconst"]: each["prediction"] for each in answer["other_directors"]}
    for prediction, change in (
        (changed["actors"], {"actors": []}),
        (changed["directors"], {"directors": []}),
        (directed[other], {"directors": [{"nconst": other}]}),
    ):
        assert prediction == pytest.approx(predicted(value | change, home=home)["prediction"], abs=1e-6)
    assert [(each["field"], each["person"]) for each in answer["unknown"]] == [
        ("actors", "Nobody Ever"),
        ("directors", "No Such Director"),
    ]
    assert answer["missing"][0] == "genres"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"title": "A", "release_year": "2001"}', 'release_year: expected a year from 1870 to 2200, found "2001"'),
        ('{"title": "A", "actors": [7]}', "actors, number 1: expected a name"),
        ('{"titel": "A"}', "unknown field 'titel'; did you mean 'title'?"),
        ('{"title": ', "not a movie in JSON"),
        ("[]", "expected a JSON object of a movie's fields"),
    ],
)
def test_a_file_that_is_no_movie_is_refused_in_one_line(home, tmp_path, content, says):
    path = tmp_path / "movie.json"
    path.write_text(content)
    for command in ("predict", "explain"):
        line = refused(command, path, "--home", home)
        assert says in line
        assert str(path) in line


def test_what_is_not_there_is_refused_in_one_line(home, movies, tmp_path):
    assert "No such file" in refused("predict", tmp_path / "none.json", "--home", home)
    known = movies.join(api.load_predictions(home), on="tconst")["title"][0]
    assert known in refused("predict", known + "x", "--home", home)
    assert "no movie of the catalogue has the id" in refused("explain", "tt9999999", "--home", home)
    assert "no movie of the catalogue" in refused("predict", "x" * 5000, "--home", home)
    twins = movies.filter(pl.col("title").str.to_lowercase().is_duplicated())
    for title in twins["title"].unique().sort()[:3]:
        with_document = twins.filter(title=title).join(api.load_predictions(home), on="tconst", how="semi")
        if len(with_document) != 1:
            assert "movies are called" in refused("predict", title, "--home", home)
        else:
            assert predicted(title, home=home)["tconst"] == with_document["tconst"][0]
    with pytest.raises(InputError, match="not in JSON's own values"):
        predicted({"genres": {"Drama"}}, home=home)
    with pytest.raises(NotPublishedError, match="holds no release yet"):
        predicted("tt0000001", home=tmp_path / "none")


@pytest.mark.parametrize("name", ["model/settings.json", "model/boosting/trees_0.txt", "intervals/intervals.json"])
def test_a_model_that_was_tampered_with_is_not_loaded(home, tmp_path, name):
    tampered = shutil.copytree(home, tmp_path / "home")
    revision = Store(tampered / "store").released("champion")
    path = revision.file(name)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1] + b" ")
    tconst = api.load_predictions(tampered).filter(basis="held_out")["tconst"][0]
    for arguments in (["explain", tconst], ["predict", _file(tmp_path)]):
        line = refused(*arguments, "--home", tampered)
        assert f"{path.name}: not the bytes that were published" in line
    # What was predicted before is in a table, and no model is loaded for it.
    assert run_command("predict", tconst, "--home", tampered).status == 0


def _file(folder):
    path = folder / "movie.json"
    path.write_text('{"title": "A"}')
    return path


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"model": None, "reason": "no predictor beats the mean on validation"}, "no predictor beats the mean"),
        ({"model": "svr", "reason": None}, "an older version made it"),
    ],
)
def test_without_a_champion_that_can_serve_the_answer_says_why_and_what_to_do(home, tmp_path, content, says):
    other = shutil.copytree(home, tmp_path / "home")
    release(Store(other / "store"), champion=lambda folder: (folder / "champion.json").write_text(json.dumps(content)))
    line = refused("predict", api.load_predictions(home)["tconst"][0], "--home", other)
    assert says in line
    assert "imdb-pipeline run" in line
    with pytest.raises(PipelineError, match=says):
        explained({"title": "A"}, home=other)


def test_trees_alone_are_served_without_the_encoder(home, tmp_path):
    other = shutil.copytree(home, tmp_path / "home")
    store = Store(other / "store")
    blend = store.released("champion")

    def trees(folder):
        (folder / "champion.json").write_text(json.dumps({"model": "boosting", "id": "boosting-8", "reason": None}))
        shutil.copytree(blend.folder / "model" / "boosting", folder / "model")
        shutil.copytree(blend.folder / "intervals", folder / "intervals")
        for name in ("unseen.parquet", "few_votes.parquet"):
            shutil.copy(blend.file(name), folder)

    release(store, champion=trees)
    serving = ServedRelease(store)
    answer = serving.explain({"title": "A", "genres": ["Drama"]})
    assert (answer["model"], answer["model_id"]) == ("boosting", "boosting-8")
    assert answer["contributions"]["prediction"] == pytest.approx(answer["prediction"], abs=1e-9)
    assert serving.served.encode is None
    assert ServedRelease(Store(home / "store")).served.encode is not None


def test_a_model_that_another_version_wrote_is_refused_in_one_line(home, tmp_path):
    other = shutil.copytree(home, tmp_path / "home")
    store = Store(other / "store")
    blend = store.released("champion")

    def without_trees(folder):
        shutil.copytree(blend.folder, folder, dirs_exist_ok=True)
        (folder / "manifest.json").unlink()
        (folder / "model" / "boosting" / "trees_0.txt").unlink()

    release(store, champion=without_trees)
    line = refused("explain", api.load_predictions(home)["tconst"][0], "--home", other)
    assert "trees_0.txt: missing file" in line
    assert "imdb-pipeline run --force" in line


def test_what_serves_is_loaded_once_and_answers_on(home, tmp_path):
    moved = shutil.copytree(home, tmp_path / "home")
    serving = ServedRelease(Store(moved / "store"))
    first = serving.predict({"title": "A", "genres": ["Drama"]})
    shutil.rmtree(moved / "store" / "champion")
    assert serving.predict({"title": "A", "genres": ["Drama"]}) == first


def test_the_home_of_a_whole_run_answers_with_its_own_champion(held_home):
    """Which one that is, or whether there is one, is chance among so few movies."""
    serving = Store(held_home / "store").released("champion")
    tconst = api.load_movies(held_home).filter(pl.col("num_votes") >= 30)["tconst"][0]
    if not serving.manifest["rows"]:
        assert "there is no champion" in refused("predict", tconst, "--home", held_home)
        return
    (row,) = api.load_predictions(held_home).filter(tconst=tconst).to_dicts()
    answer = one_json("predict", tconst, "--home", held_home)
    assert {name: answer[name] for name in row} == row
    assert answer["basis"] in ("held_out", "out_of_fold")
    told = one_json("explain", tconst, "--home", held_home)
    assert told["model"] == answer["model"]
    assert told["learned"]
