"""Intervals hold as often as they say, are narrow where movies are easy, and are the same again from their files."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest

from imdb_pipeline.errors import PipelineError
from imdb_pipeline.models.conformal import (
    Intervals,
    binomial_bounds,
    conformal_half_width,
    coverage,
    fit_intervals,
)
from imdb_pipeline.models.examples import INPUT_COLUMNS
from imdb_pipeline.results.predictions import empty_predictions, predictions_table

CREDITS = pl.List(pl.Struct({"nconst": pl.String, "category": pl.String, "name": pl.String}))


def catalogue(count: int, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Movies, and what was predicted of them: short ones with an error of 0.3, long and comic ones up to 1.2."""
    generator = np.random.default_rng(seed)
    runtime, comic = generator.integers(60, 181, count), generator.random(count) < 0.4
    spread = 0.3 + 0.6 * (runtime > 120) + 0.3 * comic
    prediction = generator.normal(6, 0.5, count).clip(3, 9)
    movies = pl.DataFrame(
        {
            "tconst": [f"tt{seed:03d}{row:06d}" for row in range(count)],
            "title": "A Title",
            "original_title": "A Title",
            "title_type": "movie",
            "is_adult": False,
            "release_year": 2000,
            "runtime_minutes": runtime,
            "genres": [["Comedy"] if each else ["Drama"] for each in comic],
            "credits": pl.Series([[]] * count, dtype=CREDITS),
        }
    )
    rating = (prediction + spread * generator.normal(size=count)).clip(1, 10)
    return movies, pl.DataFrame({"tconst": movies["tconst"], "rating": rating, "prediction": prediction})


@pytest.fixture(scope="module")
def parts():
    return [catalogue(count, seed) for count, seed in ((4000, 1), (2500, 2), (4000, 3))]


@pytest.fixture(scope="module")
def movies(parts):
    return pl.concat([movies for movies, _ in parts])


@pytest.fixture(scope="module")
def fitted(parts, movies):
    return fit_intervals(movies, parts[0][1], parts[1][1], seed=5)


@pytest.fixture(scope="module")
def intervals(fitted):
    return fitted[0]


def inside(intervals: Intervals, movies: pl.DataFrame, judged: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    low, high = intervals.bounds(movies, judged["prediction"].to_numpy())
    rating = judged["rating"].to_numpy()
    return (low <= rating) & (rating <= high), high - low


def test_intervals_hold_as_often_as_they_say_where_movies_are_easy_and_where_they_are_hard(parts, intervals):
    test, judged = parts[2]
    held, _ = inside(intervals, test, judged)
    hard = (test["runtime_minutes"] > 120).to_numpy()
    for rows in (np.ones(len(test), bool), hard, ~hard):
        low, high = binomial_bounds(int(held[rows].sum()), int(rows.sum()), level=0.99)
        # 2,500 movies leave the quantile itself a standard error of .006.
        assert low - 0.018 <= 0.9 <= high + 0.018, held[rows].mean()


def test_intervals_are_narrow_where_movies_are_easy(parts, intervals):
    test, judged = parts[2]
    _, width = inside(intervals, test, judged)
    runtime, comic = test["runtime_minutes"].to_numpy(), test["genres"].list.contains("Comedy").to_numpy()
    easy, hard = width[(runtime < 110) & ~comic].mean(), width[(runtime > 130) & comic].mean()
    assert hard / easy == pytest.approx(1.2 / 0.3, rel=0.2)
    constant = 2 * conformal_half_width((parts[1][1]["rating"] - parts[1][1]["prediction"]).to_numpy())
    assert easy < 0.6 * constant
    assert width.mean() < constant


def test_validation_does_not_teach_the_difficulty(parts, movies, intervals):
    wider = parts[1][1].with_columns(rating=pl.col("prediction") + 2 * (pl.col("rating") - pl.col("prediction")))
    other, _ = fit_intervals(movies, parts[0][1], wider, seed=5)
    np.testing.assert_array_equal(other.scale(parts[2][0]), intervals.scale(parts[2][0]))
    assert other.settings["quantile"] > 1.1 * intervals.settings["quantile"]


def test_a_validation_that_is_easy_by_chance_does_not_make_intervals_too_narrow(parts, movies):
    errors = (parts[1][1]["rating"] - parts[1][1]["prediction"]).abs()
    easiest = parts[1][1].filter(errors < errors.median()).head(200)
    lucky, _ = fit_intervals(movies, parts[0][1], easiest, seed=5)
    held, _ = inside(lucky, *parts[2])
    assert held.mean() > 0.88


def test_a_training_movies_own_error_does_not_tell_how_hard_it_is(parts, movies, fitted):
    intervals, of_train = fitted
    _, judged = parts[0]
    errors = (judged["rating"] - judged["prediction"]).abs().to_numpy()

    def holds(low, high):
        return judged["rating"].is_between(pl.Series(low), pl.Series(high)).mean()

    train = judged.join(movies, on="tconst", how="left", maintain_order="left").select(INPUT_COLUMNS)
    own = intervals.scale(train)
    crossed = (of_train["high"] - of_train["low"]).to_numpy() / (2 * intervals.settings["quantile"])
    assert of_train["tconst"].equals(judged["tconst"])
    assert np.corrcoef(crossed, errors)[0, 1] < np.corrcoef(own, errors)[0, 1]
    assert np.corrcoef(crossed, own)[0, 1] > 0.95
    assert holds(of_train["low"], of_train["high"]) == pytest.approx(0.9, abs=0.005)


def test_where_no_movie_is_harder_than_another_the_width_is_constant(parts, movies):
    generator = np.random.default_rng(8)
    frames = [
        judged.with_columns(rating=pl.col("prediction") + pl.Series(generator.normal(0, 0.5, len(judged))))
        for _, judged in parts[:2]
    ]
    even, of_train = fit_intervals(movies, *frames, seed=5)
    assert even.settings["reason"] == "a model of how hard a movie is makes no better intervals"
    assert even.difficulty is None
    assert even.settings["quantile"] == pytest.approx(0.5 * 1.645, rel=0.04)
    assert (of_train["high"] - of_train["low"]).max() == pytest.approx(2 * even.settings["quantile"])


def test_with_few_movies_the_width_is_constant_and_the_settings_say_why(parts, movies, tmp_path):
    few, _ = fit_intervals(movies, parts[0][1].head(900), parts[1][1].head(99), seed=5)
    judged = pl.concat([parts[0][1].head(900), parts[1][1].head(99)])
    width = np.sort((judged["rating"] - judged["prediction"]).abs().to_numpy())[899]
    assert few.settings["quantile"] == width
    assert few.settings["reason"].startswith("900 out-of-fold errors")
    few.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["intervals.json"]
    low, high = Intervals.load(tmp_path).bounds(parts[2][0].head(2), np.array([6.0, 9.9]))
    np.testing.assert_allclose(low, [6 - width, 9.9 - width])
    np.testing.assert_allclose(high, [6 + width, 10])


def test_too_few_movies_for_any_width_give_the_whole_scale(parts, movies, tmp_path):
    none, _ = fit_intervals(movies, parts[0][1].head(0), parts[1][1].head(8), seed=5)
    none.save(tmp_path)
    low, high = Intervals.load(tmp_path).bounds(parts[2][0].head(1), np.array([6.0]))
    assert (low[0], high[0]) == (1, 10)


def test_saved_intervals_are_the_same_and_equal_seeds_give_equal_bytes(parts, movies, intervals, tmp_path):
    intervals.save(tmp_path / "a")
    shuffled = [judged.sample(fraction=1, shuffle=True, seed=1) for _, judged in parts[:2]]
    fit_intervals(movies.reverse(), *shuffled, seed=5)[0].save(tmp_path / "b")
    for name in ("intervals.json", "difficulty.txt"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    loaded, predictions = Intervals.load(tmp_path / "a"), parts[2][1]["prediction"].to_numpy()
    for found, expected in zip(
        loaded.bounds(parts[2][0], predictions), intervals.bounds(parts[2][0], predictions), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    assert loaded.bounds(movies.head(0), np.zeros(0))[0].shape == (0,)


@pytest.mark.parametrize("name", ["intervals.json", "difficulty.txt"])
@pytest.mark.parametrize("content", [None, "", "{}"])
def test_a_missing_or_damaged_file_is_named(intervals, tmp_path, name, content):
    intervals.save(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(PipelineError, match=name):
        Intervals.load(tmp_path)


def test_a_movie_that_is_missing_or_a_rating_that_is_none_is_refused(parts, movies):
    with pytest.raises(ValueError, match="out_of_fold: 4000 movies, 3999 of them"):
        fit_intervals(movies[1:], parts[0][1], parts[1][1], seed=5)
    unrated = parts[1][1].with_columns(rating=pl.lit(None, pl.Float64))
    with pytest.raises(ValueError, match="validation: a rating or a prediction is not a number"):
        fit_intervals(movies, parts[0][1], unrated, seed=5)


@pytest.mark.parametrize(
    ("count", "level", "rank"), [(9, 0.9, 9), (19, 0.9, 18), (99, 0.9, 90), (10, 0.5, 6), (39, 0.95, 38)]
)
def test_the_half_width_is_the_order_statistic_of_n_plus_one(count, level, rank):
    residuals = np.arange(1.0, count + 1) * np.where(np.arange(count) % 2, 1, -1)
    assert conformal_half_width(residuals, level) == rank


def test_intervals_cover_at_least_their_level_and_hardly_more():
    generator = np.random.default_rng(6)
    trials = 4000
    covered = sum(
        abs(residuals[-1]) <= conformal_half_width(residuals[:-1], 0.9)
        for residuals in generator.standard_t(3, (trials, 100))
    )
    # The level is between .9 and .9 + 1/100; four standard deviations of a binomial on either side.
    slack = 4 * math.sqrt(0.9 * 0.1 / trials)
    assert 0.9 - slack <= covered / trials <= 0.91 + slack


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(0, 10, 0, 0.3085), (10, 10, 0.6915, 1), (5, 10, 0.1871, 0.8129), (90, 100, 0.8238, 0.9510)],
)
def test_binomial_bounds_are_clopper_and_pearsons(hits, count, low, high):
    assert binomial_bounds(hits, count) == pytest.approx((low, high), abs=5e-5)


def test_coverage_counts_test_movies_by_their_votes():
    predictions = pl.DataFrame(
        {
            "low": [5.0] * 7,
            "high": [7.0, 8.0, 7.0, 7.0, 7.0, 7.0, 7.0],
            "split": ["test"] * 5 + ["train", "validation"],
            "average_rating": [6.0, 8.0, 4.0, 7.0, None, 1.0, 1.0],
            "num_votes": [30, 99, 100, 10_000, None, 40, 40],
        }
    )
    found = coverage(predictions)
    assert (found["overall"]["n"], found["overall"]["inside"], found["overall"]["coverage"]) == (4, 3, 0.75)
    assert found["overall"]["mean_width"] == 2.25
    assert (found["overall"]["coverage_low"], found["overall"]["coverage_high"]) == binomial_bounds(3, 4)
    assert {row["votes"]: (row["n"], row["inside"]) for row in found["by_votes"]} == {
        "30-99": (2, 2),
        "100-999": (1, 0),
        "1,000-9,999": (0, 0),
        "10,000 or more": (1, 1),
    }
    assert found["by_votes"][2]["coverage"] is None
    json.dumps(found, allow_nan=False)


@pytest.fixture
def table_of(intervals):
    movies, _ = catalogue(5, 9)
    movies = movies.with_columns(
        average_rating=pl.Series([6.0, 6.5, 7.0, None, 8.0]), num_votes=pl.Series([40, 50, 60, None, 12])
    )
    split = pl.DataFrame({"tconst": [*movies["tconst"][:3], "tt9"], "split": ["train", "validation", "test", "train"]})
    unseen = pl.DataFrame(
        {
            "tconst": [movies["tconst"][row] for row in (2, 0, 1)],
            "prediction": [5.2, 5.0, 5.1],
            "low": [4.2, 4.0, 4.1],
            "high": [6.2, 6.0, 6.1],
            "basis": ["held_out", "out_of_fold", "held_out"],
        }
    )

    def table(**changed):
        values = {"serving": np.array([9.0, 9, 9, 6.3, 6.4]), "movies": movies, "split": split, "unseen": unseen}
        values |= {"few_votes": movies.head(0), **changed}
        return predictions_table(
            values["serving"],
            values["movies"],
            split=values["split"],
            unseen=values["unseen"],
            few_votes=values["few_votes"],
            intervals=intervals,
        )

    return movies, split, unseen, table


def test_no_movie_is_predicted_by_a_model_that_saw_its_rating(table_of, intervals):
    movies, _, _, table = table_of
    found = table()
    assert found.schema == empty_predictions().schema
    assert found["tconst"].equals(movies["tconst"])
    assert found["prediction"].to_list() == [5.0, 5.1, 5.2, 6.3, 6.4]
    assert found["basis"].to_list() == ["out_of_fold", "held_out", "held_out", "future", "future"]
    assert found["split"].to_list() == ["train", "validation", "test", None, None]
    assert found["num_votes"].to_list() == [40, 50, 60, None, 12]
    low, high = intervals.bounds(movies.select(INPUT_COLUMNS), found["prediction"].to_numpy())
    assert found["low"].to_list() == [4.0, 4.1, 4.2, *low[3:]]
    assert found["high"].to_list() == [6.0, 6.1, 6.2, *high[3:]]


def test_a_movie_that_was_learnt_from_while_it_had_few_votes_is_not_called_unseen(table_of):
    movies, _, _, table = table_of
    found = table(few_votes=movies.select("tconst").tail(1))
    assert found["basis"].to_list() == ["out_of_fold", "held_out", "held_out", "future", "few_votes"]
    assert found["prediction"].to_list() == [5.0, 5.1, 5.2, 6.3, 6.4]


def test_a_movie_that_the_champion_saw_is_never_given_its_own_models_prediction(table_of):
    movies, _, unseen, table = table_of
    with pytest.raises(PipelineError, match=f"1 movies .* {movies['tconst'][1]} first; train the champion again"):
        table(unseen=unseen.filter(pl.col("tconst") != movies["tconst"][1]))
    with pytest.raises(PipelineError, match="another version of the code; train it again"):
        table(unseen=unseen.drop("low", "high"))
    with pytest.raises(PipelineError, match="3 movies"):
        table(unseen=unseen.with_columns(basis=pl.lit("future")))
    with pytest.raises(ValueError, match="not a number"):
        table(serving=np.array([9.0, 9, 9, np.nan, 6.4]))
    with pytest.raises(ValueError, match="unseen: a movie stands there more than once"):
        table(unseen=pl.concat([unseen, unseen]))
