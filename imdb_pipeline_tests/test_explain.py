"""An explanation changes one thing at a time, says what it changed, and gives what the predictor made of it."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from imdb_pipeline.catalogue.documents import documents_of
from imdb_pipeline.errors import InputError
from imdb_pipeline.models.blend import BlendModel
from imdb_pipeline.models.conformal import Intervals
from imdb_pipeline.models.examples import INPUT_COLUMNS, Inputs
from imdb_pipeline.models.features import Features
from imdb_pipeline.models.mean import MeanModel
from imdb_pipeline.results.answers import Served, explain_movie, predict_new
from imdb_pipeline.results.counterfactuals import counterfactuals
from imdb_pipeline.results.explain import explain, field_contributions
from imdb_pipeline.results.new_movie import new_movie
from imdb_pipeline.results.plain_text import explanation_text, prediction_text

CREDIT = pl.Struct({"nconst": pl.String, "category": pl.String, "name": pl.String})
SCHEMA = dict.fromkeys(INPUT_COLUMNS, pl.String) | {
    "is_adult": pl.Boolean,
    "release_year": pl.Int32,
    "runtime_minutes": pl.Int32,
    "genres": pl.List(pl.String),
    "credits": pl.List(CREDIT),
}


def credit(nconst: str, category: str, name: str | None) -> dict:
    return {"nconst": nconst, "category": category, "name": name}


def movie(**values) -> pl.DataFrame:
    row = {
        "tconst": "tt0000001",
        "title": "A Film",
        "original_title": "Un film",
        "title_type": "movie",
        "is_adult": False,
        "release_year": 2001,
        "runtime_minutes": None,
        "genres": ["Drama"],
        "credits": [
            credit("nm1", "actress", "Ada"),
            credit("nm2", "actor", "Bo"),
            credit("nm3", "director", "Cy"),
            credit("nm3", "writer", "Cy"),
            credit("nm4", "composer", None),
        ],
    }
    return pl.DataFrame([row | values], schema=SCHEMA)


CATALOGUE = pl.DataFrame(
    {"credits": [[credit("nm0000008", "director", "Di"), credit("nm0000009", "director", "Di")]]},
    schema={"credits": pl.List(CREDIT)},
)
WORTH = {"nm1": 0.5, "nm2": 0.25, "nm3": -1.0, "nm4": 0.125, "nm0000008": 2.0}


def predict(movies: pl.DataFrame, documents: pl.Series) -> np.ndarray:
    """Each credit's worth, .0625 for a title, -.75 for a genre: sums of these are exact."""
    assert documents.equals(documents_of(movies))
    return np.array(
        [
            6
            + sum(WORTH.get(each["nconst"], 0) for each in row["credits"])
            + 0.0625 * bool(row["title"])
            - 0.75 * bool(row["genres"])
            for row in movies.iter_rows(named=True)
        ]
    )


def test_each_counterfactual_is_the_movie_but_for_one_thing():
    original = movie()
    found = counterfactuals(original, catalogue=CATALOGUE, directors=["Di", "Nobody"])
    assert found.movies.schema == original.schema
    assert found.movies["tconst"].unique().to_list() == ["tt0000001"]
    before = original.row(0, named=True)
    changed = {}
    for change, after in zip(found.changes, found.movies.iter_rows(named=True), strict=True):
        label = change["field"] if change["change"] == "field" else f"{change['change']} {change['nconst']}"
        changed[label] = {name: after[name] for name in INPUT_COLUMNS if after[name] != before[name]}
    people = {name: [each["nconst"] for each in after.pop("credits", [])] for name, after in changed.items()}
    assert {name: after for name, after in changed.items() if after} == {
        "title": {"title": "", "original_title": ""},
        "genres": {"genres": None},
        "release_year": {"release_year": None},
    }
    assert {name: ids for name, ids in people.items() if ids} == {
        "directors": ["nm1", "nm2", "nm3", "nm4"],
        "writers": ["nm1", "nm2", "nm3", "nm4"],
        "actors": ["nm3", "nm3", "nm4"],
        "principals": ["nm1", "nm2", "nm3", "nm3"],
        "person nm1": ["nm2", "nm3", "nm3", "nm4"],
        "person nm2": ["nm1", "nm3", "nm3", "nm4"],
        "person nm3": ["nm1", "nm2", "nm4"],
        "person nm4": ["nm1", "nm2", "nm3", "nm3"],
        "director nm0000008": ["nm1", "nm2", "nm0000008", "nm3", "nm4"],
        "director unknown:Nobody": ["nm1", "nm2", "unknown:Nobody", "nm3", "nm4"],
    }
    assert [name for name in people if not people[name] and not changed[name]] == []
    assert found.notes["ambiguous"][0]["people_of_that_name"] == 2
    assert found.notes["unknown"] == [{"field": "directors", "person": "Nobody"}]
    kept = found.movies.filter(pl.Series([change.get("nconst") == "nm0000008" for change in found.changes]))
    assert json.loads(documents_of(kept)[0])["directors"] == ["Di"]
    assert json.loads(documents_of(kept)[0])["writers"] == ["Cy"]


def test_ten_people_at_most_in_billing_order_and_each_once():
    many = [credit(f"nm{number}", "actor", f"P{number}") for number in (5, 3, 3, *range(20, 40))]
    found = counterfactuals(movie(credits=many))
    people = [change["nconst"] for change in found.changes if change["change"] == "person"]
    assert people == ["nm5", "nm3", *(f"nm{number}" for number in range(20, 28))]


def test_a_movie_of_which_nothing_is_known_has_nothing_to_take_away():
    bare = movie(title="", original_title="", release_year=None, genres=None, credits=[])
    assert counterfactuals(bare).changes == []
    assert explain(bare, predict)["fields"] == []
    (change,) = counterfactuals(bare, catalogue=CATALOGUE, directors=["nm0000009"]).changes
    assert change == {"change": "director", "name": "Di", "nconst": "nm0000009"}
    assert counterfactuals(movie(is_adult=True)).movies["is_adult"].to_list().count(False) == 1


@pytest.mark.parametrize("name", ["", "  "])
def test_a_director_without_a_name_is_refused(name):
    with pytest.raises(InputError, match="director: empty; give a name or an id"):
        counterfactuals(movie(), catalogue=CATALOGUE, directors=["Di", name])


def test_effects_are_what_the_predictor_made_of_the_changes_the_largest_first():
    found = explain(movie(), predict, catalogue=CATALOGUE, directors=["Di"])
    json.dumps(found, allow_nan=False)
    # Cy directs and writes, at -1 each.
    own = 6 + 0.5 + 0.25 - 2 + 0.125 + 0.0625 - 0.75
    assert found["prediction"] == own
    assert [(row["field"], row["effect"]) for row in found["fields"]] == [
        ("directors", -1.0),
        ("writers", -1.0),
        ("genres", -0.75),
        ("actors", 0.75),
        ("principals", 0.125),
        ("title", 0.0625),
        ("release_year", 0.0),
    ]
    assert [(row["nconst"], row["effect"], row["field"]) for row in found["people"]] == [
        ("nm3", -2.0, "directors, writers"),
        ("nm1", 0.5, "actors"),
        ("nm2", 0.25, "actors"),
        ("nm4", 0.125, "principals"),
    ]
    (director,) = found["other_directors"]
    assert (director["nconst"], director["effect"], director["prediction"]) == ("nm0000008", 3.0, own + 3)
    with pytest.raises(ValueError, match="not a number"):
        explain(movie(), lambda movies, documents: np.full(len(movies), np.nan))


def test_the_trees_contributions_are_summed_by_field():
    found = field_contributions(np.array([0.5, -0.25, -1.0, 0.125, 6.0]), ["title", "genres", "genres", "title"])
    assert found == {
        "base": 6.0,
        "fields": [{"field": "genres", "effect": -1.25}, {"field": "title", "effect": 0.625}],
        "prediction": 5.375,
    }
    with pytest.raises(ValueError, match="2 contributions of 2 features"):
        field_contributions(np.zeros(2), ["title", "genres"])


class Sum:
    """A predictor that adds up, as trees do: the title's worth, then the cast's."""

    def __init__(self):
        self.settings: dict = {"method": "a sum"}
        self.curve: list[dict] = []

    fields = ("title", "actors")

    def contributions(self, inputs: Inputs) -> np.ndarray:
        assert inputs.documents is not None
        titles = [0.5 * ('"title": ""' not in text) for text in inputs.documents]
        cast = [0.25 * len(json.loads(text)["actors"]) for text in inputs.documents]
        return np.stack([titles, cast, np.full(len(inputs), 6.0)], axis=1)

    def predict(self, inputs: Inputs) -> np.ndarray:
        np.testing.assert_array_equal(inputs.embeddings, encode(inputs.documents))
        return self.contributions(inputs).sum(axis=1)

    def save(self, folder) -> None: ...


def encode(documents) -> np.ndarray:
    """Changed documents have changed vectors."""
    return np.array([[len(text), sum(text.encode())] for text in documents], dtype=np.float32)


INTERVALS = Intervals(None, None, {"quantile": 1.5})


def test_the_model_that_serves_explains_a_movie_with_its_interval_and_its_trees():
    answer = explain_movie(movie(), Served("sum", Sum(), INTERVALS, encode), learned=False)
    json.dumps(answer, allow_nan=False)
    assert (answer["prediction"], answer["low"], answer["high"]) == (7.0, 5.5, 8.5)
    assert answer["contributions"] == {
        "model": "sum",
        "base": 6.0,
        "fields": [{"field": "title", "effect": 0.5}, {"field": "actors", "effect": 0.5}],
        "prediction": 7.0,
    }
    assert [row["field"] for row in answer["fields"]][:2] == ["title", "actors"]
    assert "learnt from this movie" not in explanation_text(answer)
    assert "learnt from this movie" in explanation_text(
        explain_movie(movie(), Served("sum", Sum(), INTERVALS, encode), learned=True)
    )


def test_of_a_blend_the_trees_among_its_members_are_explained():
    members = {"mean": MeanModel(np.array([6.0]), {}, []), "sum": Sum()}
    blend = BlendModel(members, {"weights": {"mean": 0.5, "sum": 0.5}, "offset": 6.0}, [])
    answer = explain_movie(movie(), Served("blend", blend, INTERVALS, encode), learned=False)
    assert answer["prediction"] == 6.5
    assert (answer["contributions"]["model"], answer["contributions"]["prediction"]) == ("sum", 7.0)
    only = BlendModel({"mean": members["mean"]}, {"weights": {"mean": 1.0}, "offset": 6.0}, [])
    assert "contributions" not in explain_movie(movie(), Served("blend", only, INTERVALS, encode), learned=False)


def test_a_movie_from_a_file_is_predicted_with_what_is_not_known_of_it():
    new = new_movie({"title": "New", "actors": ["Ada", "Bo"]}, CATALOGUE.with_columns(genres=None), source="file")
    answer = predict_new(new, Served("sum", Sum(), INTERVALS, encode))
    json.dumps(answer, allow_nan=False)
    assert (answer["prediction"], answer["low"], answer["high"], answer["basis"]) == (7.0, 5.5, 8.5, "future")
    assert [each["person"] for each in answer["unknown"]] == ["Ada", "Bo"]
    assert "not in the catalogue: Bo (actors)" in prediction_text(answer)


class Yearly(Sum):
    """A predictor to which a movie without a year is the best there is, as those of IMDb's own record may be."""

    features = Features.learn(pl.concat([movie(release_year=year, runtime_minutes=100) for year in (1990, 2004, 2005)]))

    def predict(self, inputs: Inputs) -> np.ndarray:
        assert inputs.documents is not None
        assert inputs.documents.equals(documents_of(inputs.movies))
        return np.array([9.0 if year is None else year / 400 for year in inputs.movies["release_year"]])


@pytest.mark.parametrize("members", [False, True], ids=["alone", "in a blend"])
def test_a_year_that_nobody_told_is_the_median_and_one_that_imdb_lacks_stays_unknown(members):
    blend = BlendModel({"yearly": Yearly()}, {"weights": {"yearly": 1.0}, "offset": 0.0}, [])
    served = Served("yearly", blend if members else Yearly(), INTERVALS, encode)
    new = new_movie({"title": "New"}, CATALOGUE.with_columns(genres=None), source="file")
    answer = predict_new(new, served)
    assert (answer["prediction"], answer["release_year"]) == (2004 / 400, None)
    assert explain_movie(new.movie, served, learned=False)["prediction"] == 2004 / 400
    lacking = explain_movie(movie(release_year=None), served, learned=False)
    assert lacking["prediction"] == 9.0
    assert {row["prediction"] for row in lacking["fields"]} == {9.0}
    dated = explain_movie(movie(release_year=2005), served, learned=False)
    assert [row["prediction"] for row in dated["fields"] if row["field"] == "release_year"] == [2004 / 400]


def test_an_explanation_reads_well_and_obeys_nothing_on_a_terminal():
    evil = "\x1b[2JBad\x07\nname"
    shown = movie(title=evil, credits=[credit("nm1", "actor", evil), credit("nm4", "composer", None)])
    answer = explain(shown, predict, catalogue=CATALOGUE, directors=["Di", evil])
    answer |= {"low": 4.5, "high": 8.25}
    answer["contributions"] = {**field_contributions(np.array([0.5, -0.25, 6.0]), ["title", "genres"]), "model": evil}
    text = explanation_text(answer)
    assert all(line.isprintable() for line in text.splitlines())
    assert "\ufffd[2JBad\ufffd\ufffdname (2001)" in text
    assert "90 % interval 4.5 to 8.2" in text
    assert "  −0.25  genres" in text
    assert "  +0.50  the cast" in text
    assert "   0.00  release year" in text
    assert "  +0.12  nm4, principals" in text
    assert "2 people are called Di: nm0000008 is meant" in text
    assert "not in the catalogue: \ufffd[2JBad" in text


def test_a_prediction_reads_well():
    answer = {"title": "A Film", "release_year": None, "prediction": 6.44, "low": 4.1, "high": 8.6}
    assert prediction_text(answer) == "A Film (no year)\npredicted 6.4, 90 % interval 4.1 to 8.6"
    known = {**answer, "basis": "out_of_fold", "average_rating": 7.0, "num_votes": 12345}
    assert "by models fitted without this movie" in prediction_text(known)
    assert "rated 7.0 in 12,345 votes" in prediction_text(known)
    few = {**known, "basis": "few_votes", "num_votes": 12}
    assert "which learnt a little from this movie" in prediction_text(few)
    assert "never saw this movie's rating" in prediction_text({**answer, "basis": "future"})
    noted = {**answer, "missing": ["genres"], "unknown_genres": ["Splatter"], "unknown": [], "ambiguous": []}
    assert prediction_text(noted).splitlines()[2:] == ["", "no genre of the catalogue: Splatter", "not given: genres"]
    more = {
        **answer,
        "unknown_categories": ["compser"],
        "repeated": [{"field": "directors", "value": "Bo\n"}, {"field": "genres", "value": "Drama"}],
    }
    assert prediction_text(more).splitlines()[3:] == [
        "no category of the catalogue: compser",
        "given more than once, counted once: Bo\ufffd (directors), Drama (genres)",
    ]


@pytest.mark.parametrize(
    ("count", "told"),
    [(10, []), (11, ["and 1 more not in the catalogue"]), (1510, ["and 1,500 more not in the catalogue"])],
)
def test_in_words_at_most_ten_of_a_kind_are_listed(count, told):
    answer = {"title": "A Film", "release_year": None, "prediction": 6.44, "low": 4.1, "high": 8.6}
    unknown = [{"field": "actors", "person": f"Nobody {number}"} for number in range(count)]
    lines = prediction_text({**answer, "unknown": unknown, "unknown_genres": ["x"] * count}).splitlines()
    assert lines[3:13] == [f"not in the catalogue: Nobody {number} (actors)" for number in range(10)]
    assert lines[13:-1] == told
    assert lines[-1].count("x") == 10
    names = {"people_of_that_name": 2, "nconst": "nm1", "credits": 3}
    text = prediction_text({**answer, "ambiguous": [{"name": f"N {number}", **names} for number in range(count)]})
    assert len(text.splitlines()) == 3 + 10 + len(told)
