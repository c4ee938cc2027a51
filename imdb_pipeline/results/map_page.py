"""``map_page``: the map as one HTML file that opens from disk with no network, for looking around in.

What the browser does with it is in ``map_page_js/``, bundled into ``templates/map_page.min.js``; how the data lie in
the file, in ``map_page_data``.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from imdb_pipeline import __version__
from imdb_pipeline.results.report import COURTESY, SAMPLE_SHOWN

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

FILE = "map.html"
MAX_BYTES = 25_000_000
"""Of the page of some 240 k movies; larger ones load slowly and cannot be sent to anybody."""


def write_map_page(
    path: Path,
    *,
    day: str,
    source: str,
    points: pl.DataFrame,
    movies: pl.LazyFrame,
    neighbours: pl.DataFrame,
    predictions: pl.DataFrame,
) -> dict[str, int]:
    """Write the map of a day as a page, and return what it counts: movies, rated, predicted, unseen, directors, bytes.

    Parameters
    ----------
    source
        Shown; IMDb is thanked unless it is ``sample``.
    points
        tconst, x, y (Float32): of the movies that the page shows.
    movies
        tconst, title, release_year, genres, average_rating, num_votes, credits, of those at least.
    neighbours
        tconst, neighbours (List(UInt32): rows of this frame, the nearest first), cosines (List(Float32)); the movies of
        ``points`` in the same order.
    predictions
        What ``predictions_table`` returned; with no row the page does not speak of predictions.

    Raises
    ------
    ValueError
        ``points`` and ``neighbours`` are not of the same movies in the same order.
    """
    from importlib.resources import files

    from jinja2 import Environment, PackageLoader

    from imdb_pipeline.results.map_page_data import page_data
    from imdb_pipeline.results.plots import draw_map, embedded

    data = page_data(points, movies, neighbours, predictions)
    packaged = files("imdb_pipeline.results") / "templates"
    script, style = ((packaged / name).read_text(encoding="utf-8") for name in ("map_page.min.js", "map_page.css"))
    environment = Environment(loader=PackageLoader("imdb_pipeline.results"), autoescape=True, trim_blocks=True)
    html = environment.get_template("map_page.html.j2").render(
        day=day,
        source=SAMPLE_SHOWN if source == "sample" else source,
        courtesy=None if source == "sample" else COURTESY,
        version=__version__,
        counts=data.counts,
        script=script,
        style=style,
        script_hash=_csp_hash(script),
        style_hash=_csp_hash(style),
        picture=embedded(draw_map(data.places)),
        data=base64.b64encode(data.packed).decode(),
    )
    written = path.write_bytes(html.encode())
    return {**data.counts, "bytes": written}


def _csp_hash(text: str) -> str:
    """Return what lets a browser run, or apply, this text alone (Content Security Policy Level 3, section 2.3.1)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
