"""Shuffled ratings teach nothing, forbidden features are priced, and the rotation predicts each movie once, unseen."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from importlib import import_module

import numpy as np
import polars as pl
import pytest

from imdb_pipeline.models import audit, linear, ridge
from imdb_pipeline.models.examples import Examples, Inputs, Parts, Rated, join_examples
from imdb_pipeline.models.rotation import rotate
from imdb_pipeline.models.split import bucket_by_id

CREDITS = pl.List(pl.Struct({"nconst": pl.String, "category": pl.String, "name": pl.String}))


def examples(count: int, first: int) -> Examples:
    """Movies whose ratings follow from their vectors, and their votes from their ratings."""
    generator = np.random.default_rng(first)
    vectors = generator.normal(size=(count, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    people = [[{"nconst": f"nm{row % 50}", "category": "director", "name": None}] for row in range(count)]
    movies = pl.DataFrame(
        {
            "tconst": [f"tt{first + row:07d}" for row in range(count)],
            "title": "A movie",
            "original_title": "A movie",
            "title_type": "movie",
            "is_adult": False,
            "release_year": pl.Series([2000 + row % 20 for row in range(count)], dtype=pl.Int32),
            "runtime_minutes": pl.Series([90 + row % 30 for row in range(count)], dtype=pl.Int32),
            "genres": [["Drama"]] * count,
            "credits": pl.Series(people, dtype=CREDITS),
        }
    )
    ratings = (6 + 2 * vectors[:, 0] + generator.normal(0, 0.5, count)).clip(1, 10).astype(np.float32)
    votes = (30 + np.exp(ratings) * generator.uniform(0.5, 2, count)).astype(np.int64)
    return Examples(Inputs(movies, vectors), ratings, votes)


@pytest.fixture(scope="module")
def parts() -> Parts:
    few = examples(60, 90_000)
    rated = Rated(few.inputs.movies, few.ratings, few.votes)
    return Parts(replace(examples(600, 0), few_votes=rated), examples(200, 10_000), examples(200, 20_000))


@pytest.mark.parametrize("module", [linear, ridge])
def test_on_shuffled_ratings_a_predictor_learns_nothing(module, parts):
    shuffled = audit.permuted_labels(module.fit, parts, seed=1, device="cpu")
    assert shuffled["passed"] is True
    assert shuffled["r2_low"] < 0 < shuffled["r2_high"] or shuffled["r2_high"] < 0
    assert len(shuffled["r2_each"]) == 5
    json.dumps(shuffled, allow_nan=False)
    true = module.fit(parts.train, parts.validation, seed=1, device="cpu")
    assert ((true.predict(parts.test.inputs) - parts.test.ratings) ** 2).mean() < 0.5


def test_a_predictor_that_looks_up_the_test_ratings_does_not_pass(parts):
    known = dict(zip(parts.test.inputs.movies["tconst"], parts.test.ratings, strict=True))

    class Cheat:
        def predict(self, inputs):
            return np.array([float(known[tconst]) for tconst in inputs.movies["tconst"]])

    shuffled = audit.permuted_labels(lambda *parts, **settings: Cheat(), parts, seed=1, device="cpu")  # pyright: ignore[reportArgumentType]
    assert shuffled["passed"] is False
    assert shuffled["r2_low"] == pytest.approx(1)


def test_shuffling_reaches_every_rating_that_is_learned_from_and_no_other(parts):
    seen = []

    def fit(train, validation, *, seed, device):
        seen.append((train.ratings, validation.ratings, train.few_votes.ratings))
        return linear.fit(train, validation, seed=seed, device=device)

    audit.permuted_labels(fit, parts, seed=1, device="cpu", shuffles=2)
    true = (parts.train.ratings, parts.validation.ratings, parts.train.few_votes.ratings)
    for first, second, ratings in zip(*seen, true, strict=True):
        for shuffled in (first, second):
            np.testing.assert_array_equal(np.sort(shuffled), np.sort(ratings))
        assert len({array.tobytes() for array in (first, second, ratings)}) == 3


def test_a_forbidden_feature_is_priced_against_the_clean_trees(parts):
    rows = audit.forbidden_features(parts, {"num_votes": audit.num_votes, "id": audit.id_number}, seed=0)
    votes, number = rows
    assert (votes["feature"], number["feature"]) == ("num_votes", "id")
    assert votes["better"] is True
    assert votes["r2"] > 0.3 > votes["clean_r2"]
    assert abs(number["gain"]) < votes["gain"] / 10
    assert votes["gain"] == pytest.approx(votes["clean_mse"] - votes["mse"])
    assert votes["gain_low"] < votes["gain"] < votes["gain_high"]
    json.dumps(rows, allow_nan=False)


def test_the_share_of_people_known_for_a_movie_is_read_from_the_dump(tmp_path):
    some = examples(3, 0)
    people = [
        [{"nconst": who, "category": what, "name": None} for who, what in credits]
        for credits in ([("nm1", "director"), ("nm1", "writer"), ("nm2", "actor")], [("nm2", "actor")], [])
    ]
    movies = some.inputs.movies.with_columns(credits=pl.Series(people, dtype=CREDITS))
    rows = [
        "nconst\tprimaryName\tbirthYear\tdeathYear\tprimaryProfession\tknownForTitles",
        "nm1\tOne\t\\N\t\\N\tdirector\ttt0000000,tt0000001",
        "nm2\tTwo\t\\N\t\\N\tactor\t\\N",
        "nm3\tThree\t\\N\t\\N\tactor\ttt0000002",
    ]
    path = tmp_path / "name.basics.tsv.gz"
    path.write_bytes(gzip.compress("\n".join([*rows, ""]).encode()))
    share = audit.known_for(path, movies)
    assert share(replace(some, inputs=replace(some.inputs, movies=movies))).tolist() == [0.5, 0.0, 0.0]


def test_the_rotation_predicts_every_movie_once_without_having_seen_it(parts, monkeypatch):
    rated = join_examples(parts.train, parts.validation, parts.test)
    model = linear.fit(parts.train, parts.validation, seed=0, device="cpu")
    module = import_module("imdb_pipeline.models.linear")
    real, seen = module.refit, []

    def refit(model, train, *, seed, device):
        seen.append(set(train.inputs.movies["tconst"]))
        return real(model, train, seed=seed, device=device)

    monkeypatch.setattr(module, "refit", refit)
    rotation = rotate("linear", model, rated, seed=0, device="cpu")
    assert rotation.predictions["tconst"].equals(rated.inputs.movies["tconst"])
    assert rotation.predictions["prediction"].is_not_nan().all()
    assert [fold["bucket"] for fold in rotation.summary["folds"]] == list(range(10))
    for bucket, known in enumerate(seen):
        held = set(rotation.predictions.filter(bucket=bucket)["tconst"])
        assert held == {tconst for tconst in rated.inputs.movies["tconst"] if bucket_by_id(tconst) == bucket}
        assert known == set(rated.inputs.movies["tconst"]) - held
    assert sum(fold["n"] for fold in rotation.summary["folds"]) == len(rated) == rotation.summary["n"]


def test_the_rotation_reports_mean_and_spread_and_which_fold_chose_the_settings(parts):
    rated = join_examples(parts.train, parts.validation, parts.test)
    summary = rotate("linear", linear.fit(rated, rated, seed=0, device="cpu"), rated, seed=0, device="cpu").summary
    r2 = [fold["r2"] for fold in summary["folds"]]
    assert summary["r2_mean"] == pytest.approx(np.mean(r2))
    assert summary["r2_deviation"] == pytest.approx(np.std(r2, ddof=1))
    assert 0.5 < summary["all"]["r2_low"] < summary["r2_mean"] < 1
    assert [fold["chosen_with"] for fold in summary["folds"]] == [False, True] + [False] * 8
    json.dumps(summary, allow_nan=False)


def test_nothing_is_rotated_where_all_movies_are_in_one_bucket(parts):
    one = parts.train.take(np.array([0]))
    with pytest.raises(ValueError, match="nothing to rotate"):
        rotate("mean", linear.fit(one, one, seed=0, device="cpu"), one, seed=0, device="cpu")
