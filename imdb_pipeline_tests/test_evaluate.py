"""The numbers that predictors are compared by are what they are said to be."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest

from imdb_pipeline.models.evaluate import calibration, compare, evaluate
from imdb_pipeline.models.leaderboard import candidates, leaderboard_rows


def test_metrics_follow_their_formulas():
    ratings = np.array([4.0, 6.0, 8.0, 7.0])
    metrics = evaluate(np.array([5.0, 6.0, 6.0, 7.0]), ratings, np.full(4, 6.0), seed=0)
    # Squared errors 1, 0, 4, 0; the mean's 4, 0, 4, 1.
    assert metrics["n"] == 4
    assert metrics["mse"] == pytest.approx(1.25)
    assert metrics["mae"] == pytest.approx(0.75)
    assert metrics["r2"] == pytest.approx(1 - 1.25 / 2.25)
    assert metrics["mse_gain"] == pytest.approx(1.0)
    json.dumps(metrics, allow_nan=False)


def test_the_training_mean_itself_gains_nothing():
    ratings = np.random.default_rng(0).normal(6, 1.3, 200)
    metrics = evaluate(np.full(200, 6.1), ratings, np.full(200, 6.1), seed=0)
    assert (metrics["r2"], metrics["r2_low"], metrics["r2_high"]) == (0, 0, 0)
    assert metrics["beats_mean"] is False


def test_a_mean_without_error_has_no_r2():
    metrics = evaluate(np.full(5, 5.5), np.full(5, 6.0), np.full(5, 6.0), seed=0)
    assert metrics["r2"] is None
    assert metrics["r2_low"] is None
    assert metrics["beats_mean"] is False


def test_the_intervals_hold_the_truth_19_times_in_20():
    truths = {"r2": 0.5, "mse": 1.0, "mae": math.sqrt(2 / math.pi)}
    generator = np.random.default_rng(1)
    inside = dict.fromkeys(truths, 0)
    for repetition in range(60):
        signal, noise = generator.normal(0, 1, 400), generator.normal(0, 1, 400)
        metrics = evaluate(6 + signal, 6 + signal + noise, np.full(400, 6.0), seed=repetition)
        for figure, truth in truths.items():
            inside[figure] += metrics[f"{figure}_low"] <= truth <= metrics[f"{figure}_high"]
    # 60 draws at 95 %: 51 or fewer has a probability below 1 in 1,000.
    assert min(inside.values()) >= 52


def test_the_interval_of_an_error_is_as_wide_as_its_standard_error_says():
    errors = np.random.default_rng(8).normal(0, 1, 2_000)
    metrics = evaluate(6 + errors, np.full(2_000, 6.0), np.full(2_000, 6.5), seed=0)
    for figure, column in (("mse", errors**2), ("mae", np.abs(errors))):
        expected = 2 * 1.96 * column.std() / math.sqrt(2_000)
        assert metrics[f"{figure}_high"] - metrics[f"{figure}_low"] == pytest.approx(expected, rel=0.08)


def test_a_comparison_turns_its_signs_with_its_sides():
    generator = np.random.default_rng(9)
    ratings = generator.normal(6, 1.3, 300)
    better, worse = ratings + generator.normal(0, 0.8, 300), ratings + generator.normal(0, 1.2, 300)
    one, other = compare(better, worse, ratings, seed=3), compare(worse, better, ratings, seed=3)
    assert one["better"] is True
    assert other["better"] is False
    assert one["gain"] == pytest.approx(-other["gain"])
    assert (one["gain_low"], one["gain_high"]) == pytest.approx((-other["gain_high"], -other["gain_low"]))
    assert compare(better, better, ratings, seed=3) == {
        "n": 300, "gain": 0, "gain_low": 0, "gain_high": 0, "better": False
    }  # fmt: skip


def test_a_comparison_with_the_mean_is_the_gain_that_evaluate_reports():
    generator = np.random.default_rng(10)
    ratings, predictions, mean = generator.normal(6, 1, 200), generator.normal(6, 1, 200), np.full(200, 6.2)
    metrics, compared = evaluate(predictions, ratings, mean, seed=4), compare(predictions, mean, ratings, seed=4)
    for end in ("", "_low", "_high"):
        assert metrics[f"mse_gain{end}"] == pytest.approx(compared[f"gain{end}"])


def test_two_equally_good_predictors_differ_1_time_in_20():
    generator = np.random.default_rng(11)
    held = 0
    for repetition in range(60):
        ratings = generator.normal(6, 1, 300)
        one, other = (ratings + generator.normal(0, 1, 300) for _ in range(2))
        compared = compare(one, other, ratings, seed=repetition)
        held += compared["gain_low"] <= 0 <= compared["gain_high"]
    assert held >= 52


def test_the_calibration_curve_of_an_honest_forecast_lies_on_the_diagonal():
    generator = np.random.default_rng(12)
    predictions = generator.normal(6, 0.8, 5_000)
    curve = calibration(predictions, predictions + generator.normal(0, 1, 5_000), seed=0)
    assert [point["n"] for point in curve] == [500] * 10
    assert sum(point["mean_rating_low"] <= point["mean_prediction"] <= point["mean_rating_high"] for point in curve) > 7
    means = [point["mean_prediction"] for point in curve]
    assert means == sorted(means)
    json.dumps(curve, allow_nan=False)


def test_the_calibration_curve_shows_predictions_that_spread_too_far():
    predictions = np.linspace(2, 10, 1_000)
    curve = calibration(predictions, 6 + (predictions - 6) / 2, seed=0)
    assert curve[0]["mean_rating_low"] > curve[0]["mean_prediction"]
    assert curve[-1]["mean_rating_high"] < curve[-1]["mean_prediction"]


def test_equal_predictions_are_one_point_of_the_calibration_curve():
    ratings = np.array([5.0, 6.0, 7.0])
    (point,) = calibration(np.full(3, 6.5), ratings, seed=0)
    assert (point["n"], point["mean_prediction"], point["mean_rating"]) == (3, 6.5, 6.0)


def test_the_gain_over_the_mean_is_paired_by_row():
    # Most of the error is common to both: unpaired, the interval would be as wide as the error's own.
    generator = np.random.default_rng(2)
    common = generator.normal(0, 1.5, 500)
    metrics = evaluate(np.full(500, 6.0), 6 + common, np.full(500, 6.3), seed=0)
    errors = (common**2, (common - 0.3) ** 2)
    unpaired = 1.96 * math.sqrt((errors[0].var() + errors[1].var()) / 500)
    assert metrics["mse_gain_high"] - metrics["mse_gain_low"] < 2 * unpaired / 2
    assert metrics["mse_gain_low"] < metrics["mse_gain"] < metrics["mse_gain_high"]


def test_noise_does_not_beat_the_mean():
    generator = np.random.default_rng(3)
    ratings = generator.normal(6, 1.3, 300)
    assert evaluate(ratings[::-1].copy(), ratings, np.full(300, ratings.mean()), seed=0)["beats_mean"] is False


def test_the_same_seed_gives_the_same_intervals():
    generator = np.random.default_rng(4)
    arrays = [generator.normal(6, 1, 100) for _ in range(3)]
    assert evaluate(*arrays, seed=5) == evaluate(*arrays, seed=5)
    assert evaluate(*arrays, seed=5) != evaluate(*arrays, seed=6)


@pytest.mark.parametrize(
    ("predictions", "ratings"),
    [
        (np.zeros(3), np.zeros(4)),
        (np.zeros(0), np.zeros(0)),
        (np.array([np.nan]), np.ones(1)),
        (np.zeros((2, 1)), np.zeros((2, 1))),
    ],
)
def test_what_cannot_be_compared_is_refused(predictions, ratings):
    with pytest.raises(ValueError, match=r"shapes|not a number"):
        evaluate(predictions, ratings, ratings, seed=0)
    with pytest.raises(ValueError, match=r"shapes|not a number"):
        compare(predictions, ratings, ratings, seed=0)
    with pytest.raises(ValueError, match=r"shapes|not a number"):
        calibration(predictions, ratings, seed=0)


def result(name: str, validation_mse: float, test_mse: float, beats_mean: bool) -> dict:
    part = {"n": 30, "mae": 1.0, "r2": 0.1, "r2_low": 0.0, "r2_high": 0.2}
    return {
        "model": name,
        "settings": {"method": name},
        "n_train": 240,
        "metrics": {
            "validation": {**part, "mse": validation_mse, "beats_mean": beats_mean},
            "test": {**part, "mse": test_mse, "beats_mean": True},
        },
    }


def held_out(errors: list[float]) -> pl.DataFrame:
    rows = [("tt1", "validation", 5.0, 5.0)]
    rows += [(f"tt{place + 2}", "test", 6.0, 6.0 + error) for place, error in enumerate(errors)]
    return pl.DataFrame(rows, schema=["tconst", "split", "rating", "prediction"], orient="row")


def test_the_leaderboard_is_sorted_on_validation_and_not_on_test():
    rows = leaderboard_rows([result("a", 1.3, 1.0, True), result("b", 1.1, 1.4, True), result("c", 1.2, 1.2, True)])
    assert [row["model"] for row in rows] == ["b", "c", "a"]
    needed = {"model", "method", "test_mse", "test_mae", "r2", "r2_low", "r2_high", "n_train", "n_validation", "n_test"}
    assert needed | {"validation_mse", "validation_r2", "beats_mean"} <= rows[0].keys()
    json.dumps(rows, allow_nan=False)


def test_gains_are_over_linear_regression_and_the_best_of_the_study_on_validation():
    # On test the order is another: svr is worse than linear, which must not change what is compared with.
    errors = {"linear": [1.0, -1.0, 1.0], "svr": [2.0, 1.0, 1.0], "boosting": [0.5, 0.5, 0.0]}
    results = [result("linear", 1.2, 1.0, True), result("svr", 1.1, 2.0, True), result("boosting", 1.0, 0.2, True)]
    predictions = {name: held_out(error) for name, error in errors.items()}
    boosting, svr, linear = leaderboard_rows(results, predictions, seed=3)
    assert [row["best_study"] for row in (boosting, svr, linear)] == ["svr"] * 3
    assert boosting["gain_over_linear"] == pytest.approx(1 - 0.5 / 3)
    assert boosting["gain_over_best_study"] == pytest.approx(2 - 0.5 / 3)
    assert svr["gain_over_linear"] == pytest.approx(-1)
    for row, column in ((linear, "gain_over_linear"), (svr, "gain_over_best_study")):
        assert [row[f"{column}{end}"] for end in ("", "_low", "_high")] == [0, 0, 0]
    columns = [np.array([6.0 + error for error in errors[name]]) for name in ("boosting", "linear")]
    compared = compare(columns[0], columns[1], np.full(3, 6.0), seed=3)
    assert boosting["gain_over_linear_low"] == pytest.approx(compared["gain_low"])
    assert boosting["gain_over_linear_high"] == pytest.approx(compared["gain_high"])


def test_the_split_by_time_stands_beside_the_one_by_id_or_is_left_empty():
    timed = result("linear", 1.4, 1.5, False)
    row, other = leaderboard_rows(
        [{**result("linear", 1.2, 1.0, True), "by_time": timed}, {**result("mean", 1.6, 1.6, False), "by_time": None}],
        {},
        {"linear": held_out([1.0, 2.0])},
    )
    assert (row["time_test_mse"], row["time_validation_mse"], row["time_n_test"], row["time_r2"]) == (1.5, 1.4, 30, 0.1)
    assert (row["validation_mse"], row["beats_mean"], row["time_beats_mean"]) == (1.2, True, False)
    assert (row["gain_over_linear"], row["time_gain_over_linear"]) == (None, 0)
    assert row.keys() == other.keys()
    assert {value for name, value in other.items() if name.startswith("time_") and name != "time_best_study"} == {None}


def test_models_judged_on_other_movies_are_not_compared():
    results = [result("linear", 1.2, 1.0, True), result("svr", 1.1, 2.0, True)]
    with pytest.raises(ValueError, match="svr and linear were not judged on the same movies"):
        leaderboard_rows(results, {"linear": held_out([1.0, 1.0]), "svr": held_out([1.0])})


def test_candidates_have_a_lower_error_than_the_mean_on_validation_and_the_best_comes_first():
    mean = result("mean", 1.15, 1.0, False)
    rows = leaderboard_rows(
        [mean, result("able", 1.1, 1.1, True), result("best", 1.0, 2.0, False), result("bad", 1.2, 0.5, True)]
    )
    assert candidates(rows) == ["best", "able"]
    assert candidates(leaderboard_rows([mean])) == []
