"""How many answers a second `imdb-pipeline serve` gives, how soon, and what each costs.

    python benchmarks/serve.py [--movies 242000] [--quick] [--json]

A synthetic release is published in a store of its own: movies with eight people each of 300,000, random unit vectors
(384-D) around 500 centres with their exact 100 neighbours, and vectors of titles; no champion. The service runs in a
process of its own; over loopback, clients with connections that are kept alive ask one question after another, each on
its own connection. Columns: answers a second; milliseconds until half, and 99 of 100, of the answers were there;
milliseconds of the service's CPU an answer, and their ratio to the reference: the same by id through
`imdb_pipeline.api.similar`, in a process that has imported everything and keeps nothing; the service's CPU seconds, the
clients', and the service's largest resident set so far. Ends with status 1 if an answer is not 200.

The last row asks by id until another release, which is published meanwhile, has been read and is served.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from imdb_pipeline.store import Revision, Store

if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).resolve().parent))  # `import umap` shall find the package, not umap.py here

MOVIES, QUICK_MOVIES = 242_000, 20_000
SECONDS, QUICK_SECONDS = 6.0, 3.0
CENTRES, DIMENSION, PEOPLE, CREDITS = 500, 384, 300_000, 8
CLIENTS = 8
SLOW = 50
"""So many questions of a kind that takes longer."""
DAYS = "2026-03-04", "2026-03-05"
REFERENCE = """
import json, resource, sys, time
from imdb_pipeline import api
home, ids = sys.argv[1], sys.argv[2].split(",")
api.similar(ids[0], home=home)
started, cpu = time.monotonic(), time.process_time()
for tconst in ids:
    api.similar(tconst, home=home)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([time.process_time() - cpu, time.monotonic() - started, peak]))
"""


def publish(store: Store, movies: int) -> None:
    """Publish a synthetic release of the first of ``DAYS``, and what the second's would be of."""
    import numpy as np
    import polars as pl

    from imdb_pipeline.embeddings.model_files import EMBEDDED, choose_encoder
    from imdb_pipeline.embeddings.neighbours import NEIGHBOURS, nearest, neighbour_table

    rng = np.random.default_rng(0)
    ends = [f"{vowel}{end}" for vowel in ("a", "e", "io", "u") for end in ("ran", "lis", "mer")]
    words = np.array([f"{start}{end}" for start in "bdgklmnprst" for end in ends])
    picked = words[rng.integers(0, len(words), (movies, 3))]
    genres = np.array(["Drama", "Comedy", "Action", "Horror", "Romance", "Crime", "Family", "Western", "War", "Music"])
    people = rng.integers(0, PEOPLE, (movies, CREDITS))
    credits = pl.DataFrame(
        {
            "nconst": [f"nm{person:07}" for person in people.ravel()],
            "category": np.tile(np.array(["actor"] * 4 + ["director", "writer", "producer", "composer"]), movies),
            "name": [f"Person {person}" for person in people.ravel()],
        }
    ).to_struct("credits")
    votes = np.exp(rng.normal(6, 2, movies)).astype(np.int64) + 5
    table = pl.DataFrame(
        {
            "tconst": [f"tt{row:07}" for row in range(movies)],
            "title": [" ".join(each).title() + f" {row % 997}" for row, each in enumerate(picked)],
            "title_type": "movie",
            "is_adult": False,
            "release_year": pl.Series(rng.integers(1930, 2027, movies), dtype=pl.Int32),
            "runtime_minutes": pl.Series(rng.integers(60, 200, movies), dtype=pl.Int32),
            "genres": genres[rng.integers(0, len(genres), (movies, 2))].tolist(),
            "average_rating": rng.uniform(1, 10, movies).round(1),
            "num_votes": votes,
            "credits": credits.reshape((movies, CREDITS)).arr.to_list(),
        }
    ).with_columns(original_title="title")

    centre = np.arange(movies) % CENTRES
    vectors = _unit(rng.normal(size=(CENTRES, DIMENSION)))[centre]
    vectors = _unit(vectors + 0.6 * _unit(rng.normal(size=(movies, DIMENSION)))).astype(np.float16).astype(np.float32)
    vectors = _unit(vectors)
    k = min(NEIGHBOURS, movies // CENTRES - 1)
    rows, cosines = np.empty((movies, k), np.uint32), np.empty((movies, k), np.float32)
    for each in range(CENTRES):
        members = np.flatnonzero(centre == each)
        local, rows_cosines = nearest(vectors[members], k=k)
        rows[members], cosines[members] = members[local], rows_cosines

    chosen = choose_encoder(EMBEDDED)
    encoder = {"name": chosen.name, "revision": chosen.revision, "dimension": DIMENSION, "dtype": "float32"}
    listed = {}
    for name, held in (("document", vectors), ("title", _unit(rng.normal(size=(movies, DIMENSION))))):
        hashes = [f"{name}{row}" for row in range(movies)]
        half: Any = held.astype(np.float16)
        frame = pl.DataFrame({"document_hash": hashes, "embedding": half})
        store.pool("embeddings_benchmark").add(frame.cast({"embedding": pl.Array(pl.Float16, DIMENSION)}))
        listed[name] = pl.DataFrame({"tconst": table["tconst"], "document_hash": hashes})

    def written(asset: str, day: str, **files: pl.DataFrame) -> Revision:
        with store.stage(asset) as folder:
            for name, frame in files.items():
                frame.write_parquet(folder / f"{name}.parquet")
            if asset == "movie_embeddings":
                (folder / "encoder.json").write_text(json.dumps({**encoder, "pool": "embeddings_benchmark"}))
            about: Any = {"key": day, "code_version": "", "inputs": {}, "settings": {}, "info": {}}
            return store.publish(folder, asset=asset, day=day, rows=movies, **about)

    for day in DAYS:
        written("movies", day, movies=table)
        written("movie_embeddings", day, embeddings=listed["document"], titles=listed["title"])
        written("movie_neighbours", day, neighbours=neighbour_table(table["tconst"], rows, cosines))
    release(store, DAYS[0])


def release(store: Store, day: str) -> None:
    store.release(day, {asset: store.get(asset, day) for asset in ("movies", "movie_embeddings", "movie_neighbours")})


def _unit(vectors: np.ndarray) -> np.ndarray:
    import numpy as np

    vectors = vectors.astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Service:
    """The service in a process of its own."""

    def __init__(self, home: Path, log: Path) -> None:
        command = [sys.executable, "-m", "imdb_pipeline.cli", "serve", "--home", str(home), "--port", "0"]
        started = time.monotonic()
        with log.open("w") as errors:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert self.process.stdout is not None
        address = self.process.stdout.readline().split()
        if not address:
            sys.exit(f"the service did not start:\n{log.read_text()}")
        self.port = int(address[0].rpartition(":")[2])
        asyncio.run(self.ask([get("/healthz")]))  # which waits until it is ready
        self.ready_seconds = time.monotonic() - started

    def usage(self) -> tuple[float, int]:
        """Return CPU seconds, and the largest resident set in MB."""
        times = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
        return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"), int(peak) // 1024

    async def ask(
        self,
        requests: list[bytes],
        *,
        seconds: float = 0.0,
        clients: int = 1,
        enough: Callable[[], bool] = lambda: True,
    ) -> list[float]:
        """Ask in turn until the time is up, each request at least once, and return the seconds of each answer."""
        left, until = iter(range(10**9)), time.monotonic() + seconds
        took: list[float] = []

        async def client() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            while (number := next(left)) < len(requests) or time.monotonic() < until or not enough():
                started = time.perf_counter()
                writer.write(requests[number % len(requests)])
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                body = await reader.readexactly(length)
                if not head.startswith(b"HTTP/1.1 200"):
                    sys.exit(f"{requests[number % len(requests)][:200]!r}: {head[:20]!r} {body[:300]!r}")
                took.append(time.perf_counter() - started)
            writer.close()

        await asyncio.gather(*(client() for _ in range(clients)))
        return took

    def row(
        self, name: str, requests: list[bytes], seconds: float, enough: Callable[[], bool] = lambda: True
    ) -> dict[str, Any]:
        asyncio.run(self.ask(requests[:2]))  # what is read by the first who asks is not of this row
        cpu, own, started = self.usage()[0], time.process_time(), time.monotonic()
        took = sorted(asyncio.run(self.ask(requests, seconds=seconds, clients=CLIENTS, enough=enough)))
        wall, (after, peak) = time.monotonic() - started, self.usage()
        return {
            "name": name,
            "answers": len(took),
            "per_second": round(len(took) / wall, 1),
            "p50_ms": round(1000 * took[len(took) // 2], 2),
            "p99_ms": round(1000 * took[min(len(took) - 1, int(0.99 * len(took)))], 2),
            "cpu_ms": round(1000 * (after - cpu) / len(took), 3),
            "cpu_seconds": round(after - cpu, 2),
            "client_cpu_seconds": round(time.process_time() - own, 2),
            "wall_seconds": round(wall, 1),
            "peak_mb": peak,
        }


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def post(path: str, value: Any) -> bytes:
    body = json.dumps(value).encode()
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def rows_of(folder: Path, movies: int, seconds: float) -> list[dict[str, Any]]:
    import numpy as np
    import polars as pl

    from imdb_pipeline.store import Store

    home = folder / "home"
    home.mkdir()
    store = Store(home / "store")
    publish(store, movies)
    chosen = np.random.default_rng(1).permutation(movies)[:500]
    table = pl.read_parquet(store.released("movies").file("movies.parquet"))
    ids = table["tconst"][chosen].to_list()
    titles = table["title"][chosen[:SLOW]].to_list()
    command = [sys.executable, "-c", REFERENCE, str(home), ",".join(ids[:20])]
    cpu, wall, peak = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    each = 1000 * wall / 20
    reference = {"name": "api.similar, by id, nothing kept", "answers": 20, "per_second": round(20 / wall, 1)}
    reference |= {"p50_ms": round(each, 2), "p99_ms": round(each, 2), "cpu_ms": round(50 * cpu, 3)}
    reference |= {"cpu_seconds": round(cpu, 2), "client_cpu_seconds": 0.0}
    rows = [{**reference, "wall_seconds": round(wall, 1), "peak_mb": round(peak)}]
    service = Service(home, folder / "log")
    try:
        print(f"{movies:,} movies; answers {service.ready_seconds:.1f} s after its start", file=sys.stderr)
        asyncio.run(service.ask([get("/similar?text=warm")]))
        by_id = [get(f"/similar/{tconst}") for tconst in ids]
        titled = [
            get(f"/similar?title={title.replace(' ', '%20')}%20({year})")
            for title, year in zip(titles, table["release_year"][chosen[:SLOW]], strict=True)
        ]
        described = [
            post("/similar", {"title": title, "genres": ["Drama"], "directors": [f"Person {row}"]})
            for row, title in enumerate(titles)
        ]
        asked: dict[str, list[bytes]] = {
            "by id": by_id,
            "by id, k 100": [get(f"/similar/{tconst}?k=100") for tconst in ids],
            "by id, since 1970, 100 votes": [get(f"/similar/{each}?from_year=1970&min_votes=100") for each in ids],
            "by id, 2020 alone, 10,000 votes": [
                get(f"/similar/{each}?from_year=2020&to_year=2020&min_votes=10000") for each in ids
            ],
            "by id, title masked": [get(f"/similar/{each}?mask_title=true") for each in ids],
            "by title and year": titled,
            "free text": [get(f"/similar?text=a%20film%20like%20{title.replace(' ', '%20')}") for title in titles],
            "a movie that is described": described,
        }
        for name, requests in asked.items():
            rows.append(service.row(name, requests, seconds))
            print(json.dumps(rows[-1]), file=sys.stderr)
        rows.append(_while_released(service, store, by_id, seconds))
    finally:
        service.process.terminate()
        if service.process.wait(30):
            sys.exit(f"the service ended with status {service.process.returncode}")
    for row in rows:
        row["ratio"] = round(row["cpu_ms"] / rows[0]["cpu_ms"], 4)
    return rows


def _while_released(service: Service, store: Store, requests: list[bytes], seconds: float) -> dict[str, Any]:
    served = threading.Event()

    def move() -> None:
        time.sleep(seconds / 5)
        release(store, DAYS[1])
        while json.loads(urlopen(f"http://127.0.0.1:{service.port}/healthz").read())["day"] != DAYS[1]:
            time.sleep(0.5)
        served.set()

    threading.Thread(target=move, daemon=True).start()
    return service.row("by id, while a release is read", requests, seconds, served.is_set)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--movies", type=int, default=MOVIES)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_MOVIES:,} movies, {QUICK_SECONDS:.0f} s a row")
    parser.add_argument("--json", action="store_true", help="print a list of rows")
    arguments = parser.parse_args()
    movies, seconds = (QUICK_MOVIES, QUICK_SECONDS) if arguments.quick else (arguments.movies, SECONDS)
    with tempfile.TemporaryDirectory() as folder:
        rows = rows_of(Path(folder), movies, seconds)
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    heads = ("per s", "p50 ms", "p99 ms", "CPU ms", "ratio", "CPU s", "clients'", "peak MB")
    print(f"{'':<34}" + "".join(f"{head:>10}" for head in heads))
    for row in rows:
        print(
            f"{row['name']:<34}{row['per_second']:>10.1f}{row['p50_ms']:>10.2f}{row['p99_ms']:>10.2f}{row['cpu_ms']:>10.2f}"
            f"{row['ratio']:>10.4f}{row['cpu_seconds']:>10.2f}{row['client_cpu_seconds']:>10.2f}{row['peak_mb']:>10}"
        )


if __name__ == "__main__":
    main()
