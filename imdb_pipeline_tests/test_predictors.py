"""Every predictor learns a planted signal, finds none in noise, and is the same again from its files."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module

import numpy as np
import polars as pl
import pytest

from imdb_pipeline.errors import InputError, PipelineError
from imdb_pipeline.models import svr
from imdb_pipeline.models.evaluate import evaluate
from imdb_pipeline.models.examples import INPUT_COLUMNS, Examples, Inputs, Parts
from imdb_pipeline.models.features import FEWEST_UNKNOWN, Features
from imdb_pipeline.models.fitting import PREDICTORS, fit_predictor, load_predictor
from imdb_pipeline.models.search import Axis

QUICK = {
    "mean": {},
    "linear": {},
    "knn": {},
    "svr": {"gammas": Axis.fixed(1.0, 2.0), "cs": Axis.fixed(0.5, 2.0), "epsilons": Axis.fixed(0.3)},
    "mlp": {"cycles": 2, "dropout": 0.3},
    "boosting": {"leaves": Axis.fixed(7), "max_trees": 150, "seeds": 2},
}
NAMES = list(QUICK)
CREDITS = pl.List(pl.Struct({"nconst": pl.String, "category": pl.String, "name": pl.String}))


def examples(count: int, seed: int, *, signal: bool = True) -> Examples:
    """Movies whose rating follows from their vector, in a line and not, and from genre and runtime, plus noise."""
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(count, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    runtime = generator.integers(60, 180, count)
    horror = generator.random(count) < 0.3
    movies = pl.DataFrame(
        {
            "tconst": [f"tt{seed:03d}{row:05d}" for row in range(count)],
            "title": [f"Movie {row}" for row in range(count)],
            "original_title": [f"Movie {row}" if row % 3 else f"Le film {row}" for row in range(count)],
            "title_type": ["movie" if row % 4 else "tvMovie" for row in range(count)],
            "is_adult": [False] * count,
            "release_year": [2000 + row % 20 if row % 50 else None for row in range(count)],
            "runtime_minutes": [int(minutes) if row % 40 else None for row, minutes in enumerate(runtime)],
            "genres": [["Horror"] if scary else ["Drama", "Comedy"] for scary in horror],
            "credits": [
                [{"nconst": f"nm{row % 90}", "category": category, "name": None} for category in ("director", "writer")]
                for row in range(count)
            ],
        },
        schema_overrides={"release_year": pl.Int32, "runtime_minutes": pl.Int32, "credits": CREDITS},
    )
    planted = 1.5 * vectors[:, 0] + 1.5 * np.sin(4 * vectors[:, 1]) - 1.2 * horror + (runtime - 120) / 60
    ratings = 6 + planted * signal + generator.normal(0, 0.4 if signal else 1.3, count)
    votes = generator.integers(30, 3000, count)
    return Examples(Inputs(movies, vectors), np.clip(ratings, 1, 10).astype(np.float32), votes)


@pytest.fixture(scope="module")
def parts():
    return examples(500, 1), examples(150, 2), examples(150, 3)


@pytest.fixture(scope="module")
def fitted(parts):
    return {name: fit(name, parts[0], parts[1]) for name in NAMES}


def fit(name, train, validation, **settings):
    return import_module(PREDICTORS[name].module).fit(
        train, validation, seed=7, device="cpu", **{**QUICK[name], **settings}
    )


def against_mean(model, train, judged):
    mean = np.full(len(judged), train.ratings.mean(dtype=np.float64))
    return evaluate(model.predict(judged.inputs), judged.ratings, mean, seed=0)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "mean"])
def test_a_planted_signal_is_learned(name, parts, fitted):
    metrics = against_mean(fitted[name], parts[0], parts[1])
    assert metrics["beats_mean"] is True
    assert against_mean(fitted[name], parts[0], parts[2])["r2"] > 0.15


@pytest.mark.parametrize("name", ["knn", "svr", "mlp"])
def test_a_signal_that_is_in_no_line_is_learned_too(name):
    def bent(count, seed):
        plain = examples(count, seed)
        ratings = 6 + 2 * np.cos(5 * plain.inputs.embeddings[:, 0])
        return replace(plain, ratings=ratings.astype(np.float32))

    train, validation = bent(600, 1), bent(200, 2)
    line = against_mean(fit("linear", train, validation), train, validation)["r2"]
    assert against_mean(fit(name, train, validation), train, validation)["r2"] > line + 0.2


@pytest.mark.parametrize("name", NAMES)
def test_pure_noise_does_not_beat_the_mean(name):
    train, validation, test = (examples(300, seed, signal=False) for seed in (11, 12, 13))
    # Judged where nothing was chosen: on validation the best of many settings is a little lucky.
    assert against_mean(fit(name, train, validation), train, test)["beats_mean"] is False


@pytest.mark.parametrize("name", NAMES)
def test_the_ratings_of_the_test_set_change_no_prediction(name, parts, monkeypatch):
    train, validation, test = parts
    module = PREDICTORS[name].module
    quick = import_module(module).fit
    monkeypatch.setattr(f"{module}.fit", lambda *args, **kwargs: quick(*args, **kwargs, **QUICK[name]))
    shuffled = replace(test, ratings=np.random.default_rng(0).permutation(test.ratings))
    plain, other = (
        fit_predictor(name, Parts(train, validation, part), seed=1, device="cpu") for part in (test, shuffled)
    )
    assert plain.predictions["prediction"].equals(other.predictions["prediction"])
    assert plain.model.settings == other.model.settings
    assert plain.metrics["validation"] == other.metrics["validation"]


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_predictor_predicts_the_same(name, parts, fitted, tmp_path):
    fitted[name].save(tmp_path / "model")
    loaded = load_predictor(name, tmp_path / "model")
    expected, found = fitted[name].predict(parts[2].inputs), loaded.predict(parts[2].inputs)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, expected)
    assert json.loads(json.dumps(fitted[name].settings, allow_nan=False)) == loaded.settings
    assert json.loads(json.dumps(fitted[name].curve, allow_nan=False)) == loaded.curve
    assert {path.suffix for path in (tmp_path / "model").iterdir()} <= {".json", ".safetensors", ".txt", ".parquet"}


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_bytes(name, parts, fitted, tmp_path):
    fitted[name].save(tmp_path / "a")
    fit(name, parts[0], parts[1]).save(tmp_path / "b")
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "b").iterdir())
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(name, fitted, tmp_path):
    fitted[name].save(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(PipelineError, match=f"{path.name}: .*`imdb-pipeline run --force`"):
            load_predictor(name, tmp_path)
        path.write_bytes(content)


@pytest.mark.parametrize("name", ["mean", "linear", "knn", "svr", "mlp"])
def test_a_damaged_file_is_named(name, fitted, tmp_path):
    fitted[name].save(tmp_path)
    (tmp_path / "arrays.safetensors").write_bytes(b"not arrays")
    with pytest.raises(PipelineError, match=r"arrays\.safetensors"):
        load_predictor(name, tmp_path)
    (tmp_path / "settings.json").write_text("{", encoding="utf-8")
    with pytest.raises(PipelineError, match=r"settings\.json"):
        load_predictor(name, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_predictions_stay_on_the_scale_and_need_nothing_that_may_be_unknown(name, fitted):
    unknown = pl.DataFrame(
        {
            "tconst": ["tt1", "tt2"],
            "title": ["", "★ 9"],
            "original_title": ["", "九"],
            "title_type": ["movie", "tvMovie"],
            "is_adult": [True, False],
            "release_year": pl.Series([None, 2031], dtype=pl.Int32),
            "runtime_minutes": pl.Series([None, 50_000], dtype=pl.Int32),
            "genres": [None, ["Never seen"]],
            "credits": pl.Series([[], [{"nconst": "nm1", "category": "never seen", "name": None}]], dtype=CREDITS),
        }
    )
    vectors = np.eye(2, 8, dtype=np.float32)
    vectors.flags.writeable = False  # as they come from Parquet
    predictions = fitted[name].predict(Inputs(unknown, vectors))
    assert predictions.shape == (2,)
    assert ((predictions >= 1) & (predictions <= 10)).all()


@pytest.mark.parametrize("name", ["linear", "knn", "svr", "mlp"])
def test_embeddings_of_another_encoder_are_refused(name, parts, fitted):
    movies = parts[2].inputs.movies
    with pytest.raises(PipelineError, match="8-D embeddings, these are 5-D"):
        fitted[name].predict(Inputs(movies, np.ones((len(movies), 5), dtype=np.float32)))


def test_votes_and_ratings_are_no_inputs(parts):
    movies = parts[2].inputs.movies
    for column in ("num_votes", "average_rating"):
        with pytest.raises(ValueError, match=column):
            Inputs(movies.with_columns(pl.lit(1.0).alias(column)), parts[2].inputs.embeddings)


def test_an_unknown_predictor_is_named_with_those_there_are(tmp_path):
    with pytest.raises(InputError, match="no predictor 'forest'; there are mean, linear"):
        load_predictor("forest", tmp_path)


def test_a_fit_reports_predictions_of_validation_and_test_alone(parts):
    train, validation, test = parts
    result = fit_predictor("linear", Parts(train, validation, test), seed=0, device="cpu")
    assert result.predictions["split"].to_list() == ["validation"] * 150 + ["test"] * 150
    assert result.predictions["tconst"].to_list() == [
        *validation.inputs.movies["tconst"],
        *test.inputs.movies["tconst"],
    ]
    error = ((result.predictions["prediction"] - result.predictions["rating"]) ** 2).tail(150).mean()
    assert error == pytest.approx(result.metrics["test"]["mse"])
    assert result.n_train == 500
    json.dumps(result.summary(), allow_nan=False)


def test_the_support_vector_regression_is_scikit_learns(parts, fitted):
    from sklearn.svm import SVR

    model, settings = fitted["svr"], fitted["svr"].settings
    assert settings["method"] == "exact RBF SVR"
    assert settings["library"] == "scikit-learn"
    reference = SVR(kernel="rbf", C=settings["C"], epsilon=settings["epsilon"], gamma=settings["gamma"])
    reference.fit(parts[0].inputs.embeddings, parts[0].ratings)
    expected = np.clip(reference.predict(parts[2].inputs.embeddings), 1, 10)
    np.testing.assert_allclose(model.predict(parts[2].inputs), expected, atol=1e-5)


def test_with_many_support_vectors_fewer_movies_are_predicted_at_once(parts, fitted, monkeypatch):
    def noted(movies, vectors, gamma):
        cells.append(len(movies) * len(vectors))
        return kernel(movies, vectors, gamma)

    model, cells, kernel = fitted["svr"], [], svr._kernel
    expected, most = model.predict(parts[2].inputs), 3 * len(model.vectors) + 1
    monkeypatch.setattr(svr, "CELLS_AT_ONCE", most)
    monkeypatch.setattr(svr, "_kernel", noted)
    np.testing.assert_allclose(model.predict(parts[2].inputs), expected, atol=1e-5)
    assert max(cells) <= most


def test_above_the_exact_rows_the_kernel_is_approximated_and_says_so(parts, tmp_path):
    train, validation, test = parts
    model = fit("svr", train, validation, exact_rows=100, components=64)
    assert model.settings["method"] == "Nystroem (64 components) + ridge regression"
    assert against_mean(model, train, test)["r2"] > 0.15
    model.save(tmp_path)
    np.testing.assert_array_equal(load_predictor("svr", tmp_path).predict(test.inputs), model.predict(test.inputs))
    # With every movie a landmark there is no approximation left: it is kernel ridge regression.
    from sklearn.kernel_ridge import KernelRidge

    whole = fit("svr", train, validation, exact_rows=100, components=len(train))
    settings = whole.settings
    mean = train.ratings.mean(dtype=np.float64)
    exact = KernelRidge(kernel="rbf", gamma=settings["gamma"], alpha=settings["alpha"])
    exact.fit(train.inputs.embeddings, train.ratings - mean)
    expected = np.clip(exact.predict(test.inputs.embeddings) + mean, 1, 10)
    np.testing.assert_allclose(whole.predict(test.inputs), expected, atol=0.02)


def test_a_loss_that_is_no_number_stops_the_training(parts):
    with pytest.raises(PipelineError, match="not a number"):
        fit("mlp", parts[0], parts[1], learning_rate=float("inf"))


def test_training_the_network_leaves_torchs_generator_alone(parts):
    import torch

    before = torch.random.get_rng_state()
    fit("mlp", parts[0], parts[1], cycles=1, first_cycle=1)
    assert torch.equal(before, torch.random.get_rng_state())


def test_features_are_learned_from_training_movies_alone_and_name_no_person(parts):
    features = Features.learn(parts[0].inputs.movies)
    assert features.genres == ("Comedy", "Drama", "Horror")
    assert features.categories == ("director", "writer")
    matrix = features.matrix(parts[2].inputs.movies)
    assert matrix.shape == (150, len(features.names))
    column = dict(zip(features.names, matrix.T, strict=True))
    assert np.isfinite(matrix).all()
    np.testing.assert_array_equal(
        column["genre_Horror"], parts[2].inputs.movies["genres"].list.contains("Horror").cast(pl.Float32).to_numpy()
    )
    assert (column["credits_director"] == 1).all()
    assert not any("nm" in name or "votes" in name or "rating" in name for name in features.names)


@pytest.mark.parametrize(("missing", "expected"), [(0, 2002.0), (FEWEST_UNKNOWN - 1, 2002.0), (FEWEST_UNKNOWN, np.nan)])
def test_an_unknown_year_is_the_median_of_training_unless_many_training_movies_lacked_it(parts, missing, expected):
    movies = parts[0].inputs.movies.drop_nulls("release_year")
    years = [None] * missing + [2001, 2002, 2003, 2050] * 20
    years += [2002] * (len(movies) - len(years))
    features = Features.learn(movies.with_columns(release_year=pl.Series(years, dtype=pl.Int32)))
    features = Features.from_json(json.loads(json.dumps(features.to_json())), "features.json")
    unknown = movies.head(1).with_columns(release_year=pl.lit(None, pl.Int32))
    assert features.matrix(unknown)[0, features.names.index("release_year")] == pytest.approx(expected, nan_ok=True)


def test_a_movie_of_an_unknown_year_is_predicted_as_one_of_the_median_year(parts):
    train, validation = (
        each.take(np.flatnonzero(each.inputs.movies["release_year"].is_not_null())) for each in parts[:2]
    )
    years = train.inputs.movies["release_year"].to_numpy()
    ratings = np.clip(6 - (years - years.mean()) / years.std(), 1, 10).astype(np.float32)  # the older the better
    model = fit("boosting", replace(train, ratings=ratings), validation, leaves=Axis.fixed(7), seeds=1)
    movie = train.inputs.movies.head(1).with_columns(tconst=pl.lit("tt9999999"))
    median = model.features.medians["release_year"]
    rows = [movie.with_columns(release_year=pl.lit(year, pl.Int32)) for year in (None, median)]
    unknown, usual = model.predict(Inputs(pl.concat(rows), np.zeros((2, 8), np.float32)))
    assert unknown == usual


@pytest.mark.parametrize(
    "changed", [{"medians": None}, {"medians": {"release_year": 2000}}, {"lacked": "release_year"}, {"genres": [1]}]
)
@pytest.mark.parametrize("gone", [True, False])
def test_features_of_another_version_are_refused_with_what_to_run(changed, gone, parts):
    value = Features.learn(parts[0].inputs.movies).to_json()
    ((key, new),) = changed.items()
    changed = {name: each for name, each in value.items() if name != key} | ({} if gone else {key: new})
    with pytest.raises(PipelineError, match=rf"features\.json: '{key}' .* `imdb-pipeline run --force`") as caught:
        Features.from_json(changed, "features.json")
    assert len(str(caught.value).splitlines()) == 1


def test_a_new_movies_id_and_its_peoples_names_change_no_prediction_of_the_trees(parts, fitted):
    inputs = parts[2].inputs
    renamed = inputs.movies.with_columns(
        pl.col("tconst").reverse(),
        pl.col("credits").list.eval(pl.element().struct.with_fields(name=pl.field("nconst") + pl.lit("x"))),
    ).select(INPUT_COLUMNS)
    model = fitted["boosting"]
    np.testing.assert_array_equal(model.predict(Inputs(renamed, inputs.embeddings)), model.predict(inputs))
