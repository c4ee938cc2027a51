"""The study's protocol: its split, its grids, its choice by the test set, said to be what they are."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from imdb_pipeline.models import study
from imdb_pipeline.models.examples import INPUT_COLUMNS, Examples, Inputs
from imdb_pipeline.models.study import FIGURES, reproduce, study_split


def examples(count: int, dimension: int = 8, *, documents: bool = False) -> Examples:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(count, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ratings = (6 + 1.5 * vectors[:, 0] + generator.normal(0, 0.5, count)).clip(1, 10).astype(np.float32)
    ids = pl.Series("tconst", [f"tt{row:07d}" for row in generator.permutation(count)])
    movies = pl.DataFrame({"tconst": ids} | dict.fromkeys(INPUT_COLUMNS[1:], ""))
    words = np.where(ratings > 6, "a fine film", "a poor film")
    texts = pl.Series([json.dumps({"title": str(word), "genres": None}) for word in words]) if documents else None
    return Examples(Inputs(movies, vectors, texts), ratings, np.full(count, 50))


@pytest.fixture(scope="module")
def rows():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "CPU_ROWS", 5_000)
        return {row["predictor"]: row for row in reproduce(examples(360), seed=3, device="cpu")}


@pytest.mark.parametrize(
    ("predictor", "mse", "r2"),
    [
        ("mean", 1.637, 0),
        ("linear", 1.187, 0.275),
        ("svr", 1.087, 0.336),
        ("mlp", 1.074, 0.344),
        ("transformer, best epoch", 1.026, 0.373),
        ("transformer, last epoch", 1.155, 0.294),
    ],
)
def test_the_studys_figures_stand_in_one_place(predictor, mse, r2):
    assert (FIGURES[predictor].mse, FIGURES[predictor].r2) == (mse, r2)


@pytest.mark.parametrize(("count", "test"), [(100_000, 20_000), (99_999, 8_333), (240, 20)])
def test_twenty_thousand_movies_are_drawn_or_one_in_twelve_of_few(count, test):
    drawn_from, drawn = study_split(examples(count, 1), seed=1)
    assert (len(drawn_from), len(drawn)) == (count - test, test)
    assert not set(drawn_from.inputs.movies["tconst"]) & set(drawn.inputs.movies["tconst"])


def test_the_draw_follows_from_the_seed_and_the_ids_alone():
    some = examples(240)
    shuffled = some.take(np.random.default_rng(5).permutation(240))

    def drawn(of: Examples, seed: int) -> set[str]:
        return set(study_split(of, seed=seed)[1].inputs.movies["tconst"])

    assert drawn(some, 1) == drawn(shuffled, 1)
    assert drawn(some, 1) != drawn(some, 2)


def test_every_figure_of_the_study_has_a_row_and_none_is_left_out_silently(rows):
    assert list(rows) == list(FIGURES)
    for name, row in rows.items():
        assert (row["study_mse"], row["study_r2"]) == (FIGURES[name].mse, FIGURES[name].r2)
        assert (row["mse"] is None) == (row["skipped"] is not None)
    assert {name for name, row in rows.items() if row["skipped"]} == {
        "sgd", "transformer, best epoch", "transformer, last epoch"
    }  # fmt: skip
    assert rows["transformer, last epoch"]["skipped"] == "no documents were given"
    assert len({tuple(row) for row in rows.values()}) == 1
    json.dumps(list(rows.values()), allow_nan=False)


def test_what_was_chosen_by_the_test_set_says_so(rows):
    for name in ("ridge", "knn", "svr"):
        assert "selected on test: optimistic" in rows[name]["how"]
    for name in ("mean", "linear", "mlp"):
        assert "selected on test" not in rows[name]["how"]
    assert "on the edge of the grid" in rows["svr"]["how"] or "C 1.0" in rows["svr"]["how"]


def test_what_is_not_as_in_the_study_is_listed(rows):
    everywhere = ["8-D embeddings of another encoder in place of 768-D ones", "30 movies for test, one in 12"]
    for row in rows.values():
        if not row["skipped"]:
            assert [found.startswith(said) for found, said in zip(row["differs"], everywhere, strict=False)] == [
                True
            ] * 2
    assert rows["mlp"]["differs"][2:] == [
        "15 epochs on a CPU in place of 600", "batches of 64 movies in place of 4,096"
    ]  # fmt: skip
    assert rows["linear"]["differs"][2:] == []


def test_the_neighbours_are_the_best_of_the_studys_on_test(rows):
    from sklearn.neighbors import KNeighborsRegressor

    train, test = study_split(examples(360), seed=3)
    errors = {}
    for count in range(2, 20):
        model = KNeighborsRegressor(count).fit(train.inputs.embeddings, train.ratings)
        errors[count] = float(((model.predict(test.inputs.embeddings) - test.ratings) ** 2).mean())
    best = min(errors, key=lambda count: errors[count])
    assert rows["knn"]["how"].startswith(f"{best} of 2 to 19 neighbours")
    assert rows["knn"]["mse"] == pytest.approx(errors[best], abs=1e-3)


def test_the_support_vectors_are_the_best_of_the_studys_grid_on_test(rows):
    from sklearn.svm import SVR

    train, test = study_split(examples(360), seed=3)
    errors = {}
    for c in study.COSTS:
        for epsilon in study.EPSILONS:
            model = SVR(C=c, epsilon=epsilon).fit(train.inputs.embeddings, train.ratings)
            errors[c, epsilon] = float(((model.predict(test.inputs.embeddings) - test.ratings) ** 2).mean())
    c, epsilon = min(errors, key=lambda setting: errors[setting])
    assert rows["svr"]["how"].startswith(f"C {c}, epsilon {epsilon}")
    assert rows["svr"]["mse"] == pytest.approx(errors[c, epsilon], abs=1e-4)


@pytest.mark.extra
def test_on_a_cpu_many_movies_are_approximated_and_that_is_listed(monkeypatch):
    monkeypatch.setattr(study.svr, "EXACT_ROWS", 100)
    monkeypatch.setattr(study, "CPU_ROWS", 1)
    rows = {row["predictor"]: row for row in reproduce(examples(240), seed=3, device="cpu")}
    assert rows["svr"]["how"].startswith("Nystroem (220 components)")
    assert "no C and no epsilon" in rows["svr"]["differs"][-1]


@pytest.mark.extra
def test_with_documents_the_transformer_is_trained_once_for_its_best_and_its_last_epoch(monkeypatch):
    monkeypatch.setattr(study, "CPU_ROWS", 1)
    rows = {row["predictor"]: row for row in reproduce(examples(360, documents=True), seed=3, device="cpu")}
    best, last = rows["transformer, best epoch"], rows["transformer, last epoch"]
    assert best["skipped"] is None is last["skipped"]
    assert best["mse"] <= last["mse"] + 1e-6
    assert best["mse_low"] < best["mse"] < best["mse_high"]
    assert last["mse_low"] is None
    assert best["how"].endswith("selected on test: optimistic")
    assert "in place of 12 and 1,024" in best["differs"][-1]
