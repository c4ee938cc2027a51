"""Revisions with files written by hand, for what reads published assets without a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from imdb_pipeline.store import Revision, Store
from imdb_pipeline_tests.conftest import DAY


def publish_by_hand(
    home: Path, asset: str, files: Mapping[str, object], *, rows: int = 1, info: Mapping[str, Any] | None = None
) -> Revision:
    """Publish frames as Parquet and all else as JSON, by the names of their files."""
    store = Store(home / "store")
    with store.stage(asset) as folder:
        for name, content in files.items():
            path = Path(folder / name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, pl.DataFrame):
                content.write_parquet(path)
            else:
                path.write_text(json.dumps(content))
        return store.publish(
            folder,
            asset=asset,
            day=DAY,
            key="k",
            code_version="1",
            inputs={},
            settings={},
            rows=rows,
            info={"seconds": 1.5, "device_name": "CPU", "seed": 7, **(info or {})},
        )
