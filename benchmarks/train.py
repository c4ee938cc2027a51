"""What it costs to train the networks: transformers' Trainer, a plain loop, and the pipeline's own.

    python benchmarks/train.py [--movies N] [--networks NAME ...] [--quick] [--json]

`mlp` is the study's perceptron (batches of 4,096) on random unit vectors; `transformer` is trained from scratch on
documents as long as real movies', on a CPU the reduced one. The plain loop is PyTorch's data loader and a step in
Python, for documents padded to the longest of a batch; Trainer is shown where accelerate, which it needs, is installed.
Each way runs in a process of its own for some epochs, and the ratio, to the first way shown of a network, is of seconds
an epoch: CPU seconds, on a GPU wall seconds. Making the data is not counted; learning the vocabulary and tokenising
are, and what the pipeline does beside (recording or compiling a step, judging a thousand movies after each epoch).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embed import write_documents
from run import measure

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from imdb_pipeline.models.examples import Examples

WAYS = {"mlp": ("Trainer", "plain loop", "ours"), "transformer": ("plain loop", "ours")}
MOVIES = {"cpu": {"mlp": 40_000, "transformer": 2_400}, "cuda": {"mlp": 222_552, "transformer": 222_552}}
QUICK = {"cpu": {"mlp": 8_192, "transformer": 300}, "cuda": {"mlp": 65_536, "transformer": 20_000}}
DIMENSION, HELD, SEED = {"cpu": 384, "cuda": 768}, 1_000, 0


def epochs_of(network: str, way: str, device: str, quick: bool) -> int:
    """Return how many epochs are trained: ours is shown whole on a GPU, of the others some will do."""
    if device == "cpu":
        return 1 if network == "transformer" else 3
    epochs = {"Trainer": 10, "plain loop": 10 if network == "mlp" else 1, "ours": 600 if network == "mlp" else 10}[way]
    return min(epochs, 50) if quick else epochs


def made_up(count: int, dimension: int, documents: Any = None) -> Examples:
    """Movies with random unit vectors and ratings that hang on them a little."""
    import numpy as np
    import polars as pl

    from imdb_pipeline.models.examples import Examples, Inputs

    draw = np.random.default_rng(SEED)
    vectors = draw.standard_normal((count, dimension), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ratings = (6 + 10 * vectors[:, 0] + draw.normal(0, 1, count)).clip(1, 10).astype(np.float32)
    movies = pl.DataFrame({"tconst": [f"tt{row}" for row in range(count)]})
    return Examples(Inputs(movies, vectors, documents), ratings, np.full(count, 100))


def mlp_by_trainer(train: Examples, epochs: int, device: str) -> None:
    """transformers' Trainer with the study's settings."""
    from transformers import Trainer, TrainingArguments

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=4_096,
            learning_rate=2e-3,
            weight_decay=1e-3,
            lr_scheduler_type="cosine_with_restarts",
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=device == "cpu",
            seed=SEED,
        )
        Trainer(
            model=regression(train.inputs.embeddings.shape[1]), args=arguments, train_dataset=rows_of(train)
        ).train()


def mlp_by_plain_loop(train: Examples, epochs: int, device: str) -> None:
    """PyTorch's data loader over rows, and a step in Python."""
    import torch
    from torch.utils.data import DataLoader

    model = regression(train.inputs.embeddings.shape[1]).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3)
    loader = DataLoader(rows_of(train), batch_size=4_096, shuffle=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
    for _ in range(epochs):
        for batch in loader:
            loss = model(**{name: tensor.to(device) for name, tensor in batch.items()})["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    if device == "cuda":
        torch.cuda.synchronize()


def rows_of(train: Examples) -> Any:
    """Return the movies as a data set of rows, as the Trainer takes them."""
    import torch

    vectors, ratings = torch.from_numpy(train.inputs.embeddings), torch.from_numpy(train.ratings)

    class Rows(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(ratings)

        def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
            return {"vectors": vectors[row], "labels": ratings[row]}

    return Rows()


def regression(dimension: int) -> Any:
    """Return the study's network with its loss, as the Trainer takes it."""
    import torch

    from imdb_pipeline.models.mlp import LAYERS, WIDTH, build_network

    torch.manual_seed(SEED)

    class Regression(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = build_network(dimension, LAYERS, WIDTH, 0.6)

        def forward(self, vectors: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            answers = self.network(vectors).squeeze(1)
            return {"loss": torch.nn.functional.mse_loss(answers, labels), "logits": answers}

    return Regression()


def mlp_by_ours(train: Examples, epochs: int, device: str) -> None:
    from imdb_pipeline.models.mlp import STUDY, fit

    held = made_up(HELD, train.inputs.embeddings.shape[1])
    fit(train, held, seed=SEED, device=device, **{**STUDY, "first_cycle": epochs})


def transformer_by_ours(train: Examples, epochs: int, device: str) -> None:
    from dataclasses import replace

    from imdb_pipeline.models import transformer

    size = replace(transformer.STUDY if device == "cuda" else transformer.REDUCED, epochs=epochs)
    held = train.take(_first(min(HELD, len(train) // 10)))
    transformer.fit(train, held, seed=SEED, device=device, size=size)


def transformer_by_plain_loop(train: Examples, epochs: int, device: str) -> None:
    """The same network and batches in the order drawn, padded to their longest document."""
    import torch

    from imdb_pipeline.embeddings.encoder import tokenize
    from imdb_pipeline.models import transformer
    from imdb_pipeline.models.reader import Reader, build_network, documents_of

    size = transformer.STUDY if device == "cuda" else transformer.REDUCED
    documents = documents_of(train.inputs)
    tokenizer = transformer.learn_vocabulary(documents, max_length=size.max_length)
    texts, ratings = tokenize(tokenizer, documents).split(), torch.from_numpy(train.ratings).to(device)
    torch.manual_seed(SEED)
    network = build_network(transformer.configuration(size, tokenizer), dropout=size.dropout).to(device).train()
    reader = Reader(network, size.pooling, size.max_length, packed=False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=size.learning_rate, weight_decay=size.weight_decay)
    for _ in range(epochs):
        for rows in torch.randperm(len(texts)).split(size.batch_documents):
            loss = (reader([texts[row] for row in rows]) - ratings[rows.to(device)]).square().mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
    if device == "cuda":
        torch.cuda.synchronize()


def _first(count: int) -> np.ndarray:
    import numpy as np

    return np.arange(count)


def go(network: str, way: str, count: str, epochs: str, device: str, documents: str) -> dict[str, Any]:
    """Train in one way and return what it took."""
    import polars as pl
    import torch

    texts = pl.read_parquet(documents)["document"].head(int(count)) if network == "transformer" else None
    train = made_up(int(count), DIMENSION[device] if network == "mlp" else 1, texts)
    ways: dict[tuple[str, str], Callable[[Examples, int, str], None]] = {
        ("mlp", "Trainer"): mlp_by_trainer,
        ("mlp", "plain loop"): mlp_by_plain_loop,
        ("mlp", "ours"): mlp_by_ours,
        ("transformer", "plain loop"): transformer_by_plain_loop,
        ("transformer", "ours"): transformer_by_ours,
    }
    import_module("transformers.models.modernbert.modeling_modernbert")
    if device == "cuda":
        torch.zeros(1, device=device)  # the first use of CUDA sets it up
    started, used = time.monotonic(), time.process_time()
    ways[network, way](train, int(epochs), device)
    used, taken = time.process_time() - used, time.monotonic() - started
    row = {"movies": int(count), "epochs": int(epochs), "cpu_seconds": round(used, 1), "wall_seconds": round(taken, 1)}
    row["seconds_an_epoch"] = round((taken if device == "cuda" else used) / int(epochs), 3)
    if device == "cuda":
        row["peak_mb_gpu"] = round(torch.cuda.max_memory_allocated() / 2**20)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--movies", type=int, help="how many, for every network")
    parser.add_argument("--networks", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--quick", action="store_true", help="fewer movies and epochs")
    parser.add_argument("--json", action="store_true", help="print a list of rows")
    parser.add_argument("--run", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        step, *rest = arguments.run
        print(json.dumps({"documents": write_documents, "go": go}[step](*rest)))
        return
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        documents, log = folder / "documents.parquet", folder / "log"
        command = [sys.executable, __file__, "--run"]
        for network in arguments.networks:
            count = arguments.movies or (QUICK if arguments.quick else MOVIES)[device][network]
            if network == "transformer":
                measure("documents", [*command, "documents", str(documents), str(count)], log)
            shown = []
            for way in WAYS[network]:
                if way == "Trainer" and find_spec("accelerate") is None:
                    continue
                epochs = epochs_of(network, way, device, arguments.quick)
                options = [network, way, str(count), str(epochs), device, str(documents)]
                whole = measure(f"{network}: {way}", [*command, "go", *options], log)
                shown.append({**whole, **json.loads(log.read_text().strip().splitlines()[-1])})
            for row in shown:
                row["ratio"] = round(row["seconds_an_epoch"] / shown[0]["seconds_an_epoch"], 4)
            rows += shown
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    print(torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads")
    print(
        f"{'':<26}{'movies':>9}{'epochs':>8}{'CPU s':>9}{'wall s':>9}{'peak MB':>9}{'s/epoch':>10}"
        f"{'ratio':>8}{'times':>8}"
    )
    for row in rows:
        print(
            f"{row['name']:<26}{row['movies']:>9,}{row['epochs']:>8}{row['cpu_seconds']:>9.1f}"
            f"{row['wall_seconds']:>9.1f}{row['peak_mb']:>9}{row['seconds_an_epoch']:>10.3f}"
            f"{row['ratio']:>8.3f}{1 / row['ratio']:>8.2f}"
        )
    print(f"an epoch's seconds of {'wall' if device == 'cuda' else 'CPU'} time; times: as fast as the first way")
    if find_spec("accelerate") is None and "mlp" in arguments.networks:
        print("transformers' Trainer is not shown: pip install accelerate")


if __name__ == "__main__":
    main()
