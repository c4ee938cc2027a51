"""Take the pictures of the documentation: ``python -m imdb_pipeline_tests.take_pictures HOME``, of the sample's home.

They show the synthetic sample alone: pictures of IMDb's data may not be published.
"""

from __future__ import annotations

import base64
import sys
import tempfile
import time
from pathlib import Path

import imdb_pipeline
from imdb_pipeline.settings import load_settings
from imdb_pipeline.store import Store
from imdb_pipeline_tests.browser import opened_page

IMAGES = Path(imdb_pipeline.__file__).parent.parent / "docs" / "images"
_DRAWN_SECONDS = 20
_GRAPH = {"x": 590, "y": 180, "width": 545, "height": 575, "scale": 2}
"""The part of the window that has the graph."""


def main(home: Path) -> None:
    """Write ``map.png`` and ``lineage.png``."""
    from imdb_pipeline_tests.test_ui import opened

    if load_settings(home).source != "sample":
        sys.exit(f"{home} is not of the sample: its pictures may not be published")
    with tempfile.TemporaryDirectory() as folder, opened_page(Path(folder)) as page:
        page.look(width=1280, height=720)
        page.open(Store(home / "store").released("map_page").file("map.html").as_uri())
        time.sleep(_DRAWN_SECONDS)
        page.screenshot(IMAGES / "map.png", whole=False)
        with opened(home) as ui:
            page.look(width=1500, height=760)
            page.open(f"{ui.address}/assets/map_page?view=lineage&lineageScope=upstream&lineageDepth=6")
            time.sleep(_DRAWN_SECONDS)
            taken = page.send("Page.captureScreenshot", format="png", clip=_GRAPH)
            (IMAGES / "lineage.png").write_bytes(base64.b64decode(taken["data"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
