"""A training that was killed goes on from its checkpoint and ends with the bytes of one that was not."""

import logging
from pathlib import Path

import numpy as np
import pytest

from imdb_pipeline.models.checkpoints import Checkpoint, training_key
from imdb_pipeline_tests import small_trainings
from imdb_pipeline_tests.crash import kill

NAMES = ["transformer", "mlp"]


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def train(name: str, checkpoints: Path, model: Path) -> dict[str, bytes]:
    getattr(small_trainings, name)(str(checkpoints), str(model))
    return folder_bytes(model)


@pytest.mark.parametrize(
    ("name", "point", "nth"),
    [
        ("train_transformer", "file: renamed", 1),
        pytest.param("train_transformer", "file: written", 1, marks=pytest.mark.extra),
        pytest.param("train_transformer", "file: renamed", 3, marks=pytest.mark.extra),
        ("train_mlp", "file: renamed", 0),
        pytest.param("train_mlp", "file: made", 1, marks=pytest.mark.extra),
        pytest.param("refit_transformer", "file: renamed", 0, marks=pytest.mark.extra),
    ],
)
def test_killed_in_the_middle_it_ends_with_the_same_bytes(name, point, nth, tmp_path, caplog):
    undisturbed = train(name, tmp_path / "none", tmp_path / "expected")
    kill(f"imdb_pipeline_tests.small_trainings:{name}", tmp_path / "held", tmp_path / "dead", nth=nth, point=point)
    assert not (tmp_path / "dead").exists()
    assert [path.suffix for path in (tmp_path / "held").glob("[!.]*")] == [".safetensors"]
    with caplog.at_level(logging.INFO):
        resumed = train(name, tmp_path / "held", tmp_path / "found")
    assert "going on after epoch" in caplog.text
    assert resumed == undisturbed
    assert list((tmp_path / "held").iterdir()) == []


@pytest.fixture
def held(tmp_path):
    checkpoint = Checkpoint(tmp_path, "mlp", "key")
    checkpoint.write({"a": np.arange(6.0).reshape(2, 3), "b": np.array(4)}, {"epoch": 3, "best": float("inf")})
    return checkpoint


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_a_checkpoint_is_read_as_it_was_written_and_deleted_at_the_end(held, tmp_path):
    read = Checkpoint(tmp_path, "mlp", "key").read()
    assert read is not None
    arrays, progress = read
    np.testing.assert_array_equal(arrays["a"], np.arange(6.0).reshape(2, 3))
    assert arrays["b"] == 4
    assert progress == {"epoch": 3, "best": float("inf")}
    held.remove()
    assert list(tmp_path.iterdir()) == []
    assert held.read() is None


def test_a_checkpoint_of_other_data_is_ignored_and_replaced(held, tmp_path, caplog):
    other = Checkpoint(tmp_path, "mlp", "other")
    with caplog.at_level(logging.INFO):
        assert other.read() is None
    assert "of other data or settings, ignored" in caplog.text
    other.write({"a": np.zeros(1)}, {})
    assert other.read() is not None
    assert held.read() is None
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"\x80\x04\x95" + data,
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    ],
)
def test_a_damaged_checkpoint_is_ignored_with_a_warning(damage, held, tmp_path, caplog):
    path = only_file(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    assert held.read() is None
    assert "damaged" in caplog.text
    assert path.name in caplog.text


def test_a_damaged_checkpoint_changes_no_model(tmp_path, caplog):
    undisturbed = train("train_mlp", tmp_path / "none", tmp_path / "expected")
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "mlp.checkpoint.safetensors").write_bytes(b"half of it")
    assert train("train_mlp", tmp_path / "held", tmp_path / "found") == undisturbed
    assert "damaged" in caplog.text


def test_the_key_tells_data_settings_and_shapes_apart():
    data = np.arange(6, dtype=np.float32)
    keys = {
        training_key({"seed": 1}, [data]),
        training_key({"seed": 2}, [data]),
        training_key({"seed": 1}, [data + 1]),
        training_key({"seed": 1}, [data.reshape(2, 3)]),
        training_key({"seed": 1}, [data[:3], data[3:]]),
    }
    assert len(keys) == 5
    assert training_key({"seed": 1}, [data.copy()]) in keys
