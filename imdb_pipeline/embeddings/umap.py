"""UMAP: two coordinates per movie from the exact neighbours that are already known.

One factory: cuML where the device is a GPU that has it, umap-learn elsewhere. Where a layout starts from, and what it
is worth, belongs to ``layout``.
"""

from __future__ import annotations

import importlib.util
import logging
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.settings import MapSettings

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

STUDY = MapSettings(neighbours=100, min_dist=0.0, init="random", epochs=100_000)
"""The study's map: cuML UMAP with brute-force neighbours."""
_SMALL = 10_000
_BOX = 10.0
"""A start is this wide: about as far as UMAP's forces reach."""
_NOISE = 1e-4
_LOG_SECONDS = 30.0


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a layout is optimised: epochs, and the learning rate that falls from there to 0."""

    epochs: int
    learning_rate: float = 1.0


def choose(device: str) -> str:
    """Return what lays out on a device (``cpu`` or ``cuda``): ``cuML UMAP`` or ``umap-learn``."""
    return "cuML UMAP" if device == "cuda" and importlib.util.find_spec("cuml") is not None else "umap-learn"


def full_schedule(n: int, settings: MapSettings) -> Schedule:
    """Return the schedule of a layout from scratch; without a setting UMAP's own: 500 epochs, 200 above 10,000 rows."""
    return Schedule(settings.epochs or (500 if n <= _SMALL else 200))


def principal_components(embeddings: np.ndarray) -> np.ndarray:
    """Return each row's two main components: float32, shape (n, 2); the signs are those of the largest loadings."""
    import numpy as np

    centred = embeddings - embeddings.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, :-3:-1]
    axes = axes * np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0))
    components = np.zeros((len(embeddings), 2), dtype=np.float32)
    components[:, : axes.shape[1]] = centred @ axes
    return components


def first_positions(embeddings: np.ndarray, settings: MapSettings, *, seed: int) -> np.ndarray:
    """Return where a layout from scratch starts: float32, shape (n, 2), by ``settings.init``."""
    import numpy as np

    random = np.random.default_rng(seed)
    shape = (len(embeddings), 2)
    if settings.init == "random":
        return random.uniform(-_BOX / 2, _BOX / 2, shape).astype(np.float32)
    components = principal_components(embeddings)
    components *= _BOX / 2 / np.abs(components).max()
    # Movies at one point would never part.
    return components + random.normal(0, _NOISE, shape).astype(np.float32)


def optimise(
    start: np.ndarray,
    embeddings: np.ndarray,
    neighbour_rows: np.ndarray,
    cosines: np.ndarray,
    settings: MapSettings,
    schedule: Schedule,
    *,
    seed: int,
    device: str,
) -> np.ndarray:
    """Lay the movies out, from a start, by the cross entropy between the fuzzy graphs of the vectors and of the map.

    McInnes, Healy, Melville, "UMAP", arXiv 1802.03426, section 3. The start is taken as it is, not scaled.

    Parameters
    ----------
    start
        float32, shape (n, 2), n at least 3.
    embeddings
        float32, shape (n, dimension), unit rows.
    neighbour_rows, cosines
        Of ``neighbours.nearest``, nearest first, without the row itself; as many as the settings ask for are used.
    seed
        On a CPU the same seed gives the same coordinates: one thread.

    Returns
    -------
    np.ndarray
        float32, shape (n, 2).
    """
    import numpy as np

    n = len(start)
    k = min(settings.neighbours, neighbour_rows.shape[1] + 1)
    itself = np.arange(n)[:, None]
    rows = np.hstack([itself, neighbour_rows[:, : k - 1]])
    distances = np.hstack([np.zeros((n, 1)), 1 - cosines[:, : k - 1]]).clip(0).astype(np.float32)
    way = choose(device)
    log.info("%s: %d movies, %d neighbours, %d epochs", way, n, k, schedule.epochs)
    lay_out = _cuml if way == "cuML UMAP" else _umap_learn
    return lay_out(start.astype(np.float32), embeddings, rows, distances, settings.min_dist, schedule, seed)


def _cuml(
    start: np.ndarray,
    embeddings: np.ndarray,
    rows: np.ndarray,
    distances: np.ndarray,
    min_dist: float,
    schedule: Schedule,
    seed: int,
) -> np.ndarray:
    import numpy as np
    from cuml.manifold import UMAP  # pyright: ignore[reportMissingImports]

    model = UMAP(
        n_components=2,
        n_neighbors=rows.shape[1],
        n_epochs=schedule.epochs,
        learning_rate=schedule.learning_rate,
        min_dist=min_dist,
        metric="cosine",
        init=start,
        random_state=seed,
        build_algo="brute_force_knn",
        output_type="numpy",
    )
    # With neighbours given, the vectors are not copied to the GPU.
    fitted = model.fit_transform(embeddings, knn_graph=(np.ascontiguousarray(rows, dtype=np.int64), distances))
    return np.asarray(fitted, dtype=np.float32)


def _umap_learn(
    start: np.ndarray,
    embeddings: np.ndarray,
    rows: np.ndarray,
    distances: np.ndarray,
    min_dist: float,
    schedule: Schedule,
    seed: int,
) -> np.ndarray:
    import numba
    import numpy as np

    # Numba's OpenMP layer shares its thread pool with torch and leaves it some twenty times slower in this process.
    numba.config.THREADING_LAYER = "workqueue"  # pyright: ignore[reportAttributeAccessIssue]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # the part that wants TensorFlow is not used
        from umap.layouts import optimize_layout_euclidean
        from umap.umap_ import find_ab_params, fuzzy_simplicial_set, make_epochs_per_sample

    # UMAP's own class would stretch the start into a square, and with it yesterday's map.
    random = np.random.RandomState(seed)
    graph: Any = fuzzy_simplicial_set(
        embeddings, rows.shape[1], random, "cosine", knn_indices=rows, knn_dists=distances
    )[0]
    graph = graph.tocoo()
    graph.sum_duplicates()
    sampled = graph.data >= graph.data.max() / schedule.epochs
    head, tail, weights = graph.row[sampled], graph.col[sampled], graph.data[sampled]
    a, b = find_ab_params(1.0, min_dist)
    positions = start.copy(order="C")
    optimize_layout_euclidean(
        positions,
        positions,
        head,
        tail,
        schedule.epochs,
        len(start),
        make_epochs_per_sample(weights, schedule.epochs),
        a,
        b,
        random.randint(np.iinfo(np.int32).min + 1, np.iinfo(np.int32).max - 1, 3).astype(np.int64),
        initial_alpha=schedule.learning_rate,
        move_other=True,
        tqdm_kwds={
            "disable": False,
            "file": _Log(),
            "mininterval": _LOG_SECONDS,
            "bar_format": "{n_fmt} of {total_fmt} epochs, {remaining} left",
        },
    )
    return positions


class _Log:
    """What a progress bar writes to: lines for the log, after the first half minute."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def write(self, text: str) -> None:
        if text.strip() and time.monotonic() - self._started > _LOG_SECONDS / 2:
            log.info(text.strip())

    def flush(self) -> None:
        pass
