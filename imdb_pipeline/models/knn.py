"""The mean rating of the most similar movies, similarity being the cosine of the embeddings: exact, by brute force."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.saved import read_arrays, read_settings, write_arrays, write_settings
from imdb_pipeline.models.scale import embeddings_of, mean_squared_error, on_scale
from imdb_pipeline.models.search import Axis, search
from imdb_pipeline.models.tensors import tensor_of

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from imdb_pipeline.models.examples import Examples, Inputs

NEIGHBOURS = Axis((4, 8, 16, 32, 64, 128), 2, 1, 512)
SHARPNESSES = Axis((0.0, 10.0, 20.0, 40.0), 2, 1, 640)
"""How many are averaged, and how sharply the nearest stand out; the study's were 2 to 19, all alike."""

CELLS_AT_ONCE = 2**26
"""Cosines held at a time: 256 MB in float32."""


@dataclass(frozen=True, eq=False)
class KnnModel:
    """The training movies: ``vectors`` float16, shape (n, dimension); ``ratings`` float32, shape (n,).

    ``settings["neighbours"]`` of them are averaged with weights ``exp(sharpness * cosine)``;
    sharpness 0 weighs all alike.
    """

    vectors: np.ndarray
    ratings: np.ndarray
    settings: dict[str, Any]
    curve: list[dict[str, Any]]
    device: str = "cpu"

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Return a rating for each of the n movies: float64, shape (n,), from 1 to 10."""
        count = self.settings["neighbours"]
        embeddings = embeddings_of(inputs, self.vectors.shape[1])
        cosines, nearest = _nearest(embeddings, self.vectors, count, self.device)
        return on_scale(_average(cosines, self.ratings[nearest], count, self.settings["sharpness"]))

    def save(self, folder: Path) -> None:
        """Write settings, curve and arrays into ``folder``."""
        write_settings(folder, self.settings, self.curve)
        write_arrays(folder, {"vectors": self.vectors, "ratings": self.ratings})

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> KnnModel:
        """Read what ``save`` wrote, to predict on ``device``. Raises ``PipelineError`` naming a bad file."""
        settings, curve = read_settings(folder, {"neighbours": int, "sharpness": float})
        arrays = read_arrays(folder, {"vectors": 2, "ratings": 1})
        return cls(arrays["vectors"], arrays["ratings"], settings, curve, device)


def fit(
    train: Examples,
    validation: Examples,
    *,
    seed: int,
    device: str,
    neighbours: Axis = NEIGHBOURS,
    sharpnesses: Axis = SHARPNESSES,
) -> KnnModel:
    """Keep the training movies and choose the number of neighbours and their weighting on validation.

    The vectors are kept in float16, which changes a cosine by some 3e-8. ``seed`` makes no difference.
    """
    import numpy as np

    vectors = train.inputs.embeddings.astype(np.float16)
    ratings = train.ratings.astype(np.float32)
    usable = tuple(count for count in neighbours.start if count <= len(train)) or (len(train),)
    neighbours = replace(neighbours, start=usable, highest=min(neighbours.highest, len(train)))
    most = int(neighbours.limits[-1])
    cosines, nearest = _nearest(validation.inputs.embeddings, vectors, most, device)
    near_ratings = ratings[nearest]

    def errors_of(points: list[dict[str, float]]) -> list[float]:
        averages = (_average(cosines, near_ratings, int(point["neighbours"]), point["sharpness"]) for point in points)
        return [mean_squared_error(average, validation.ratings) for average in averages]

    found = search({"neighbours": neighbours, "sharpness": sharpnesses}, errors_of)
    curve = [row | {"neighbours": int(row["neighbours"])} for row in found.tried]
    best = found.best
    # Nothing lies beyond 0, where all weigh alike.
    on_edge = [name for name in found.on_edge if name != "sharpness" or best["sharpness"] > 0]
    settings = {
        "method": "exact k-nearest neighbours by cosine",
        "neighbours": int(best["neighbours"]),
        "sharpness": best["sharpness"],
        "limits": {"neighbours": neighbours.limits, "sharpness": sharpnesses.limits},
        "on_edge": on_edge,
        "chosen_on": "validation",
    }
    return KnnModel(vectors, ratings, settings, curve, device)


def refit(model: KnnModel, rated: Examples, *, seed: int, device: str) -> KnnModel:
    """Keep all of ``rated`` in place of the training movies; as many neighbours, weighted alike."""
    import numpy as np

    vectors, ratings = rated.inputs.embeddings.astype(np.float16), rated.ratings.astype(np.float32)
    settings = model.settings | {"neighbours": min(model.settings["neighbours"], len(rated))}
    return replace(model, vectors=vectors, ratings=ratings, settings=settings, device=device)


def _nearest(queries: np.ndarray, vectors: np.ndarray, count: int, device: str) -> tuple[np.ndarray, np.ndarray]:
    """Return cosines (float32) and rows (int64) of the ``count`` nearest vectors, nearest first: shape (q, count)."""
    import numpy as np
    import torch

    # Float32 once for all blocks. The queries take the same way through float16 as the vectors.
    known = tensor_of(vectors, device).float()
    cosines = np.empty((len(queries), count), dtype=np.float32)
    rows = np.empty((len(queries), count), dtype=np.int64)
    step = max(1, CELLS_AT_ONCE // len(vectors))
    for start in range(0, len(queries), step):
        block = tensor_of(queries[start : start + step].astype(np.float16), device).float()
        top = torch.topk(block @ known.T, count, dim=1)
        cosines[start : start + step] = top.values.cpu().numpy()
        rows[start : start + step] = top.indices.cpu().numpy()
    return cosines, rows


def _average(cosines: np.ndarray, ratings: np.ndarray, count: int, sharpness: float) -> np.ndarray:
    """Average the first ``count`` ratings of each row, weighted by ``exp(sharpness * cosine)``: float64."""
    import numpy as np

    nearness = cosines[:, :count].astype(np.float64)
    weights = np.exp(sharpness * (nearness - nearness[:, :1]))
    return (weights * ratings[:, :count]).sum(axis=1) / weights.sum(axis=1)
