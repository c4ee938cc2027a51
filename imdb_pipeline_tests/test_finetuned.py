"""A pretrained encoder is fine-tuned whole, with the pooling of its own files, and predicts without it afterwards."""

import shutil

import numpy as np
import pytest

from imdb_pipeline.embeddings.model_files import choose_encoder
from imdb_pipeline.models import finetuned
from imdb_pipeline.models.reader import DocumentModel
from imdb_pipeline_tests.small_trainings import examples
from imdb_pipeline_tests.tiny_encoders import write_encoder

RATES = {"learning_rate": 2e-3, "head_rate": 5e-3, "batch_documents": 8, "epochs": 4}


@pytest.fixture(scope="module", params=[pytest.param("Bert", marks=pytest.mark.extra), "ModernBert"])
def encoder(request, tmp_path_factory):
    folder = write_encoder(tmp_path_factory.mktemp("encoder"), request.param, num_hidden_layers=2)
    return choose_encoder(str(folder))


def test_it_learns_predicts_without_the_encoder_and_trains_anew_with_it(encoder, tmp_path):
    train, validation, test = examples(160, 1), examples(40, 2), examples(40, 3)
    model = finetuned.fit(train, validation, seed=0, device="cpu", encoder=encoder, **RATES)
    predicted = model.predict(test.inputs)
    assert float(np.mean((predicted - test.ratings) ** 2)) < 0.6 * float(test.ratings.var())
    assert model.settings["encoder"] == encoder.name
    assert model.settings["pooling"] == ("cls" if "ModernBert" in str(model.config["architectures"]) else "mean")
    again = finetuned.refit(model, train, seed=0, device="cpu")
    assert len(again.curve) == model.settings["best_epoch"]
    np.testing.assert_array_equal(again.predict(test.inputs), predicted)
    model.save(tmp_path / "model")
    shutil.rmtree(encoder.name)
    loaded = DocumentModel.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(test.inputs), predicted)


def test_lower_layers_learn_more_slowly():
    from transformers import BertConfig

    from imdb_pipeline.models.reader import build_network

    network = build_network(BertConfig(vocab_size=50, hidden_size=8, num_attention_heads=2, num_hidden_layers=3))
    settings = {"learning_rate": 1.0, "layer_decay": 0.5, "head_rate": 7.0}
    rates = {id(weight): group["lr"] for group in finetuned._groups(network, settings) for weight in group["params"]}
    assert len(rates) == len(list(network.parameters()))
    found = {name: rates[id(weight)] for name, weight in network.named_parameters()}
    assert found["head.0.weight"] == 7.0
    assert found["encoder.embeddings.word_embeddings.weight"] == 0.5**3
    assert [found[f"encoder.encoder.layer.{number}.output.dense.weight"] for number in range(3)] == [0.25, 0.5, 1.0]
