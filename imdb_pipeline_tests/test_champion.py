"""The blend's weights, who becomes champion, and that nothing of a movie's own rating reaches its prediction."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from imdb_pipeline.champions import VERSION, list_champions, restore_champion
from imdb_pipeline.errors import InputError, PipelineError
from imdb_pipeline.models.blend import BlendModel, fit_weights
from imdb_pipeline.models.champion import build_serving, challenge, fold_of, predict_out_of_fold, prove
from imdb_pipeline.models.examples import Examples, Parts
from imdb_pipeline.models.fitting import fit_predictor, load_predictor, refit_predictor
from imdb_pipeline.orchestration.planning import has_champion
from imdb_pipeline.store import Store
from imdb_pipeline_tests.test_predictors import examples


def held_out(errors: dict[str, float], *, count: int = 2000, seed: int = 0) -> dict[str, pl.DataFrame]:
    """Held-out predictions of predictors that are as wrong as given, each in its own way; and of the mean."""
    generator = np.random.default_rng(seed)
    ratings = generator.normal(6, 1.2, count)
    frame = pl.DataFrame(
        {
            "tconst": [f"tt{row:07}" for row in range(count)],
            "split": ["validation" if row % 2 else "test" for row in range(count)],
            "rating": ratings,
        }
    )
    made = {name: ratings + generator.normal(0, error, count) for name, error in errors.items()}
    return {
        name: frame.with_columns(prediction=pl.Series(values))
        for name, values in {"mean": np.full(count, 6.0), **made}.items()
    }


def mse(frame: pl.DataFrame, part: str = "test") -> float:
    return frame.filter(split=part).select(((pl.col("prediction") - pl.col("rating")) ** 2).mean()).item()


def test_a_blend_of_two_that_err_differently_is_better_than_either_and_drops_what_only_costs():
    frames = held_out({"a": 0.9, "b": 1.0, "noise": 9.0})
    blended = fit_weights(frames, seed=0)
    assert set(blended.weights.weights) == {"a", "b"}
    assert all(weight > 0 for weight in blended.weights.weights.values())
    assert mse(blended.predictions) < 0.75 * min(mse(frames["a"]), mse(frames["b"]))
    assert blended.settings["members_tried"] == ["a", "b", "noise"]


def test_what_is_worse_than_nothing_gets_no_weight():
    frames = held_out({"good": 0.5})
    frames["against"] = frames["good"].with_columns(prediction=12 - pl.col("prediction"))
    assert list(fit_weights(frames, seed=0).weights.weights) == ["good"]


def test_where_nobody_knows_anything_the_blend_is_the_mean_and_beats_nobody(parts):
    frames = held_out({"a": 0.9})
    frames["a"] = frames["a"].with_columns(prediction=12 - pl.col("prediction"))
    blended = fit_weights(frames, seed=0)
    assert blended.weights.weights == {}
    assert blended.predictions["prediction"].unique().to_list() == [6.0]
    model = BlendModel({}, blended.settings, blended.curve)
    assert model.predict(parts.test.inputs).tolist() == [6.0] * len(parts.test)


def test_a_rating_of_validation_does_not_help_to_predict_itself():
    frames = held_out({"a": 0.9, "b": 1.0}, count=300)
    plain = fit_weights(frames, seed=0).predictions
    row = plain.with_row_index().filter(split="validation")["index"][7]
    moved = {
        name: frame.with_columns(rating=pl.when(pl.int_range(pl.len()) == row).then(10.0).otherwise(pl.col("rating")))
        for name, frame in frames.items()
    }
    other = fit_weights(moved, seed=0).predictions
    assert other["prediction"][row] == plain["prediction"][row]
    assert not other["prediction"].equals(plain["prediction"])


def test_the_ratings_of_test_change_neither_weights_nor_predictions():
    frames = held_out({"a": 0.9, "b": 1.0})
    shuffled = {
        name: frame.with_columns(
            rating=pl.when(pl.col("split") == "test").then(pl.col("rating").reverse()).otherwise(pl.col("rating"))
        )
        for name, frame in frames.items()
    }
    plain, other = fit_weights(frames, seed=0), fit_weights(shuffled, seed=0)
    assert plain.settings == other.settings
    assert plain.predictions["prediction"].equals(other.predictions["prediction"])


@pytest.mark.parametrize("broken", [{"mean"}, {"mean", "a"}])
def test_predictions_of_other_movies_are_not_blended(broken):
    frames = held_out({"a": 0.9, "b": 1.0})
    cut = {name: frame.head(100) if name in broken else frame for name, frame in frames.items()}
    with pytest.raises(ValueError, match="the same movies"):
        fit_weights(cut, seed=0)


@pytest.fixture(scope="module")
def parts() -> Parts:
    return Parts(examples(400, 1), examples(120, 2), examples(120, 3))


@pytest.fixture(scope="module")
def fitted(parts):
    return {name: fit_predictor(name, parts, seed=0, device="cpu") for name in ("mean", "ridge", "knn")}


def blend_of(fitted) -> BlendModel:
    blended = fit_weights({name: result.predictions for name, result in fitted.items()}, seed=0)
    members = {name: fitted[name].model for name in blended.weights.weights}
    return BlendModel(members, blended.settings, blended.curve)


def test_a_blend_predicts_the_same_from_its_files_and_is_fitted_again_member_by_member(parts, fitted, tmp_path):
    model = blend_of(fitted)
    model.save(tmp_path / "blend")
    loaded = load_predictor("blend", tmp_path / "blend")
    np.testing.assert_array_equal(loaded.predict(parts.test.inputs), model.predict(parts.test.inputs))
    again = refit_predictor("blend", model, parts.train, seed=0, device="cpu")
    assert again.settings == model.settings
    np.testing.assert_allclose(again.predict(parts.test.inputs), model.predict(parts.test.inputs), atol=1e-6)


@pytest.mark.parametrize("weights", [{"nobody": 0.5}, {"ridge": "much"}, {"../../outside": 1.0}])
def test_a_blend_of_unknown_members_is_refused(fitted, tmp_path, weights):
    blend_of(fitted).save(tmp_path)
    settings = json.loads((tmp_path / "settings.json").read_text())
    (tmp_path / "settings.json").write_text(json.dumps(settings | {"weights": weights}))
    with pytest.raises(PipelineError, match="no member"):
        load_predictor("blend", tmp_path)


def test_a_challenger_that_is_not_worse_replaces_the_champion():
    frames = held_out({"champion": 1.0, "better": 0.8, "as good": 1.0, "worse": 1.3})
    champion = frames["champion"]
    assert challenge(None, champion, seed=0)["replaces"]
    assert challenge(champion, champion, seed=0)["replaces"]
    assert challenge(champion, frames["as good"], seed=0)["replaces"]
    better, worse = (challenge(champion, frames[name], seed=0) for name in ("better", "worse"))
    assert better["replaces"]
    assert better["mse_gain_low"] > 0
    assert not worse["replaces"]
    assert worse["mse_gain_high"] < 0
    assert worse["n"] == 1000
    assert "worse on 1000 movies of validation" in worse["why"]


def test_only_movies_that_both_held_out_count_and_with_todays_ratings():
    frames = held_out({"champion": 1.0, "challenger": 1.3})
    elsewhere = frames["champion"].with_columns(tconst=pl.col("tconst").str.replace("tt", "tt9"))
    assert "too few to compare" in challenge(elsewhere, frames["challenger"], seed=0)["why"]
    old = frames["champion"].with_columns(rating=pl.lit(1.0))
    assert challenge(old, frames["challenger"], seed=0) == challenge(frames["champion"], frames["challenger"], seed=0)


def test_folds_hold_about_as_many_each_and_depend_on_the_id_alone():
    ids = pl.Series([f"tt{row:07}" for row in range(4000)])
    folds = fold_of(ids, 4)
    assert np.bincount(folds).min() > 900
    np.testing.assert_array_equal(fold_of(ids.reverse(), 4), folds[::-1])


def served(result, parts, *, folds):
    both = {"seed": 0, "device": "cpu"}
    out_of_fold = predict_out_of_fold("ridge", result.model, parts.train, folds=folds, **both)
    return build_serving("ridge", result.model, parts, result.predictions, out_of_fold, **both)


@pytest.mark.parametrize(
    ("of_validation", "of_train", "passes"), [(1.0, 0.0, False), (0.0, 0.6, True), (0.0, 0.0, False)]
)
def test_the_proof_is_of_all_movies_that_were_not_seen_but_those_of_test(of_validation, of_train, passes):
    draw = np.random.default_rng(0)

    def frame(split, count, share):
        rating = draw.normal(6, 1, count)
        other = draw.normal(6, 1, count)
        prediction = 6 + share * (rating - 6) + (0 if share else 0.5) * (other - 6)
        ids = [f"{split}{row}" for row in range(count)]
        return pl.DataFrame({"tconst": ids, "split": split, "rating": rating, "prediction": prediction})

    held_out = pl.concat([frame("validation", 40, of_validation), frame("test", 40, 1.0)])
    proof = prove(frame("train", 350, of_train), held_out, seed=0)
    assert (proof["n"], proof["passes"]) == (390, passes)
    assert proof["why"].startswith("better" if passes else "no better")
    assert (proof["mse_gain_low"] > 0) is passes


def test_a_training_movies_prediction_knows_nothing_of_its_rating(parts):
    result = fit_predictor("ridge", parts, seed=0, device="cpu")

    def unseen(train: Examples) -> pl.DataFrame:
        with_other = Parts(train, parts.validation, parts.test)
        serving = served(result, with_other, folds=4)
        return serving.unseen

    plain = unseen(parts.train)
    assert plain["basis"].value_counts().sort("basis").rows() == [("held_out", 240), ("out_of_fold", 400)]
    assert plain.null_count().sum_horizontal().item() == 0
    tconst = parts.train.inputs.movies["tconst"]
    own = np.flatnonzero(fold_of(tconst, 4) == 2)
    changed = parts.train.ratings.copy()
    changed[own] = 1.0
    other = unseen(Examples(parts.train.inputs, changed, parts.train.votes))
    both = plain.join(other, on="tconst", suffix="_other")
    same = both.filter(pl.col("prediction") == pl.col("prediction_other"))["tconst"]
    assert set(same) >= set(tconst[own])  # their own ratings changed, and no prediction of theirs
    assert len(same) < len(both)


def test_the_ratings_of_validation_and_test_do_not_reach_what_the_intervals_are_learnt_from(parts):
    result = fit_predictor("ridge", parts, seed=0, device="cpu")

    def out_of_fold(changed: Parts) -> pl.DataFrame:
        serving = served(result, changed, folds=2)
        return serving.unseen.filter(basis="out_of_fold")

    shuffled = [
        Examples(part.inputs, np.random.default_rng(0).permutation(part.ratings), part.votes)
        for part in (parts.validation, parts.test)
    ]
    assert out_of_fold(parts).equals(out_of_fold(Parts(parts.train, *shuffled)))


def test_the_serving_model_is_fitted_on_all_rated_movies_with_the_settings_that_were_chosen(parts):
    result = fit_predictor("ridge", parts, seed=0, device="cpu")
    serving = served(result, parts, folds=2)
    assert serving.rated == 640
    assert serving.model.settings["alpha"] == result.model.settings["alpha"]
    together = np.concatenate([part.ratings for part in (parts.train, parts.validation, parts.test)])
    assert serving.mean == pytest.approx(float(together.mean(dtype=np.float64)))
    again = refit_predictor("ridge", result.model, parts.train, seed=0, device="cpu")
    np.testing.assert_allclose(again.predict(parts.test.inputs), result.model.predict(parts.test.inputs))


def publish(store: Store, day: str, model: str | None, *, key: str = "k") -> None:
    with store.stage("champion") as folder:
        content = {"model": model, "id": f"{model}-{day}", "trained": day, "challenge": {"why": "there was none"}}
        (folder / "champion.json").write_text(json.dumps(content))
        metrics = {part: {"mse": 1.0, "r2": 0.3} for part in ("validation", "test")}
        (folder / "metrics.json").write_text(json.dumps({"metrics": metrics}))
        (folder / "model").mkdir()
        (folder / "model" / "weights.txt").write_text(f"of {day}")
        store.publish(
            folder,
            asset="champion",
            day=day,
            key=key,
            code_version=VERSION,
            inputs={},
            settings={},
            rows=0 if model is None else 1,
            info={"checks": []},
        )


def test_a_kept_champion_can_be_restored_and_the_run_of_that_day_leaves_it_there(tmp_path):
    store = Store(tmp_path / "store")
    for day in ("2026-03-01", "2026-03-08", "2026-03-15"):
        publish(store, day, "blend", key=f"key of {day}")
    revision = restore_champion(store, "2026-03-01")
    assert (revision.day, revision.key) == ("2026-03-15", "key of 2026-03-15")
    assert revision.file("model/weights.txt").read_text() == "of 2026-03-01"
    store.verify(store.get("champion", "2026-03-15"))
    listed = list_champions(store)
    ids = [f"blend-2026-03-{day}" for day in ("01", "08", "15", "01")]
    assert [row["id"] for row in listed] == ids
    assert [row["serves"] for row in listed] == [False, False, False, True]
    assert listed[-1]["why"] == "restored: blend-2026-03-01"
    with pytest.raises(InputError, match="serves already"):
        restore_champion(store, "2026-03-01")
    restore_champion(store, "2026-03-08")
    assert list_champions(store)[-1]["id"] == "blend-2026-03-08"
    restore_champion(store, "2026-03-15")  # what was replaced can come back
    assert list_champions(store)[-1]["id"] == "blend-2026-03-15"
    restore_champion(store, "blend-2026-03-08")
    assert list_champions(store)[-1]["id"] == "blend-2026-03-08"


def test_a_champion_that_is_not_held_or_was_tampered_with_is_not_restored(tmp_path):
    store = Store(tmp_path / "store")
    publish(store, "2026-03-01", "blend")
    publish(store, "2026-03-08", None)
    publish(store, "2026-03-15", "svr")
    assert [row["day"] for row in list_champions(store)] == ["2026-03-01", "2026-03-15"]
    for day in ("2026-03-08", "2026-01-01"):
        with pytest.raises(InputError, match="is kept; there are blend-2026-03-01, svr-2026-03-15"):
            restore_champion(store, day)
    store.get("champion", "2026-03-01").file("model/weights.txt").write_text("other weights")
    with pytest.raises(PipelineError, match=r"weights\.txt: not the bytes that were published"):
        restore_champion(store, "2026-03-01")
    store.expire(store.get("champion", "2026-03-01"))
    with pytest.raises(InputError, match="no champion of this day or id is kept; there are svr-2026-03-15"):
        restore_champion(store, "2026-03-01")


def test_a_champion_of_an_older_version_is_listed_and_not_restored(tmp_path):
    store = Store(tmp_path / "store")
    with store.stage("champion") as folder:
        (folder / "champion.json").write_text('{"model": "boosting", "reason": null}')
        made = {"asset": "champion", "day": "2026-03-01", "key": "k", "code_version": "1", "inputs": {}, "settings": {}}
        store.publish(folder, **made, rows=1, info={"checks": []})
    assert list_champions(store) == [{"day": "2026-03-01", "kept": False, "serves": True}]
    assert not has_champion(store)
    with pytest.raises(InputError, match="there are none"):
        restore_champion(store, "2026-03-01")
