"""The numbers that predictors are compared by are what they are said to be."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from imdb_pipeline.models.evaluate import conformal_half_width, evaluate
from imdb_pipeline.models.leaderboard import choose_champion, leaderboard_rows


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


def test_the_interval_of_r2_holds_the_truth_19_times_in_20():
    generator = np.random.default_rng(1)
    inside = 0
    for repetition in range(60):
        signal, noise = generator.normal(0, 1, 400), generator.normal(0, 1, 400)
        metrics = evaluate(6 + signal, 6 + signal + noise, np.full(400, 6.0), seed=repetition)
        inside += metrics["r2_low"] <= 0.5 <= metrics["r2_high"]
    # 60 draws at 95 %: 51 or fewer has a probability below 1 in 1,000.
    assert inside >= 52


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


@pytest.mark.parametrize(
    ("count", "level", "rank"), [(9, 0.9, 9), (19, 0.9, 18), (99, 0.9, 90), (10, 0.5, 6), (39, 0.95, 38)]
)
def test_the_conformal_half_width_is_the_order_statistic_of_n_plus_one(count, level, rank):
    residuals = np.arange(1.0, count + 1) * np.where(np.arange(count) % 2, 1, -1)
    assert conformal_half_width(residuals, level) == rank


def test_the_conformal_half_width_of_too_few_residuals_is_infinite():
    assert conformal_half_width(np.ones(8), 0.9) == math.inf


def test_conformal_intervals_cover_at_least_their_level_and_hardly_more():
    generator = np.random.default_rng(6)
    trials = 4000
    covered = sum(
        abs(residuals[-1]) <= conformal_half_width(residuals[:-1], 0.9)
        for residuals in generator.standard_t(3, (trials, 100))
    )
    # The level is between .9 and .9 + 1/100; four standard deviations of a binomial on either side.
    slack = 4 * math.sqrt(0.9 * 0.1 / trials)
    assert 0.9 - slack <= covered / trials <= 0.91 + slack


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


def test_the_leaderboard_is_sorted_on_validation_and_not_on_test():
    rows = leaderboard_rows([result("a", 1.3, 1.0, True), result("b", 1.1, 1.4, True), result("c", 1.2, 1.2, True)])
    assert [row["model"] for row in rows] == ["b", "c", "a"]
    assert choose_champion(rows) == "b"
    needed = {"model", "test_mse", "test_mae", "r2", "r2_low", "r2_high", "n_train"}
    assert needed | {"validation_mse", "validation_r2", "beats_mean"} <= rows[0].keys()


def test_the_champion_beats_the_mean_or_there_is_none():
    rows = leaderboard_rows([result("lucky", 1.0, 1.0, False), result("able", 1.1, 1.1, True)])
    assert choose_champion(rows) == "able"
    assert choose_champion(leaderboard_rows([result("mean", 1.0, 1.0, False)])) is None
    assert choose_champion([]) is None
