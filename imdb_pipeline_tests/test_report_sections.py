"""What the report says of predictors and champion, made from assets by hand; what is not delivered is left out."""

from __future__ import annotations

import re
from datetime import date
from functools import partial
from html import unescape

import polars as pl
import pytest

from imdb_pipeline.models.evaluate import calibration, evaluate
from imdb_pipeline.models.groups import by_group
from imdb_pipeline.models.leaderboard import leaderboard_rows
from imdb_pipeline.results.interval_line import WIDTH, IntervalLine, bias_line, r2_line
from imdb_pipeline.results.ledger import Ledger, empty_ledger
from imdb_pipeline.results.ledger_score import score
from imdb_pipeline.results.report import write_report
from imdb_pipeline.results.report_errors import graded, groupings
from imdb_pipeline.results.report_models import audit, boards, gains
from imdb_pipeline.results.report_study import reproduction
from imdb_pipeline_tests.conftest import DAY
from imdb_pipeline_tests.published_by_hand import publish_by_hand

EVIL = "<script>alert('x')</script>"
RATINGS = [4.0, 5.0, 6.0, 7.0, 8.0, 6.0] * 5
ERRORS = {"mean": None, "linear": 0.9, "ridge": 0.5, "blend": 0.4}


def held_out(error: float | None) -> pl.DataFrame:
    ratings = pl.Series(RATINGS)
    drift = pl.Series([1.0, -1.0] * 15) * (error or 0)
    predictions = pl.Series([6.2] * len(RATINGS)) if error is None else ratings + drift
    frame = pl.DataFrame({"tconst": [f"tt{row}" for row in range(30)], "rating": ratings, "prediction": predictions})
    return pl.concat([frame.with_columns(split=pl.lit(part)) for part in ("validation", "test")])


def rows(*, by_time: bool) -> list[dict]:
    results, frames = [], {}
    for name, error in ERRORS.items():
        frame = frames[name] = held_out(error)
        judged = {}
        for part in ("validation", "test"):
            each = frame.filter(split=part)
            predicted, ratings = (each[column].to_numpy() for column in ("prediction", "rating"))
            judged[part] = evaluate(predicted, ratings, ratings * 0 + 6.2, seed=0)
        timed = {"n_train": 7, "metrics": judged} if by_time else None
        results.append({"model": name, "settings": {}, "n_train": 1234, "metrics": judged, "by_time": timed})
    return leaderboard_rows(results, frames, frames if by_time else None)


def study_told() -> dict:
    given = {"study_mse": 1.187, "study_r2": 0.275, "differs": [f"smaller {EVIL}"], "skipped": None}
    figures = {"mse": 1.3, "r2": 0.21, "r2_low": 0.17, "r2_high": 0.25}
    nothing = dict.fromkeys(figures)
    rows = [
        {"predictor": "linear", **given, **figures, "how": EVIL},
        {"predictor": "mlp", **given, **figures, "how": EVIL, "differs": [*given["differs"], "5 epochs"]},
        {"predictor": "sgd", **given, **nothing, "how": None, "differs": [], "skipped": f"not there {EVIL}"},
    ]
    return {"rows": rows, "map": {"trustworthiness": 0.875, "differs": ["1,000 epochs"]}, "too_few": None}


def evaluation() -> dict:
    folds = [{"bucket": bucket, "n": 3, "mse": 1.0, "r2": 0.3, "chosen_with": False} for bucket in range(10)]
    r2 = {"r2": 0.4, "r2_low": 0.3, "r2_high": 0.5}
    rotation = {"n": 30, "r2_mean": 0.31, "r2_deviation": 0.012, "mse_mean": 1.1, "mse_deviation": None}
    return {
        "rotation": {"blend": {**rotation, "all": r2, "folds": folds}},
        "own_rating": {
            "movies": 9,
            "features": 33,
            **{folds: {"leaking": [], **r2, "reveals": False} for folds in ("by_id", "by_year")},
            "passed": True,
        },
        "permuted": {"r2_each": [0.0, -0.1], "r2": -0.05, "r2_low": -0.2, "r2_high": 0.1, "passed": True},
        "forbidden": [{"feature": EVIL, **r2, "clean_r2": 0.33, "gain": 0.07, "gain_low": 0.01, "gain_high": 0.1}],
    }


def graded_score() -> dict:
    empty = empty_ledger()
    entry = {"day": date(2026, 1, 1), "model": EVIL, "prediction": 6.4, "low": 5.0, "high": 8.0, "training_mean": 6.0}
    entries = [{"tconst": f"tt{row}", "num_votes": None, **entry} for row in range(3)]
    grade = {"tconst": "tt1", "graded_day": date(2026, 2, 1), "average_rating": 7.9, "num_votes": 31}
    return score(
        Ledger(pl.DataFrame(entries, schema=empty.entries.schema), pl.DataFrame([grade], schema=empty.grades.schema))
    )


def card_facts() -> dict:
    test = held_out(0.5).filter(split="test")
    judged = test.with_columns(num_votes=pl.lit(40), release_year=pl.lit(2017), genres=[EVIL], people_seen=pl.lit(True))
    covered = {"n": 30, "inside": 25, "coverage": 0.833, "coverage_low": 0.65, "coverage_high": 0.94, "mean_width": 3.1}
    return {
        "champion": {"model": "blend"},
        "groups": by_group(judged.with_columns(genres=pl.concat_list(pl.lit(EVIL))), seed=0),
        "calibration": calibration(test["prediction"].to_numpy(), test["rating"].to_numpy(), seed=0),
        "coverage": {"level": 0.9, "overall": covered, "by_votes": [{"votes": "30-99", **covered}]},
    }


@pytest.fixture
def revisions(tmp_path):
    publish = partial(publish_by_hand, tmp_path)
    names = [f"tt{row}" for row in range(30)]
    movies = pl.DataFrame(
        {
            "tconst": names,
            "title": [EVIL] * 30,
            "release_year": [2017] * 30,
            "average_rating": RATINGS,
            "num_votes": [40] * 28 + [None] * 2,
            "credits": [[]] * 30,
        },
        schema_overrides={"credits": pl.List(pl.Struct({"nconst": pl.String})), "num_votes": pl.Int64},
    )
    predictions = held_out(0.5).filter(split="test").join(movies.drop("title", "credits"), on="tconst")
    predictions = predictions.with_columns(basis=pl.lit("held_out"), low=pl.lit(1.25), high=pl.lit(9.0))
    champion = {
        "model": "blend",
        "reason": None,
        "id": f"blend {EVIL}",
        "trained": "2026-03-01",
        "challenge": {"replaces": False, "why": f"worse {EVIL}", "challenger": "ridge"},
        "rated": 4321,
    }
    epochs = [{"epoch": epoch, "train_mse": 2.0 / epoch, "validation_mse": 2.1 / epoch} for epoch in (1, 2, 3)]
    layout = {"method": "UMAP", "start": None, "reason": "first", "trustworthiness": None, "moved": None}
    return {
        "movies": publish("movies", {"movies.parquet": movies}),
        "movie_map": publish(
            "movie_map", {"map.parquet": movies.select("tconst", x=pl.lit(0.5), y=pl.lit(0.25))}, info=layout
        ),
        "rating_split": publish("rating_split", {"split.parquet": movies.select("tconst")}),
        "leaderboard": publish("leaderboard", {"leaderboard.json": {"rows": rows(by_time=True), "too_few": None}}),
        **{
            f"{name}_predictor": publish(
                f"{name}_predictor",
                {"model/curve.json": epochs if name == "blend" else [{"tried": 1}]},
                info={"fit_seconds": 12.34},
            )
            for name in ERRORS
        },
        "champion": publish("champion", {"champion.json": champion}),
        "rating_predictions": publish("rating_predictions", {"predictions.parquet": predictions}),
        "prediction_ledger": publish("prediction_ledger", {"score.json": graded_score()}),
        "model_card": publish("model_card", {"facts.json": card_facts()}),
        "study_reproduction": publish("study_reproduction", {"study.json": study_told()}),
        "evaluation": publish("evaluation", {"evaluation.json": evaluation()}),
    }


OPTIONAL = ("study_reproduction", "evaluation", "model_card", "prediction_ledger")
HEADINGS = (
    "The catalogue",
    "Predictors",
    "By id",
    "By time",
    "Gains on test",
    "Training",
    "Beside the study",
    "The study, its reproduction (selected on test, as the study did: optimistic)",
    "The champion",
    "Where it errs",
    "By votes",
    "Intervals",
    "Rated otherwise than predicted",
    "Predictions made before there was a rating",
    "The protocol put to the test",
    "How it was made",
)
DELIVERED_LATER = (
    "The study, its reproduction (selected on test, as the study did: optimistic)",
    "Where it errs",
    "By votes",
    "Intervals",
    "Predictions made before there was a rating",
    "The protocol put to the test",
)


def write(revisions, path, **given) -> tuple[str, str]:
    """Return the report's HTML and its words, without its own script."""
    write_report(path, day=DAY, source="sample", revisions=revisions, **given)
    html = path.read_text()
    assert html.count("<script") == 1
    body = html.split("<body>")[1].split("<script>")[0]
    return html, " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_the_report_has_every_section_and_runs_nothing_from_the_data(revisions, tmp_path):
    html, words = write(revisions, tmp_path / "report.html")
    assert [heading for heading in HEADINGS if f">{heading}</h" not in html] == []
    assert html.count("&lt;script&gt;") > 20
    assert set(re.findall(r'src(?:set)?="(.{10})', html)) == {"data:image"}
    for text in (
        "Synthetic data.",
        "since 2026-03-01 as blend",
        "fitted on 4,321 rated movies. The last challenge, by ridge: worse",
        "over linear, by id over ridge, by id over linear, by time over ridge, by time",
        "blend 10 1.100 ± – 0.310 ± 0.012 0.400 [0.300, 0.500]",
        "shuffled ratings, 2 times: R² −0.050 [−0.200, 0.100] , no better than chance",
        "0.210 [0.170, 0.250]",
        "Of their 33 features, with folds by year, none changes with a movie's own rating",
        f"Not as in the study: smaller {EVIL}.",
        f"{EVIL}; 5 epochs",
        "trustworthiness of its map is 0.875; 1,000 epochs",
        "skipped: not there",
        "83.3 % [65.0 %, 94.0 %]",
        "movies predicted with too few votes 3 predictions on record 3 movies graded since 1",
        "blend : best on validation at epoch 3 of 3, MSE 0.700",
    ):
        assert text in words, text


def test_what_was_not_delivered_is_left_out(revisions, tmp_path):
    html, _ = write({name: each for name, each in revisions.items() if name not in OPTIONAL}, tmp_path / "report.html")
    left = [heading for heading in HEADINGS if f">{heading}</h" in html]
    assert left == [heading for heading in HEADINGS if heading not in DELIVERED_LATER]
    listed = set(re.findall(r'<a href="#(\w+)">', html))
    assert listed == set(re.findall(r'<(?:section|header) id="(\w+)"', html))
    for absent in ("days", "ledger", "audit", "learnt", "changed"):
        assert absent not in listed
    assert "model card" not in html


def test_without_a_champion_the_report_says_why(revisions, tmp_path):
    revisions["champion"] = publish_by_hand(tmp_path, "champion", {"champion.json": {"model": None, "reason": EVIL}})
    _, words = write(revisions, tmp_path / "report.html")
    assert f"There is no champion: {EVIL}." in words
    assert f"There is no champion, so nothing is predicted: {EVIL}." in words


def test_each_board_is_in_the_order_of_its_own_validation():
    listed = rows(by_time=True)
    for row, error in zip(listed, (4.0, 3.0, 2.0, 1.0), strict=True):
        row["time_validation_mse"] = error
    by_id, by_time = boards(listed, dict.fromkeys(ERRORS, 1.0))
    assert [row["model"] for row in by_id["rows"]] == ["blend", "ridge", "linear", "mean"]
    assert [row["model"] for row in by_time["rows"]] == ["mean", "linear", "ridge", "blend"]
    assert by_time["rows"][0]["n_train"] == 7
    assert [board["title"] for board in boards(rows(by_time=False), dict.fromkeys(ERRORS, 1.0))] == ["By id"]
    assert boards([], {}) == []
    assert gains([]) is None


@pytest.mark.parametrize(
    ("value", "place"), [(-9.0, 5.0), (-1.0, 5.0), (0.0, WIDTH / 2), (1.0, WIDTH - 5.0), (9.0, WIDTH - 5.0)]
)
def test_what_lies_beyond_a_line_is_drawn_at_its_end(value, place):
    assert IntervalLine(-1.0, 1.0).place(value) == place


def test_lines_have_room_for_their_rows_and_one_far_below_0_does_not_make_the_others_small():
    some = [{"r2_low": 0.2, "r2_high": 0.4}, {"r2_low": None, "r2_high": None}]
    assert r2_line(some) == IntervalLine(0.0, 0.4)
    assert r2_line([*some, {"r2_low": -8.0, "r2_high": -3.0}]) == IntervalLine(-0.2, 0.4)
    assert bias_line([{"bias_low": -0.5, "bias_high": 0.25}]) == IntervalLine(-0.5, 0.5)
    assert (
        bias_line([{"bias_low": None, "bias_high": None}]).drawn({"bias_low": None, "bias_high": None}, "bias") is None
    )


@pytest.mark.parametrize("told", [{}, {"rows": [], "map": None, "too_few": "2 movies"}])
def test_a_study_or_an_audit_of_too_few_movies_shows_nothing(told):
    assert reproduction(told) is None
    assert audit(told) is None


def test_small_groups_and_an_empty_ledger_are_left_out():
    small = {"grouping": "genre", "group": "War", "n": 9, "bias": 0.1, "bias_low": None, "bias_high": None}
    assert groupings([small]) == []
    assert graded(score(empty_ledger())) is None
