"""The facts of the model card are those of what is published; the champion's own figures speak against it."""

from __future__ import annotations

import json
from functools import partial

import polars as pl
import pytest

from imdb_pipeline.models.conformal import coverage
from imdb_pipeline.models.evaluate import evaluate
from imdb_pipeline.results.card_facts import card_facts
from imdb_pipeline.results.ledger import empty_ledger
from imdb_pipeline.results.ledger_score import score
from imdb_pipeline.results.model_card import HTML_FILE, card_sections, write_model_card
from imdb_pipeline.store import Revision
from imdb_pipeline_tests.conftest import DAY
from imdb_pipeline_tests.published_by_hand import publish_by_hand

EVIL = "<script>alert('x')</script>"
MOVIES = 240


def movies() -> pl.DataFrame:
    numbers = range(MOVIES)
    credit = pl.Struct({"nconst": pl.String, "category": pl.String, "name": pl.String})
    return pl.DataFrame(
        {
            "tconst": [f"tt{number}" for number in numbers],
            "title": [EVIL] * MOVIES,
            "release_year": [2000 + number % 2 for number in numbers],
            "average_rating": [5.0 + number % 3 for number in numbers],
            "num_votes": [None if number == 1 else 40 for number in numbers],
            "genres": [["Drama"] for _ in numbers],
            "credits": [[{"nconst": f"nm{number % 8}", "category": "actor", "name": EVIL}] for number in numbers],
        },
        schema_overrides={"credits": pl.List(credit), "num_votes": pl.Int64},
    )


def unseen() -> pl.DataFrame:
    """Of every second movie, which is for test, predicted a rating point too high; of training people 0, 2, 4."""
    return movies().select(
        "tconst",
        split=pl.when(pl.int_range(MOVIES) % 2 == 1).then(pl.lit("test")).otherwise(pl.lit("train")),
        rating="average_rating",
        prediction=pl.col("average_rating") + 1.0 + 0.001 * (pl.int_range(MOVIES) % 7),
    )


def judged(error: float) -> dict:
    ratings = movies()["average_rating"].to_numpy()
    return {part: evaluate(ratings + error, ratings, ratings * 0 + 6.5, seed=0) for part in ("validation", "test")}


@pytest.fixture(scope="module")
def publish(tmp_path_factory):
    return partial(publish_by_hand, tmp_path_factory.mktemp("home"), info={"device_name": EVIL})


@pytest.fixture(scope="module")
def revisions(publish):
    held = pl.DataFrame(
        {
            "low": [1.0, 1.0, 6.0, 6.0] * 10,
            "high": [2.0, 2.0, 7.0, 7.0] * 10,
            "split": ["test"] * 40,
            "average_rating": [6.5] * 40,
            "num_votes": [50] * 40,
        }
    )
    champion = {
        "model": "blend",
        "reason": None,
        "id": EVIL,
        "trained": DAY,
        "challenge": {"replaces": True, "why": "there was no champion"},
        "folds": 5,
        "rated": MOVIES,
        "mean": 6.0,
    }
    metrics = {
        "model": "blend",
        "settings": {"method": EVIL, "weights": {"ridge": 0.5}},
        "n_train": 120,
        "metrics": judged(0.1),
        "by_time": {"n_train": 77, "metrics": judged(0.5)},
    }
    intervals = {"method": "conformal", "reason": None, "n_out_of_fold": 3, "n_validation": 4, "features": {"long": 1}}
    return {
        "movies": publish("movies", {"movies.parquet": movies()}),
        "rating_split": publish("rating_split", {}, rows=238),
        "champion": publish(
            "champion",
            {
                "champion.json": champion,
                "metrics.json": metrics,
                "unseen.parquet": unseen(),
                "intervals/intervals.json": intervals,
            },
        ),
        "rating_predictions": publish("rating_predictions", {"coverage.json": coverage(held)}),
        "prediction_ledger": publish("prediction_ledger", {"score.json": score(empty_ledger())}),
    }


def gather(revisions: dict[str, Revision], source: str = "sample") -> dict:
    return card_facts(revisions, day=DAY, source=source, min_votes=30, seed=3)


@pytest.fixture(scope="module")
def facts(revisions):
    return gather(revisions)


def test_the_facts_are_those_of_the_champion_and_of_its_test_movies(facts):
    assert json.loads(json.dumps(facts)) == facts
    assert facts["counts"]["with votes enough to learn from"] == 238
    assert facts["splits"] == {
        "by id": {"train": 120, "validation": MOVIES, "test": MOVIES},
        "by time": {"train": 77, "validation": MOVIES, "test": MOVIES},
    }
    assert "features" not in facts["intervals"]
    assert facts["made"]["seed"] == 7
    assert facts["made"]["seconds of fitting"] == 1.5
    assert "torch" in facts["made"]["versions of this day"]
    people = {row["group"]: row for row in facts["groups"] if row["grouping"] == "people"}
    assert people.keys() == {"not seen in training"}, "the odd movies' people are in no even movie"
    assert people["not seen in training"]["n"] == MOVIES // 2 - 1, "a movie without votes is in no group"
    assert people["not seen in training"]["bias"] == pytest.approx(1.003, abs=0.001)
    assert sum(row["n"] for row in facts["calibration"]) == MOVIES // 2 - 1


def test_what_speaks_against_the_champion_is_among_the_limits(facts):
    limits = " ".join(facts["limits"])
    assert "Fitted on earlier years alone, its R² is" in limits
    assert "Of movies with 30-99 votes the 90 % interval held 50.0 %" in limits
    assert "It predicts 1.00 too high for genre: Drama." in limits


def test_a_card_without_a_champion_says_why(revisions, publish, tmp_path):
    reason = f"no predictor beats the mean {EVIL}"
    champion = publish("champion", {"champion.json": {"model": None, "reason": reason}}, rows=0)
    facts = gather({**revisions, "champion": champion}, source="imdb")
    headings = [section.heading for section in card_sections(facts)]
    assert "Intervals" not in headings
    assert "Licence of the data" in headings
    write_model_card(tmp_path, facts)
    html = (tmp_path / HTML_FILE).read_text()
    assert "There is no champion: no predictor beats the mean &lt;script&gt;" in html
    assert "<script" not in html


def test_markup_from_the_data_is_harmless_on_the_card(facts, tmp_path):
    write_model_card(tmp_path, {**facts, "source": f"http://{EVIL}"})
    html = (tmp_path / HTML_FILE).read_text()
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_an_older_champion_does_not_claim_the_seconds_of_today(revisions, publish):
    champion = revisions["champion"]
    content = json.loads(champion.file("champion.json").read_bytes())
    content["challenge"] = {"replaces": False, "why": "worse", "challenger": "ridge"}
    files = {
        name: json.loads(champion.file(name).read_bytes()) for name in champion.manifest["files"] if "json" in name
    }
    files |= {"champion.json": content, "unseen.parquet": unseen()}
    made = gather({**revisions, "champion": publish("champion", files)})["made"]
    assert made["last challenge"] == "worse"
    assert "seconds of fitting" not in made
