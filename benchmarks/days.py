"""Simulated days in a row against a server on loopback: what each costs, which are held, and whether a replay is equal.

    python benchmarks/days.py [--days 30] [--movies 1000] [--quick] [--json]

A small catalogue changes every day, and some days are bad. Each row is one `imdb-pipeline refresh`, in this process;
the ratio is to the first day's CPU seconds. Ends with status 1 if a good day is not held, a bad one is, published bytes
are not those of their manifest, or a replay of an archived day gives other bytes.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import os
import random
import resource
import sys
import tempfile
import threading
import time
from datetime import UTC, date, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).resolve().parent))  # `import umap` shall find the package, not umap.py here

FIRST = date(2026, 3, 1)
FILES = ("title.basics", "title.ratings", "title.principals", "name.basics")
QUICK_DAYS, QUICK_MOVIES = 10, 400
QUIET, USUAL, BUSY = 0.001, 0.005, 0.05
"""Shares of ratings that change in a day; a fifth as many movies and a tenth as many credits do."""

EVENTS = {
    3: "truncated file",
    4: "4 % of the credits missing",
    5: "two publications",
    6: "files of two days, then all",
    7: "yesterday's files again",
    8: "missed",
    9: "busy",
    11: "renamed column",
    13: "truncated file, then mended",
    15: "the same bytes with a new date",
    17: "busy",
    19: "server down",
    21: "two publications",
    22: "a movie twice",
    24: "missed",
    25: "missed",
    27: "4 % of the credits missing",
    28: "yesterday's files again",
}


class Catalogue:
    """The four files as rows, and how a day changes them."""

    def __init__(self, folder: Path, movies: int) -> None:
        from imdb_pipeline.dumps.sample import write_sample

        self.folder, self.rng, self.added = folder, random.Random(0), 0
        write_sample(folder, movies=movies)
        self.header: dict[str, str] = {}
        self.rows: dict[str, list[str]] = {}
        for name in FILES:
            text = gzip.decompress(self.path(name).read_bytes()).decode()
            self.header[name], *self.rows[name] = text.rstrip("\n").split("\n")

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.tsv.gz"

    def change(self, share: float) -> None:
        """Move ratings and votes, change runtimes and credits, forget a short, add a movie; an earlier gets votes."""
        ratings, principals, basics = (
            self.rows[name] for name in ("title.ratings", "title.principals", "title.basics")
        )
        for index in self.some(ratings, share):
            tconst, rating, votes = ratings[index].split("\t")
            moved = min(10.0, max(1.0, float(rating) + self.rng.choice((-0.2, -0.1, 0.1, 0.2))))
            ratings[index] = f"{tconst}\t{moved:.1f}\t{int(votes) + self.rng.randint(1, 9)}"
        movies = [index for index, row in enumerate(basics) if row.split("\t")[1] in ("movie", "tvMovie")]
        for index in self.some(movies, share / 5 * len(basics) / len(movies)):
            cells = basics[movies[index]].split("\t")
            cells[7] = str(self.rng.randint(60, 180))
            basics[movies[index]] = "\t".join(cells)
        people = [row.split("\t")[0] for row in self.rows["name.basics"]]
        for index in self.some(principals, share / 10):
            cells = principals[index].split("\t")
            cells[2] = self.rng.choice(people)
            principals[index] = "\t".join(cells)
        self.added += 1
        tconst, name = f"tt{90_000_000 + self.added}", f"A Newly Made Film {self.added}"
        basics.append(f"{tconst}\tmovie\t{name}\t{name}\t0\t2026\t\\N\t{self.rng.randint(70, 140)}\tDrama")
        ratings.append(f"{tconst}\t{self.rng.uniform(4, 8):.1f}\t{self.rng.randint(5, 20)}")
        earlier = f"tt{90_000_000 + self.added - 2}\t"
        for index, row in enumerate(ratings):
            if row.startswith(earlier):
                _, rating, votes = row.split("\t")
                ratings[index] = f"{earlier}{rating}\t{int(votes) + 30}"
        principals.append(f"{tconst}\t1\t{self.rng.choice(people)}\tdirector\t\\N\t\\N")
        gone = next(index for index, row in enumerate(basics) if row.split("\t")[1] == "short")
        lost = basics.pop(gone).split("\t")[0] + "\t"
        for rows in (ratings, principals):
            rows[:] = [row for row in rows if not row.startswith(lost)]

    def some(self, rows: list, share: float) -> list[int]:
        return self.rng.sample(range(len(rows)), max(1, round(len(rows) * share)))

    def publish(self, at: datetime, names: tuple[str, ...] = FILES) -> None:
        for name in names:
            text = "\n".join([self.header[name], *self.rows[name]]) + "\n"
            self.path(name).write_bytes(gzip.compress(text.encode(), 1, mtime=0))
            os.utime(self.path(name), (at.timestamp(), at.timestamp()))

    def damage(self, event: str, at: datetime) -> None:
        """Write the files of the day, one of them wrong."""
        self.publish(at)
        path = self.path("title.principals")
        if event.startswith("truncated"):
            data = path.read_bytes()
            path.write_bytes(data[: len(data) // 2])
        else:
            name, header, rows = "title.principals", None, list(self.rows["title.principals"])
            if event == "renamed column":
                header = self.header[name].replace("category", "role")
            elif event == "a movie twice":
                name, rows = "title.basics", list(self.rows["title.basics"])
                rows.append(next(row for row in rows if row.split("\t")[1] == "movie"))
            else:
                rows = rows[: int(len(rows) * 0.96)]
            path = self.path(name)
            text = "\n".join([header or self.header[name], *rows]) + "\n"
            path.write_bytes(gzip.compress(text.encode(), 1, mtime=0))
        os.utime(path, (at.timestamp(), at.timestamp()))


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder with ETag and Last-Modified, unless it is down."""

    down = False

    def send_head(self):
        return self.send_error(404) if type(self).down else super().send_head()

    def end_headers(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.is_file():
            status = path.stat()
            self.send_header("ETag", f'"{status.st_mtime_ns:x}-{status.st_size:x}"')
        super().end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def refresh(home: Path) -> tuple[int, str]:
    """Return the exit status of `imdb-pipeline refresh`, and its last line."""
    from imdb_pipeline import cli

    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["imdb-pipeline", "refresh", "--home", str(home)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
    said = (err.getvalue() or out.getvalue()).strip().splitlines()
    return status, said[-1] if said else ""


class Simulation:
    """A home, its server, and what should be held."""

    def __init__(self, folder: Path, movies: int) -> None:
        self.home, self.catalogue = folder / "home", Catalogue(folder / "served", movies)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder / "served")))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.home.mkdir()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        (self.home / "settings.toml").write_text(f'source = "{self.url}"\n')
        self.good: set[str] = set()
        self.rows: list[dict] = []

    def day(self, number: int) -> None:
        day = FIRST + timedelta(days=number - 1)
        event = EVENTS.get(number, "")
        at = datetime(day.year, day.month, day.day, 8, tzinfo=UTC)
        if number > 1 and event not in ("yesterday's files again", "the same bytes with a new date"):
            self.catalogue.change(BUSY if event == "busy" else QUIET if number % 2 else USUAL)
        if event == "missed":
            self.catalogue.publish(at)
            self.row(day, event, None)
        elif event == "server down":
            Handler.down = True
            self.tick(day, event, good=False)
            Handler.down = False
        elif event == "yesterday's files again":
            self.tick(day, event, good=False)
        elif event == "files of two days, then all":
            self.catalogue.publish(at, FILES[:2])
            self.tick(day, "files of two days", good=False)
            self.catalogue.publish(at)
            self.tick(day, "then all four")
        elif event in ("truncated file", "4 % of the credits missing", "renamed column", "a movie twice"):
            self.catalogue.damage(event, at)
            self.tick(day, event, good=False)
        elif event == "truncated file, then mended":
            self.catalogue.damage(event, at)
            self.tick(day, "truncated file", good=False)
            self.catalogue.publish(at + timedelta(hours=6))
            self.tick(day, "then mended")
        else:
            self.catalogue.publish(at)
            self.tick(day, event or ("first" if number == 1 else "quiet" if number % 2 else "usual"))
            if event == "two publications":
                self.catalogue.change(USUAL)
                self.catalogue.publish(at + timedelta(hours=6))
                self.tick(day, "second publication")

    def tick(self, day: date, event: str, *, good: bool = True) -> None:
        if good:
            self.good.add(str(day))
        started, wall = time.process_time(), time.monotonic()
        status, said = refresh(self.home)
        self.row(
            day, event, (time.process_time() - started, time.monotonic() - wall), status=status, said=said, good=good
        )

    def row(
        self,
        day: date,
        event: str,
        seconds: tuple[float, float] | None,
        *,
        status: int = 0,
        said: str = "not run",
        good: bool = False,
    ) -> None:
        from imdb_pipeline.store import Store

        store = Store(self.home / "store")
        changed = embedded = graded = None
        if good and status == 0:
            graded = json.loads(store.get("prediction_ledger", str(day)).file("score.json").read_bytes())["graded"]
            changes = store.get("catalogue_changes", str(day))
            changed = changes.manifest["rows"]
            info = store.get("movie_embeddings", str(day)).manifest["info"]
            embedded = 0 if "adopted_from" in info else info["embedded"]
        said = said.removeprefix("imdb-pipeline: ").replace(str(self.home), "HOME").replace(self.url, "")
        self.rows.append(
            {
                "name": f"{day} {event}",
                "status": status,
                "said": said,
                "changed": changed,
                "embedded": embedded,
                "graded": graded,
                "cpu_seconds": round(seconds[0], 2) if seconds else 0.0,
                "wall_seconds": round(seconds[1], 2) if seconds else 0.0,
                "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            }
        )


def faults(home: Path, good: set[str]) -> list[str]:
    """Return what is not as it should be after all days."""
    from imdb_pipeline.errors import PipelineError
    from imdb_pipeline.orchestration.stages import STAGES
    from imdb_pipeline.store import Store

    store = Store(home / "store")
    wrong = []
    for asset in ("title_basics_dump", "movies", "movie_documents", "catalogue_changes", "release"):
        held = set(store.days(asset))
        allowed = {"2026-03-22"} if asset == "title_basics_dump" else set()  # whole files, refused for what is in them
        if held - allowed != good:
            wrong.append(f"{asset}: held {sorted(held - allowed - good)} too many, {sorted(good - held)} missing")
    current = store.current()
    if current is None or current["day"] != max(good):
        wrong.append(f"CURRENT is {current and current['day']}, not {max(good)}")
    for asset in STAGES:
        for day in store.days(asset):
            for revision in store.revisions(asset, day):
                try:
                    if not revision.expired:
                        store.verify(revision)
                except PipelineError as error:
                    wrong.append(str(error))
    return wrong


def replay(home: Path) -> tuple[list[str], list[str]]:
    """Make every archived day again from its dumps; return the days, and what came out otherwise."""
    from imdb_pipeline.orchestration.assets.results import TRAINED
    from imdb_pipeline.orchestration.runs import execute, prepare
    from imdb_pipeline.orchestration.stages import STAGES
    from imdb_pipeline.settings import settle
    from imdb_pipeline.store import Store

    store = Store(home / "store")
    assets = [name for name in STAGES if name not in TRAINED and name not in ("report", "release")]
    days = [day for day in store.days("movies") if not store.get("title_basics_dump", day).expired]
    wrong = []
    for day in days:
        before = {asset: store.get(asset, day) for asset in assets}
        execute(prepare(home, settle(home), day=day, assets=assets, force=True), force=True)
        for asset, revision in before.items():
            after = store.get(asset, day)
            if after.data_hash != revision.data_hash:
                wrong.append(f"{asset} of {day}: {after.data_hash[:12]}, before {revision.data_hash[:12]}")
            if after.id == revision.id:
                wrong.append(f"{asset} of {day} was not made again")
    return days, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--movies", type=int, default=1000, help="rated movies of the catalogue")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_DAYS} days of {QUICK_MOVIES} movies")
    parser.add_argument("--json", action="store_true", help="print a list of rows")
    arguments = parser.parse_args()
    days, movies = (QUICK_DAYS, QUICK_MOVIES) if arguments.quick else (arguments.days, arguments.movies)
    with tempfile.TemporaryDirectory() as folder:
        simulation = Simulation(Path(folder), movies)
        for number in range(1, days + 1):
            simulation.day(number)
        wrong = faults(simulation.home, simulation.good)
        replayed, differing = replay(simulation.home)
        simulation.server.shutdown()
        simulation.server.server_close()
    rows = simulation.rows
    for row in rows:
        row["ratio"] = round(row["cpu_seconds"] / rows[0]["cpu_seconds"], 3)
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        print(f"{'':<42}{'changed':>8}{'embedded':>9}{'graded':>7}{'CPU s':>8}{'wall s':>8}{'ratio':>7}  said")
        for row in rows:
            shown = ("" if row[name] is None else row[name] for name in ("changed", "embedded", "graded"))
            changed, embedded, graded = shown
            print(
                f"{row['name']:<42}{changed:>8}{embedded:>9}{graded:>7}{row['cpu_seconds']:>8.1f}{row['wall_seconds']:>8.1f}"
                f"{row['ratio']:>7.3f}  {row['said'][:110]}"
            )
        print(f"{len(simulation.good)} good days held, peak {rows[-1]['peak_mb']:,} MB; replayed {', '.join(replayed)}")
    for line in [*wrong, *differing]:
        print(line, file=sys.stderr)
    sys.exit(1 if wrong or differing or not replayed else 0)


if __name__ == "__main__":
    main()
