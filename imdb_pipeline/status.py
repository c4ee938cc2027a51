"""What a home holds: days, the current release, sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imdb_pipeline.settings import load_settings
from imdb_pipeline.store import Store

if TYPE_CHECKING:
    from pathlib import Path


def home_status(home: Path) -> dict[str, Any]:
    """Return home, source, encoder, current (a day or None), assets (one row each), pool_bytes."""
    settings = load_settings(home)
    store = Store(home / "store")
    current = store.current()
    return {
        "home": str(home),
        "source": settings.source,
        "encoder": settings.encoder,
        "current": current["day"] if current else None,
        "assets": [_asset(store, name) for name in store.assets()],
        "pool_bytes": sum(path.stat().st_size for path in (store.root / "pool").rglob("*.parquet")),
    }


def _asset(store: Store, name: str) -> dict[str, Any]:
    days = store.days(name)
    latest = store.get(name, days[-1])
    files = [path for path in (store.root / name).rglob("*") if path.is_file()]
    return {
        "asset": name,
        "days": len(days),
        "latest": days[-1],
        "revision": latest.id,
        "rows": latest.manifest["rows"],
        "bytes": sum(path.stat().st_size for path in files),
    }
