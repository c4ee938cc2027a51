"""What `movie_embeddings` costs on a first day, and on the next one, on which half a per cent of the documents changed.

    python benchmarks/embed_day.py [--source DIR] [--quick] [--json]

Each row is a Dagster run of the assets up to `movie_embeddings` in a process of its own; its seconds are those of
`movie_embeddings` alone, by its manifest, loading the encoder and looking through the cache included. The ratio is to
the first day's.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import sys
import tempfile
from pathlib import Path

from run import measure

DAYS = "2026-03-04", "2026-03-05"
CHANGED_EVERY = 200
QUICK_MOVIES, MOVIES = 400, 6_000
FILES = ("title.basics", "title.ratings", "title.principals", "name.basics")
ASSETS = [*(f"{file.replace('.', '_')}_dump" for file in FILES), "movies", "movie_documents", "movie_embeddings"]


def change(source: str, target: str) -> None:
    """Copy a catalogue; every 200th movie lasts a minute longer."""
    for file in FILES:
        rows = gzip.decompress((Path(source) / f"{file}.tsv.gz").read_bytes()).split(b"\n")
        if file == "title.basics":
            runtime = rows[0].split(b"\t").index(b"runtimeMinutes")
            for number in range(1, len(rows) - 1, CHANGED_EVERY):
                cells = rows[number].split(b"\t")
                cells[runtime] = b"90" if cells[runtime] == b"\\N" else b"%d" % (int(cells[runtime]) + 1)
                rows[number] = b"\t".join(cells)
        (Path(target) / f"{file}.tsv.gz").write_bytes(gzip.compress(b"\n".join(rows), mtime=0))


def day(home: str, source: str, name: str) -> dict:
    """Run a day up to its embeddings, and return what these took."""
    from imdb_pipeline.orchestration.runs import execute, prepare
    from imdb_pipeline.settings import record, settle
    from imdb_pipeline.store import Store

    folder = Path(home)
    settings = settle(folder, source=source)
    record(folder, settings)
    execute(prepare(folder, settings, day=name, assets=ASSETS))
    manifest = Store(folder / "store").get("movie_embeddings", name).manifest
    return {"seconds": manifest["info"]["seconds"], "embedded": manifest["info"]["embedded"], "rows": manifest["rows"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help=f"a folder with the four dumps; else a sample of {MOVIES:,} movies")
    parser.add_argument("--quick", action="store_true", help=f"a sample of {QUICK_MOVIES} movies")
    parser.add_argument("--json", action="store_true", help="print a list of rows")
    parser.add_argument("--run", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        step, *rest = arguments.run
        print(json.dumps({"change": change, "day": day}[step](*rest)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder, log, source = Path(name), Path(name) / "log", arguments.source
        command = [sys.executable, __file__, "--run"]
        if source is None:
            from imdb_pipeline.dumps.sample import write_sample

            source = folder / "sample"
            write_sample(source, movies=QUICK_MOVIES if arguments.quick else MOVIES)
        dumps = folder / "dumps"
        dumps.mkdir()
        rows = []
        for file in FILES:
            shutil.copy(source / f"{file}.tsv.gz", dumps)
        for title, when in zip(("first day", "next day"), DAYS, strict=True):
            row = measure(title, [*command, "day", str(folder / "home"), str(dumps), when], log)
            rows.append({**row, **json.loads(log.read_text().strip().splitlines()[-1])})
            measure("change", [*command, "change", str(source), str(dumps)], log)
    for row in rows:
        row["ratio"] = round(row["seconds"] / rows[0]["seconds"], 4)
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    print(
        f"{'':<12}{'documents':>10}{'embedded':>10}{'seconds':>9}{'ratio':>8}"
        f"{'whole: CPU s':>14}{'wall s':>8}{'peak MB':>9}"
    )
    for row in rows:
        print(
            f"{row['name']:<12}{row['rows']:>10,}{row['embedded']:>10,}{row['seconds']:>9.2f}{row['ratio']:>8.4f}"
            f"{row['cpu_seconds']:>14.1f}{row['wall_seconds']:>8.1f}{row['peak_mb']:>9}"
        )


if __name__ == "__main__":
    main()
