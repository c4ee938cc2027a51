"""What a map costs, how far it is to be trusted, and how far it jumps from one day to the next.

    python benchmarks/umap.py [--home HOME] [--quick] [--json]

Yesterday's vectors are laid out; today one in two hundred has changed or is new. Each row is a process of its own, with
its imports and compilation: umap-learn as it comes, with approximate neighbours of its own, then ours, which has the
exact neighbours (their own row) and measures its trustworthiness too. `moved` is how far movies are from where they
were on yesterday's map, median and 95th percentile, in units of the map's spread, after turning one onto the other. The
vectors are synthetic, in clusters, 768-D: 10,000 and 40,000, and 242,000 on a GPU; with --home, those of that home. The
ratio is to umap-learn's CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from run import measure

if TYPE_CHECKING:
    import numpy as np

if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).resolve().parent))  # `import umap` shall find the package, not this file

SIZES, GPU_SIZE, QUICK_SIZE = (10_000, 40_000), 242_000, 3_000
DIMENSION, CLUSTERS, INTRINSIC = 768, 200, 12
CHANGED = 0.005
SEED = 0


def synthetic(n: int) -> np.ndarray:
    """Unit rows in clusters of few intrinsic dimensions and unequal sizes, with noise."""
    import numpy as np

    random = np.random.default_rng(SEED)
    cluster = random.choice(CLUSTERS, n, p=random.dirichlet(np.ones(CLUSTERS)))
    centres = random.normal(size=(CLUSTERS, DIMENSION)).astype(np.float32)
    axes = random.normal(size=(CLUSTERS, INTRINSIC, DIMENSION)).astype(np.float32) / INTRINSIC**0.5
    rows = centres[cluster] + 0.3 * random.normal(size=(n, DIMENSION)).astype(np.float32)
    for each in range(CLUSTERS):
        of_it = np.flatnonzero(cluster == each)
        rows[of_it] += random.normal(size=(len(of_it), INTRINSIC)).astype(np.float32) @ axes[each]
    return unit(rows)


def unit(rows: np.ndarray) -> np.ndarray:
    import numpy as np

    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def prepare(folder: Path, vectors: np.ndarray, device: str) -> None:
    """Write yesterday's map, and today's vectors, in which some have moved towards another; a tenth of them are new."""
    import numpy as np

    from imdb_pipeline.embeddings.layout import lay_out
    from imdb_pipeline.embeddings.neighbours import nearest
    from imdb_pipeline.settings import MapSettings

    random = np.random.default_rng(SEED)
    layout = lay_out(vectors, *nearest(vectors, device=device), MapSettings(), seed=SEED, device=device)
    changed = random.choice(len(vectors), max(1, round(CHANGED * len(vectors))), replace=False)
    others = random.choice(len(vectors), len(changed))
    toward = np.where(np.arange(len(changed)) < len(changed) / 10, 3.0, 0.25)[:, None]
    today = vectors.copy()
    today[changed] = unit(vectors[changed] + toward * vectors[others])
    before = layout.coordinates.copy()
    before[changed] = np.nan
    np.savez(folder / "day.npz", vectors=today, before=before, reference=np.float64(layout.reference or 0.0))


def step(name: str, path: str, device: str) -> None:
    """Do one row's work on what ``prepare`` wrote."""
    import numpy as np

    folder = Path(path)
    with np.load(folder / "day.npz") as day:
        vectors, before, reference = day["vectors"], day["before"], float(day["reference"])
    if name == "neighbours":
        from imdb_pipeline.embeddings.neighbours import nearest

        rows, cosines = nearest(vectors, device=device)
        np.savez(folder / "neighbours.npz", rows=rows, cosines=cosines)
    elif name == "umap-learn":
        from umap import UMAP

        model = UMAP(n_neighbors=30, min_dist=0.0, metric="cosine", init="pca", random_state=SEED, n_jobs=1)
        np.save(folder / f"{name}.npy", np.asarray(model.fit_transform(vectors)))
    else:
        from imdb_pipeline.embeddings.layout import Earlier, lay_out
        from imdb_pipeline.embeddings.umap import STUDY
        from imdb_pipeline.settings import MapSettings

        with np.load(folder / "neighbours.npz") as held:
            rows, cosines = held["rows"], held["cosines"]
        earlier = Earlier("yesterday", before, reference) if name == "from yesterday" else None
        settings = STUDY if name == "study" else MapSettings()
        layout = lay_out(vectors, rows, cosines, settings, earlier=earlier, seed=SEED, device=device)
        assert (layout.start is not None) == (earlier is not None), layout.reason
        np.save(folder / f"{name}.npy", layout.coordinates)


def judge(name: str, folder: Path, device: str) -> dict:
    """Return the trustworthiness of a row's map, and how far it is from yesterday's."""
    import numpy as np

    from imdb_pipeline.embeddings.layout import align, displacement
    from imdb_pipeline.embeddings.trustworthiness import trustworthiness

    with np.load(folder / "day.npz") as day:
        vectors, before = day["vectors"], day["before"]
    coordinates = np.load(folder / f"{name}.npy")
    trust = trustworthiness(vectors, coordinates, seed=SEED, device=device)
    median, most = displacement(before, align(coordinates, before)) or (None, None)
    return {"trustworthiness": trust, "moved": median, "moved_95th_percentile": most}


def compare(vectors: np.ndarray, device: str) -> list[dict]:
    """Measure every way on these vectors."""
    n = len(vectors)
    names = {
        "umap-learn": "umap-learn, as it comes",
        "neighbours": "exact neighbours",
        "from scratch": "ours, from scratch",
        "from yesterday": "ours, from yesterday",
    }
    if device == "cuda":
        names["study"] = "ours, the study's settings"
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, vectors, device)
        for way, shown in names.items():
            command = [sys.executable, __file__, "--step", way, str(folder), device]
            row = {**measure(shown, command, folder / "log"), "n": n}
            judged = {} if way == "neighbours" else judge(way, folder, device)
            rows.append({**row, **judged})
    for row in rows:
        row["ratio"] = round(row["cpu_seconds"] / rows[0]["cpu_seconds"], 3)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, help="take the vectors of the newest day of this home")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SIZE:,} synthetic vectors")
    parser.add_argument("--json", action="store_true", help="print a list of rows")
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        step(*arguments.step)
        return
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if arguments.home:
        from imdb_pipeline.embeddings.cache import load_embeddings
        from imdb_pipeline.store import Store

        store = Store(arguments.home / "store")
        revision = store.get("movie_embeddings", store.days("movie_embeddings")[-1])
        rows = compare(load_embeddings(revision, store)[1], device)
    else:
        sizes = (QUICK_SIZE,) if arguments.quick else (*SIZES, GPU_SIZE) if device == "cuda" else SIZES
        rows = [row for n in sizes for row in compare(synthetic(n), device)]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'':<28}{'n':>9}{'CPU s':>9}{'wall s':>9}{'peak MB':>9}{'ratio':>8}{'trust':>8}{'moved':>8}{'95 %':>8}")
    for row in rows:
        judged = [row.get(name) for name in ("trustworthiness", "moved", "moved_95th_percentile")]
        print(
            f"{row['name']:<28}{row['n']:>9,}{row['cpu_seconds']:>9.1f}{row['wall_seconds']:>9.1f}{row['peak_mb']:>9}"
            f"{row['ratio']:>8.3f}" + "".join(f"{'' if value is None else f'{value:.3f}':>8}" for value in judged)
        )


if __name__ == "__main__":
    main()
