"""The study's methods are those of the textbooks, and are fitted anew with the settings that were chosen."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from imdb_pipeline.models import knn, linear, mean, ridge, svr
from imdb_pipeline.models.examples import INPUT_COLUMNS, Examples, Inputs, join_examples

CREDITS = pl.List(pl.Struct({"nconst": pl.String, "category": pl.String, "name": pl.String}))
QUICK = {
    mean: {},
    linear: {},
    ridge: {},
    knn: {},
    svr: {"gammas": replace(svr.GAMMAS, start=(1.0, 2.0)), "cs": replace(svr.CS, start=(2.0,))},
}
MODULES = list(QUICK)


def module_name(module) -> str:
    return module.__name__.rpartition(".")[2]


def examples(count: int, seed: int, dimension: int = 8) -> Examples:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(count, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    movies = pl.DataFrame(
        {"tconst": [f"tt{seed:03d}{row:05d}" for row in range(count)]} | dict.fromkeys(INPUT_COLUMNS[1:-1], ""),
    ).with_columns(credits=pl.Series([[]] * count, dtype=CREDITS))
    ratings = 6 + 1.5 * vectors[:, 0] + np.sin(4 * vectors[:, 1]) + generator.normal(0, 0.4, count)
    votes = generator.integers(30, 3000, count)
    return Examples(Inputs(movies, vectors), np.clip(ratings, 1, 10).astype(np.float32), votes)


@pytest.fixture(scope="module")
def parts():
    return examples(400, 1), examples(120, 2), examples(120, 3)


def fit(module, train, validation, **settings):
    return module.fit(train, validation, seed=7, device="cpu", **{**QUICK[module], **settings})


def test_linear_regression_is_scikit_learns(parts):
    from sklearn.linear_model import LinearRegression

    train, validation, test = parts
    reference = LinearRegression().fit(train.inputs.embeddings.astype(np.float64), train.ratings)
    expected = np.clip(reference.predict(test.inputs.embeddings.astype(np.float64)), 1, 10)
    np.testing.assert_allclose(fit(linear, train, validation).predict(test.inputs), expected, atol=1e-6)


def test_linear_regression_has_no_penalty_and_chooses_nothing(parts):
    train, validation, test = parts
    model = fit(linear, train, validation)
    assert model.settings == {"method": "ordinary least squares", "rank": 8}
    other = replace(validation, ratings=validation.ratings[::-1].copy())
    np.testing.assert_array_equal(fit(linear, train, other).predict(test.inputs), model.predict(test.inputs))


def test_with_fewer_movies_than_dimensions_linear_regression_takes_the_shortest_weights():
    from sklearn.linear_model import LinearRegression

    train = examples(20, 4, dimension=32)
    model = fit(linear, train, train)
    assert model.settings["rank"] == 19
    reference = LinearRegression().fit(train.inputs.embeddings.astype(np.float64), train.ratings)
    np.testing.assert_allclose(model.weights, reference.coef_, atol=1e-5)
    np.testing.assert_allclose(model.predict(train.inputs), train.ratings, atol=1e-4)


def test_ridge_regression_is_scikit_learns_with_the_penalty_that_does_best_on_validation(parts):
    from sklearn.linear_model import Ridge

    train, validation, test = parts
    model = fit(ridge, train, validation)
    alpha = model.settings["alpha"]
    reference = Ridge(alpha=alpha).fit(train.inputs.embeddings.astype(np.float64), train.ratings)
    expected = np.clip(reference.predict(test.inputs.embeddings.astype(np.float64)), 1, 10)
    np.testing.assert_allclose(model.predict(test.inputs), expected, atol=1e-6)
    errors = {row["alpha"]: row["validation_mse"] for row in model.curve}
    assert errors[alpha] == min(errors.values())
    assert min(errors) < alpha < max(errors)
    assert model.settings["on_edge"] == []


def test_where_there_is_nothing_to_learn_ridge_says_that_its_penalty_has_no_end():
    train, validation = examples(200, 5), examples(200, 6)
    noise = np.random.default_rng(0).permutation(train.ratings)
    model = fit(ridge, replace(train, ratings=noise), replace(validation, ratings=np.full_like(validation.ratings, 6)))
    assert model.settings["on_edge"] == ["alpha"]


@pytest.mark.parametrize("module", [ridge, knn, svr], ids=module_name)
def test_every_chosen_setting_was_compared_with_both_its_neighbours_or_lies_on_a_named_edge(module, parts):
    model = fit(module, parts[0], parts[1])
    settings = model.settings
    for name in [name for name in model.curve[0] if name != "validation_mse" and name not in settings["on_edge"]]:
        tried = sorted({row[name] for row in model.curve})
        assert tried[0] < settings[name] < tried[-1] or (name, settings[name]) == ("sharpness", 0.0)
    best = min(model.curve, key=lambda row: row["validation_mse"])
    assert {name: settings[name] for name in best if name != "validation_mse"} == {
        name: value for name, value in best.items() if name != "validation_mse"
    }
    json.dumps(settings, allow_nan=False)


def test_nystroems_gamma_and_penalty_are_searched_beyond_their_first_values(parts):
    train, validation, _ = parts
    model = fit(svr, train, validation, gammas=replace(svr.GAMMAS, start=(16.0, 32.0)), exact_rows=100, components=64)
    gammas = sorted({row["gamma"] for row in model.curve})
    assert gammas[0] < 16
    assert gammas[0] < model.settings["gamma"] < gammas[-1]
    alphas = sorted(row["alpha"] for row in model.curve if row["gamma"] == model.settings["gamma"])
    assert alphas[0] < model.settings["alpha"] < alphas[-1]
    assert model.settings["on_edge"] == []


@pytest.mark.parametrize("module", MODULES, ids=module_name)
def test_fitted_anew_on_the_same_movies_a_model_is_the_same(module, parts):
    train, validation, test = parts
    model = fit(module, train, validation)
    again = module.refit(model, train, seed=7, device="cpu")
    np.testing.assert_array_equal(again.predict(test.inputs), model.predict(test.inputs))
    assert again.settings == model.settings


@pytest.mark.parametrize("module", MODULES, ids=module_name)
def test_fitted_anew_on_more_movies_a_model_keeps_what_was_chosen(module, parts, tmp_path):
    train, validation, test = parts
    model = fit(module, train, validation)
    again = module.refit(model, join_examples(train, validation), seed=7, device="cpu")
    kept = {"alpha", "gamma", "C", "epsilon", "neighbours", "sharpness", "method", "on_edge"} & model.settings.keys()
    assert {name: again.settings[name] for name in kept} == {name: model.settings[name] for name in kept}
    assert not np.array_equal(again.predict(test.inputs), model.predict(test.inputs))
    again.save(tmp_path)
    loaded = type(again).load(tmp_path)
    np.testing.assert_array_equal(loaded.predict(test.inputs), again.predict(test.inputs))


def test_an_approximated_regression_stays_one_when_fitted_anew(parts):
    train, validation, test = parts
    model = fit(svr, train, validation, exact_rows=100, components=64)
    again = svr.refit(model, train, seed=7, device="cpu")
    np.testing.assert_allclose(again.predict(test.inputs), model.predict(test.inputs), atol=1e-9)
    few = svr.refit(model, train.take(np.arange(90)), seed=7, device="cpu")
    assert few.vectors.shape == (64, 8)


def test_fewer_movies_than_neighbours_are_all_taken(parts):
    train, validation, test = parts
    model = fit(knn, train, validation)
    few = knn.refit(model, train.take(np.arange(3)), seed=0, device="cpu")
    assert few.settings["neighbours"] == 3
    assert np.isfinite(few.predict(test.inputs)).all()
    assert fit(knn, train.take(np.arange(3)), validation).settings["neighbours"] <= 3
