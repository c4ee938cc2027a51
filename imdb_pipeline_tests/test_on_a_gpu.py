"""What a CUDA GPU computes is what a CPU does, packed and recorded as it should be; skipped where there is none."""

import logging

import numpy as np
import pytest
import torch

from imdb_pipeline.embeddings.encoder import Encoder
from imdb_pipeline.embeddings.model_files import choose_encoder
from imdb_pipeline.embeddings.neighbours import nearest
from imdb_pipeline.models import knn, mlp, svr, transformer
from imdb_pipeline.models.steps import Steps
from imdb_pipeline_tests.small_trainings import SIZE, examples
from imdb_pipeline_tests.test_packing import TEXTS
from imdb_pipeline_tests.tiny_encoders import write_encoder

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

DEVICE = "cuda"
KINDS = {"knn": knn.KnnModel, "svr": svr.SvrModel, "mlp": mlp.MlpModel, "transformer": transformer.DocumentModel}
SMALL = {"mlp": {"cycles": 2, "layers": 2, "width": 64, "dropout": 0.1}, "transformer": {"size": SIZE}}


@pytest.mark.parametrize(("kind", "width"), [("ModernBert", 32), ("ModernBert", 128), ("Bert", 64)])
def test_vectors_in_half_precision_are_packed_and_near_those_of_a_cpu(kind, width, tmp_path):
    choice = choose_encoder(str(write_encoder(tmp_path, kind, hidden_size=width, num_attention_heads=2)))
    on_gpu = Encoder(choice, device=DEVICE, dtype="bfloat16")
    on_cpu = Encoder(choice, device="cpu", dtype="float32")
    vectors, expected = (each.encode(each.tokenize(TEXTS))() for each in (on_gpu, on_cpu))
    assert on_gpu.packed
    assert (vectors * expected).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("name", list(KINDS))
def test_a_predictor_fitted_on_a_gpu_predicts_as_well_and_on_a_cpu_the_same(name, tmp_path):
    train, validation = examples(400, 1), examples(100, 2)
    module = {"knn": knn, "svr": svr, "mlp": mlp, "transformer": transformer}[name]
    fitted = module.fit(train, validation, seed=3, device=DEVICE, **SMALL.get(name, {}))
    fitted.save(tmp_path)
    here, there = fitted.predict(validation.inputs), KINDS[name].load(tmp_path).predict(validation.inputs)
    np.testing.assert_allclose(here, there, atol=0.05)
    error = np.mean((there - validation.ratings) ** 2)
    assert error < 0.5 * np.var(validation.ratings)


def test_the_perceptron_s_steps_are_recorded_and_learn_as_those_that_are_not(monkeypatch, caplog):
    def train():
        fitted = mlp.fit(examples(400, 1), examples(100, 2), seed=3, device=DEVICE, **SMALL["mlp"])
        return fitted.curve[-1]["validation_mse"]

    recorded = []
    record = Steps._record

    def counted(steps, size):
        record(steps, size)
        recorded.append(size in steps._graphs)

    with caplog.at_level(logging.WARNING):
        monkeypatch.setattr(Steps, "_record", counted)
        with_graphs = train()
    assert recorded
    assert all(recorded)
    assert caplog.messages == []
    monkeypatch.setattr(Steps, "_record", lambda steps, size: setattr(steps, "_records", False))
    assert with_graphs == pytest.approx(train(), rel=0.2)


def test_the_nearest_are_those_of_a_cpu():
    vectors = np.random.default_rng(0).normal(size=(3_000, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    (rows, cosines), (expected_rows, expected) = (nearest(vectors, k=20, device=device) for device in (DEVICE, "cpu"))
    np.testing.assert_allclose(cosines, expected, atol=2e-3)
    assert (rows == expected_rows).mean() > 0.99
