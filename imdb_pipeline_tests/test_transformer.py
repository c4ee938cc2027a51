"""The transformer from scratch: packed is padded, it learns, stops in time, and is the same again from its files."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from imdb_pipeline.embeddings.encoder import tokenize
from imdb_pipeline.errors import PipelineError
from imdb_pipeline.models import transformer
from imdb_pipeline.models.reader import DocumentModel, Reader, build_network, documents_of
from imdb_pipeline_tests.small_trainings import SIZE, documents, examples


@pytest.fixture(scope="module")
def parts():
    return examples(300, 1), examples(60, 2), examples(60, 3)


@pytest.fixture(scope="module")
def fitted(parts):
    return fit(*parts[:2])


def fit(train, validation, **changes):
    return transformer.fit(train, validation, seed=5, device="cpu", size=replace(SIZE, **changes))


def error(model, part):
    return float(np.mean((model.predict(part.inputs) - part.ratings) ** 2))


def untrained(pooling, **changes):
    texts, _ = documents(40, 1)
    size = replace(SIZE, dropout=0.0, pooling=pooling, **changes)
    tokenizer = transformer.learn_vocabulary(texts, max_length=size.max_length, size=300)
    torch.manual_seed(0)
    network = build_network(transformer.configuration(size, tokenizer))
    for weight in network.parameters():  # large ones: at the start all answers are alike
        torch.nn.init.normal_(weight, std=0.4)
    readers = {packed: Reader(network.train(), pooling, size.max_length, packed) for packed in (True, False)}
    return network, readers, tokenize(tokenizer, texts)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_packed_documents_have_the_answers_and_the_gradient_that_padded_ones_have(pooling):
    network, readers, tokens = untrained(pooling)
    assert len(set(tokens.lengths)) > 5
    assert tokens.lengths.max() > 2 * SIZE.window
    answers, gradients = {}, {}
    for packed, reader in readers.items():
        network.zero_grad()
        answers[packed] = reader(tokens.split())
        answers[packed].square().sum().backward()
        gradients[packed] = {
            name: weight.grad.clone() for name, weight in network.named_parameters() if weight.grad is not None
        }
    assert float(answers[True].detach().std()) > 0.01
    torch.testing.assert_close(answers[True], answers[False], atol=1e-5, rtol=0)
    for name, gradient in gradients[True].items():
        expected = gradients[False][name]
        assert float((gradient - expected).norm()) < 1e-4 * float(expected.norm()) + 1e-6, name
    np.testing.assert_allclose(readers[True].answers(tokens), answers[False].detach().numpy(), atol=1e-5)


def test_oblivious_of_the_test_set_it_learns_what_documents_tell(parts, fitted):
    test = parts[2]
    losses = [row["train_mse"] for row in fitted.curve]
    assert losses[-1] < 0.3 * losses[0]
    assert error(fitted, test) < 0.2 * float(test.ratings.var())
    assert fitted.settings["method"] == "transformer from scratch, reduced for a CPU (2 layers, 64 tokens)"
    assert fitted.settings["vocabulary"] <= 5_000


def test_it_can_learn_a_handful_by_heart():
    texts, _ = documents(8, 7)
    plain = examples(8, 7)
    few = replace(
        plain,
        inputs=replace(plain.inputs, documents=pl.Series(texts)),
        ratings=np.linspace(2, 9, 8).astype(np.float32),
    )
    model = fit(few, few, epochs=60, dropout=0.0, batch_documents=8)
    assert error(model, few) < 0.05


def test_training_ends_two_epochs_after_the_best_which_is_kept(parts):
    train, validation, _ = parts
    few = train.take(np.arange(40))
    noise = replace(few, ratings=np.random.default_rng(0).permutation(few.ratings))
    model = fit(noise, validation, epochs=40, dropout=0.0)
    errors = [row["validation_mse"] for row in model.curve]
    assert model.settings["best_epoch"] == 1 + int(np.argmin(errors))
    assert len(errors) == model.settings["best_epoch"] + 2 < 40
    assert error(model, validation) == pytest.approx(min(errors), rel=1e-5)


def test_the_serving_model_trains_as_many_epochs_as_were_best_and_holds_nothing_out(parts, fitted):
    train = parts[0]
    again = transformer.refit(fitted, train, seed=5, device="cpu")
    assert [row["epoch"] for row in again.curve] == list(range(1, fitted.settings["best_epoch"] + 1))
    assert all("validation_mse" not in row for row in again.curve)
    # the same data, seed and epochs: the very weights that validation chose
    for name, array in fitted.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)


def test_the_vocabulary_is_learnt_from_training_documents_alone(parts, fitted):
    train, validation, _ = parts
    other = replace(validation, inputs=replace(validation.inputs, documents=pl.Series(["żółw"] * len(validation))))
    assert fit(train, other, epochs=1).tokenizer == fitted.tokenizer
    tokenizer = transformer.learn_vocabulary(documents_of(train.inputs), max_length=64)
    assert tokenizer.get_vocab_size() == fitted.settings["vocabulary"]
    encoded = tokenizer.encode('{\n  "title": "żółw ★ 9"\n}')
    assert encoded.tokens[0] == "[CLS]"
    assert encoded.tokens[-1] == "[SEP]"
    assert tokenizer.decode(encoded.ids[1:-1]).encode("utf-8")
    assert None not in encoded.ids


def test_saved_it_predicts_the_same_and_needs_no_other_file(parts, fitted, tmp_path):
    fitted.save(tmp_path)
    loaded = DocumentModel.load(tmp_path)
    np.testing.assert_array_equal(loaded.predict(parts[2].inputs), fitted.predict(parts[2].inputs))
    names = {"settings.json", "curve.json", "arrays.safetensors", "config.json", "tokenizer.json"}
    assert {path.name for path in tmp_path.iterdir()} == names
    alone = parts[2].take(np.array([4]))  # a document's rating is its own, whatever stands beside it
    np.testing.assert_allclose(loaded.predict(alone.inputs), fitted.predict(parts[2].inputs)[4:5], atol=1e-4)


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("arrays.safetensors", lambda path: path.write_bytes(path.read_bytes()[:-100])),
        ("arrays.safetensors", lambda path: path.write_bytes(b"\x80\x04\x95not arrays")),
        ("config.json", lambda path: path.write_text("{")),
        ("config.json", lambda path: path.write_text('{"model_type": "no such model"}')),
        ("config.json", lambda path: path.write_text(path.read_text().replace('"vocab_size"', '"vocab_sizes"'))),
        ("tokenizer.json", lambda path: path.write_text("{}")),
        ("tokenizer.json", lambda path: path.unlink()),
        ("settings.json", lambda path: path.write_text("{}")),
    ],
)
def test_a_damaged_file_is_refused_in_one_line_that_names_it(file, damage, fitted, tmp_path):
    fitted.save(tmp_path)
    damage(tmp_path / file)
    with pytest.raises(PipelineError) as raised:
        DocumentModel.load(tmp_path)
    assert "\n" not in str(raised.value)
    assert file in str(raised.value)


def test_movies_without_documents_are_refused(parts, fitted):
    with pytest.raises(PipelineError, match="reads documents"):
        fitted.predict(replace(parts[2].inputs, documents=None))


def test_short_of_memory_a_batch_is_trained_on_in_parts_to_the_same_end(parts, fitted, monkeypatch, caplog):
    forward, tried = Reader.__call__, []

    def short_of_memory(self, ids):
        tried.append(len(ids))
        if torch.is_grad_enabled() and len(ids) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return forward(self, ids)

    train, validation, _ = parts
    expected = fit(train, validation, dropout=0.0, epochs=2)
    monkeypatch.setattr(Reader, "__call__", short_of_memory)
    model = fit(train, validation, dropout=0.0, epochs=2)
    assert tried.count(16) == 1
    assert "each batch in 2 parts" in caplog.text
    np.testing.assert_allclose(model.predict(validation.inputs), expected.predict(validation.inputs), atol=1e-3)


def test_a_loss_that_is_no_number_stops_the_training(parts):
    with pytest.raises(PipelineError, match="transformer: the loss of epoch 1 is not a number"):
        fit(*parts[:2], learning_rate=float("inf"))


def test_training_leaves_torchs_generator_alone(parts):
    before = torch.random.get_rng_state()
    fit(parts[0].take(np.arange(32)), parts[1], epochs=1).predict(parts[2].inputs)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("length", [60, 400])
def test_on_a_cpu_more_tokens_are_fewer_epochs_or_shorter_documents(length):
    few, many = (transformer.reduced_size(np.full(count, length)) for count in (3_000, 300_000))
    assert (few.max_length, few.epochs) != (many.max_length, many.epochs)
    assert few.max_length >= many.max_length
    assert few.epochs >= many.epochs >= 1
