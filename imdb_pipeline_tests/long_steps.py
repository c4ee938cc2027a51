"""Long steps in small, of several parts each: for tests, and for processes to kill."""

import json
from pathlib import Path

from imdb_pipeline.models import audit, boosting, ridge
from imdb_pipeline.models.blend import BlendModel
from imdb_pipeline.models.champion import build_serving, predict_out_of_fold
from imdb_pipeline.models.examples import Parts
from imdb_pipeline.models.finished import Finished
from imdb_pipeline.models.fitting import fit_predictor, judge
from imdb_pipeline.models.rotation import rotate_all
from imdb_pipeline.models.search import Axis
from imdb_pipeline_tests.test_predictors import examples

KEY = "movies of a day"
BOTH = {"seed": 0, "device": "cpu"}


def parts() -> Parts:
    return Parts(examples(200, 1), examples(60, 2), examples(60, 3))


def fit(checkpoints: str, out: str, key: str = KEY) -> None:
    """Fit a predictor on two splits, and save the first."""
    finished = Finished(Path(checkpoints), key)
    some, others = parts(), Parts(examples(150, 4), examples(60, 5), examples(60, 6))
    by_id, by_time = (
        fit_predictor("knn", each, **BOTH, finished=finished.of(name))
        for name, each in (("by-id", some), ("by-time", others))
    )
    by_id.model.save(Path(out))
    for name, each in (("by-id", by_id), ("by-time", by_time)):
        each.predictions.write_parquet(Path(out) / f"{name}.parquet")


def serve(checkpoints: str, out: str, key: str = KEY) -> None:
    """Make what serves of a blend, and save it."""
    some = parts()
    trees = boosting.fit(some.train, some.validation, **BOTH, leaves=Axis.fixed(4), max_trees=25, seeds=1)
    members = {"ridge": ridge.fit(some.train, some.validation, **BOTH), "boosting": trees}
    model = BlendModel(members, {"method": "blend", "weights": {"ridge": 0.4, "boosting": 0.5}, "offset": 6.0}, [])
    held_out = judge("blend", model, some, fit_seconds=0.0, seed=0).predictions
    finished = Finished(Path(checkpoints), key)
    out_of_fold = predict_out_of_fold("blend", model, some.train, folds=3, **BOTH, finished=finished)
    serving = build_serving("blend", model, some, held_out, out_of_fold, **BOTH, finished=finished)
    serving.model.save(Path(out))
    serving.intervals.save(Path(out))
    serving.unseen.write_parquet(Path(out) / "unseen.parquet")


def evaluate(checkpoints: str, out: str, key: str = KEY) -> None:
    """Put the protocol to the test with two predictors, and write what was found."""
    from imdb_pipeline.models.examples import join_examples

    some, finished = parts(), Finished(Path(checkpoints), key)
    folders = {"ridge": Path(checkpoints) / "fitted-ridge"}
    fitted = ridge.fit(some.train, some.validation, **BOTH)
    fitted.save(folders["ridge"])
    rated = join_examples(some.train, some.validation, some.test)
    blend = {"weights": {"ridge": 0.9}, "offset": 6.0}
    found = {
        "rotation": rotate_all(folders, blend, rated, **BOTH, finished=finished.of("rotation")),
        "shuffled": audit.permuted_labels(ridge.fit, some, **BOTH, shuffles=2, finished=finished.of("shuffled")),
    }
    Path(out).mkdir()
    (Path(out) / "found.json").write_text(json.dumps(found))
