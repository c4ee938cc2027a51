"""What the page of the map costs: to write, to open, to search, to filter, to colour, to zoom; in headless Chromium.

    python benchmarks/map_page.py [--movies N] [--quick] [--json]

The movies are drawn at random. The reference, of ratio 1, is a page that holds the same as plain JSON: to write it, by
CPU seconds, for the first rows; to open and parse it (it draws nothing), by wall seconds, for the others. Each page is
written in a process of its own from Parquet files. What the browser does several times is shown by its median, with the
slowest beside it; its CPU seconds are of the page's process, its memory is the JavaScript heap. Where there is no GPU,
Chromium draws by software (SwiftShader): frames, and the first one, then take many times longer than on any GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imdb_pipeline_tests.browser import Page

ROOT = Path(__file__).resolve().parents[1]
MOVIES, QUICK_MOVIES = 240_000, 20_000
FRAMES = 12
READ = """import sys, polars as pl
from pathlib import Path
folder, path = map(Path, sys.argv[1:])
points, neighbours, predictions = (
    pl.read_parquet(folder / f"{name}.parquet") for name in ("points", "neighbours", "predictions")
)
movies = pl.scan_parquet(folder / "movies.parquet")
"""
PAGE = (
    READ
    + """from imdb_pipeline.results.map_page import write_map_page
write_map_page(path, day="2026-03-04", source="folder",
               points=points, movies=movies, neighbours=neighbours, predictions=predictions)
"""
)
PLAIN = (
    READ
    + """import orjson
near = neighbours.with_columns(pl.col("neighbours", "cosines").list.head(5))
shown = movies.join(points.lazy(), on="tconst").join(near.lazy(), on="tconst").join(predictions.lazy(), on="tconst")
text = orjson.dumps(shown.collect().to_dicts()).decode().replace("<", "\\\\u003c")
path.write_text('<!doctype html><script type="application/json" id="data">' + text + '</script>'
                '<script>const movies = JSON.parse(document.getElementById("data").textContent);'
                'performance.measure("first draw", {start: 0});'
                'document.documentElement.dataset.ready = "yes";</script>')
"""
)
ZOOM = """new Promise(done => {
  const canvas = document.getElementById("points"), box = canvas.getBoundingClientRect(), took = [];
  let before = performance.now();
  const step = now => {
    took.push((now - before) / 1000);
    before = now;
    if (took.length > FRAMES) return done(took.slice(1));
    const at = {clientX: box.x + box.width / 2, clientY: box.y + box.height / 2, bubbles: true, cancelable: true};
    canvas.dispatchEvent(new WheelEvent("wheel", {deltaY: took.length < FRAMES / 2 ? -40 : 40, ...at}));
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""


def written(name: str, code: str, folder: Path, path: Path) -> dict[str, Any]:
    """Write a page in a process of its own, and return its row."""
    started = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", code, str(folder), str(path)], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{name} failed")
    return {
        "name": name,
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
        "wall_seconds": round(time.monotonic() - started, 3),
        "peak_mb": round(usage.ru_maxrss / 1024),
        "page_mb": round(path.stat().st_size / 1e6, 1),
    }


class Watch:
    """Times what a page does, by its own clock."""

    def __init__(self, page: Page) -> None:
        self.page = page
        page.send("Performance.enable")

    def _metrics(self) -> dict[str, float]:
        return {each["name"]: each["value"] for each in self.page.send("Performance.getMetrics")["metrics"]}

    def row(self, name: str, work: Callable[[], list[float]], path: Path) -> dict[str, Any]:
        """Return a row of what ``work`` took, in seconds; the median of several."""
        before = self._metrics()
        took = work()
        after = self._metrics()
        # Another page is another process, whose time begins at 0.
        spent = after["ProcessTime"] - (before["ProcessTime"] if after["ProcessTime"] > before["ProcessTime"] else 0)
        return {
            "name": name,
            "cpu_seconds": round(spent / len(took), 3),
            "wall_seconds": round(statistics.median(took), 4),
            "slowest_seconds": round(max(took), 4),
            "peak_mb": round(after["JSHeapUsedSize"] / 1e6),
            "page_mb": round(path.stat().st_size / 1e6, 1),
        }

    def measured(self, name: str) -> list[float]:
        entries = f"performance.getEntriesByName({name!r}).map(each => each.duration / 1000)"
        self.page.wait_until(f"{entries}.length")
        return self.page.evaluate(entries)

    def opened(self, path: Path) -> list[float]:
        self.page.open("about:blank")
        self.page.open(path.as_uri())
        self.page.wait_until("document.documentElement.dataset.ready")
        return self.measured("first draw")

    def changed(self, name: str, element: str, event: str, values: list[str]) -> list[float]:
        """Give an element values, one after the other, and return what each took."""
        self.page.evaluate(f"performance.clearMeasures({name!r})")
        for number, value in enumerate(values, start=1):
            self.page.evaluate(
                f"(each => {{ each.value = {value!r}; each.dispatchEvent(new Event({event!r})); }})"
                f"(document.getElementById({element!r}))"
            )
            self.page.wait_until(f"performance.getEntriesByName({name!r}).length === {number}")
            self.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return self.measured(name)


def rows_of(movies: int, folder: Path) -> Iterator[dict[str, Any]]:
    from imdb_pipeline_tests.browser import opened_page
    from imdb_pipeline_tests.drawn_map import draw_catalogue

    drawn = draw_catalogue(movies)
    for name, frame in drawn.items():
        frame.lazy().sink_parquet(folder / f"{name}.parquet")  # pyright: ignore[reportAttributeAccessIssue]
    plain, path = folder / "plain.html", folder / "map.html"
    rows = [written("plain JSON: write", PLAIN, folder, plain), written("map page: write", PAGE, folder, path)]
    for row in rows:
        yield {**row, "ratio": round(row["cpu_seconds"] / rows[0]["cpu_seconds"], 3)}
    with opened_page(folder / "profile") as page:
        page.look(width=1400, height=900)
        watch = Watch(page)
        rows = [
            watch.row("plain JSON: open", lambda: watch.opened(plain), plain),
            watch.row("map page: open and draw", lambda: watch.opened(path), path),
            watch.row("  fold the titles", lambda: watch.measured("index"), path),
        ]
        words = ["a", "am", "ama", "the", "va te", "no such title"]
        rows += [
            watch.row("  search", lambda: watch.changed("search", "search", "input", words), path),
            watch.row("  filter", lambda: watch.changed("filter", "votes", "input", ["3", "5", "2", "7", "0"]), path),
            watch.row(
                "  colour",
                lambda: watch.changed("colour", "colour", "change", ["error", "year", "genre", "rating"]),
                path,
            ),
            watch.row("  a frame of zooming", lambda: page.evaluate(ZOOM.replace("FRAMES", str(FRAMES))), path),
        ]
        for row in rows:
            yield {**row, "ratio": round(row["wall_seconds"] / rows[0]["wall_seconds"], 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--movies", type=int, default=MOVIES, help=f"how many [default: {MOVIES:,}]")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_MOVIES:,} movies")
    parser.add_argument("--json", action="store_true", help="print a list of rows")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))  # for the driver of Chromium, which is the tests'
    with tempfile.TemporaryDirectory() as name:
        rows = rows_of(QUICK_MOVIES if arguments.quick else arguments.movies, Path(name))
        if arguments.json:
            print(json.dumps(list(rows), indent=2))
            return
        print(f"{'':<26}{'CPU s':>9}{'wall s':>9}{'slowest':>9}{'peak MB':>9}{'page MB':>9}{'ratio':>9}")
        for row in rows:
            slowest = f"{row['slowest_seconds']:>9.3f}" if "slowest_seconds" in row else f"{'':>9}"
            print(
                f"{row['name']:<26}{row['cpu_seconds']:>9.3f}{row['wall_seconds']:>9.3f}{slowest}{row['peak_mb']:>9}"
                f"{row['page_mb']:>9.1f}{row['ratio']:>9.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
