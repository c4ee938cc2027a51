"""A long step that was killed keeps its finished parts, ends with the same bytes, and uses nothing that is stale."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from imdb_pipeline.models.finished import Finished, code_hash
from imdb_pipeline.models.fitting import fit_predictor
from imdb_pipeline_tests import long_steps
from imdb_pipeline_tests.crash import kill

KEPT = "kept from a run that did not end"
WITHOUT = [f"without-{bucket}" for bucket in range(10)]


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(step: str, checkpoints: Path, out: Path, *key: str) -> dict[str, bytes]:
    getattr(long_steps, step)(str(checkpoints), str(out), *key)
    return folder_bytes(out)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return {step: run(step, folder / step, folder / f"{step}-out") for step in ("fit", "serve", "evaluate")}


@pytest.mark.parametrize(
    ("step", "point", "nth", "kept"),
    [
        ("fit", "file: renamed", 0, ["fitted"]),
        pytest.param("fit", "file: written", 0, [], marks=pytest.mark.extra),
        ("serve", "file: renamed", 1, ["fold-0", "fold-1"]),
        pytest.param("serve", "file: written", 0, [], marks=pytest.mark.extra),
        pytest.param("serve", "file: renamed", 3, ["fold-0", "fold-1", "fold-2", "all"], marks=pytest.mark.extra),
        ("evaluate", "file: written", 10, [f"without-{bucket}" for bucket in range(10)]),
        pytest.param(
            "evaluate", "file: made", 4, [f"without-{bucket}" for bucket in range(4)], marks=pytest.mark.extra
        ),
    ],
)
def test_killed_in_the_middle_it_goes_on_with_what_it_had_finished(
    step, point, nth, kept, undisturbed, tmp_path, caplog
):
    held = tmp_path / "held"
    kill(f"imdb_pipeline_tests.long_steps:{step}", held, tmp_path / "dead", nth=nth, point=point)
    assert not (tmp_path / "dead").exists()
    with caplog.at_level(logging.INFO):
        assert run(step, held, tmp_path / "found") == undisturbed[step]
    assert [record.getMessage() for record in caplog.records if KEPT in record.getMessage()] == [
        f"{name}: {KEPT}" for name in kept
    ]


def test_what_is_kept_of_another_key_is_not_used(undisturbed, tmp_path, caplog):
    run("serve", tmp_path / "held", tmp_path / "other", "movies of another day")
    with caplog.at_level(logging.INFO):
        assert run("serve", tmp_path / "held", tmp_path / "found") == undisturbed["serve"]
    assert KEPT not in caplog.text


def numbers(finished: Finished, value: float) -> float:
    return float(finished.predictions("fold-0", lambda: np.full(3, value))[0])


def test_predictions_are_made_once_for_a_key(tmp_path):
    assert numbers(Finished(tmp_path, "a"), 1) == 1
    assert numbers(Finished(tmp_path, "a"), 2) == 1
    assert numbers(Finished(tmp_path, "a").of("within"), 3) == 3
    assert numbers(Finished(tmp_path, "b"), 4) == 4
    assert numbers(Finished(tmp_path, "a"), 5) == 5


def test_without_a_folder_nothing_is_kept(tmp_path):
    nowhere = Finished(None, "a")
    assert [numbers(nowhere, value) for value in (1, 2)] == [1, 2]
    assert nowhere.checkpoints("fold-0") is None


@pytest.mark.parametrize(
    "damage",
    [lambda path: path.write_bytes(path.read_bytes()[:-1] + b"!"), pytest.param(Path.unlink, marks=pytest.mark.extra)],
)
def test_a_damaged_part_is_made_again(damage, undisturbed, tmp_path, caplog):
    held = tmp_path / "held"
    run("serve", held, tmp_path / "first")
    damage(held / "fold-1.checkpoint.safetensors")
    damage(held / "all.model" / "boosting" / "trees_0.txt")
    shutil.copyfile(held / "fold-2.checkpoint.safetensors", held / "unknown.checkpoint.safetensors")
    with caplog.at_level(logging.INFO):
        assert run("serve", held, tmp_path / "found") == undisturbed["serve"]
    assert caplog.text.count(KEPT) == 2
    assert folder_bytes(held / "all.model").items() <= undisturbed["serve"].items()


def test_a_kept_model_is_told_with_the_seconds_that_it_took(tmp_path):
    some = long_steps.parts()
    first = fit_predictor("ridge", some, **long_steps.BOTH, finished=Finished(tmp_path, "a"))
    kept = fit_predictor("ridge", some, **long_steps.BOTH, finished=Finished(tmp_path, "a"))
    assert kept.fit_seconds == first.fit_seconds > 0
    assert kept.metrics == first.metrics


def test_a_change_in_the_code_of_the_models_changes_the_key(tmp_path):
    folders = [tmp_path / name for name in "abc"]
    for folder, text in zip(folders, ("x = 1\n", "x = 1\n", "x = 2\n"), strict=True):
        folder.mkdir()
        (folder / "model.py").write_text(text)
    same, again, other = (code_hash(folder) for folder in folders)
    assert same == again != other
