"""Trainings of a second, on movies whose rating stands in their document: for tests, and for processes to kill."""

import json
from pathlib import Path

import numpy as np
import polars as pl

from imdb_pipeline.models import mlp, transformer
from imdb_pipeline.models.examples import Examples, Inputs

SIZE = transformer.Size(
    layers=2,
    width=32,
    heads=2,
    intermediate=32,
    window=8,
    max_length=64,
    epochs=4,
    batch_documents=16,
    learning_rate=3e-3,
    weight_decay=0.01,
    pooling="mean",
    dropout=0.1,
)
GENRES = {"Drama": 1.0, "Horror": -1.5, "Comedy": 0.0, "Documentary": 1.5}


def documents(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Documents of some lengths, with the rating that their genre stands for."""
    draw = np.random.default_rng(seed)
    genres = draw.choice(list(GENRES), count)
    names = draw.choice(["Ada", "Bo", "Cy", "Di", "Ed"], (count, 6))
    people = draw.integers(0, 6, count)
    texts = [
        json.dumps({"title": f"Movie {row}", "genres": [genre], "directors": list(names[row, : people[row]])}, indent=2)
        for row, genre in enumerate(genres)
    ]
    return texts, np.array([GENRES[genre] for genre in genres])


def examples(count: int, seed: int) -> Examples:
    """Movies whose rating follows from the genre in their document, and so does their vector; a little noise."""
    texts, signal = documents(count, seed)
    draw = np.random.default_rng(seed + 1_000)
    vectors = draw.normal(0, 0.3, (count, 4)).astype(np.float32)
    vectors[:, 0] += signal
    movies = pl.DataFrame({"tconst": [f"tt{seed}{row:05d}" for row in range(count)]})
    ratings = (6 + signal + draw.normal(0, 0.1, count)).astype(np.float32)
    return Examples(Inputs(movies, vectors, pl.Series(texts)), ratings, np.full(count, 40))


def train_transformer(checkpoints: str, model: str) -> None:
    """Train a transformer and save it, with checkpoints in a folder."""
    fitted = transformer.fit(
        examples(120, 1), examples(40, 2), seed=3, device="cpu", size=SIZE, checkpoints=Path(checkpoints)
    )
    fitted.save(Path(model))


def train_mlp(checkpoints: str, model: str) -> None:
    """The same with the multi-layer perceptron."""
    fitted = mlp.fit(
        examples(200, 1), examples(40, 2), seed=3, device="cpu", cycles=2, width=16, checkpoints=Path(checkpoints)
    )
    fitted.save(Path(model))


def refit_transformer(checkpoints: str, model: str) -> None:
    """Fit a transformer, then fit it anew on all; only this writes checkpoints."""
    size = transformer.Size(**{**SIZE.__dict__, "epochs": 3})
    fitted = transformer.fit(examples(60, 1), examples(20, 2), seed=3, device="cpu", size=size)
    again = transformer.refit(fitted, examples(80, 4), seed=3, device="cpu", checkpoints=Path(checkpoints))
    again.save(Path(model))
