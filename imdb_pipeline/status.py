"""What a home holds: days, the current release, sizes, and what is left over or at work."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from imdb_pipeline.dumps.tables import BASICS
from imdb_pipeline.dumps.transport import without_userinfo
from imdb_pipeline.durable import temporaries
from imdb_pipeline.freshness import freshness
from imdb_pipeline.locks import held_partitions, hold
from imdb_pipeline.quarantine import refusals
from imdb_pipeline.settings import load_settings
from imdb_pipeline.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from imdb_pipeline.pool import Pool


def home_status(home: Path) -> dict[str, Any]:
    """Return what a home holds; nothing is changed.

    Returns
    -------
    dict
        home, source, encoder; current (a day or None); good_days (those whose movies are published); archived_days
        (those whose dumps are still there); age_hours (since the source published what is released; None where it is
        not dated); unchanged_since (the first day that had the same files); assets (asset, days, expired_days, latest,
        revision, rows, bytes); pool_bytes; pools (pool, shards, rows, live_rows by the last collection, bytes);
        leftovers (paths of what killed runs left in the staging); quarantine (folder, day, snapshot, asset, reason,
        refused_at); locks (asset, day, pid, since) of the runs at work.
    """
    settings = load_settings(home)
    store = Store(home / "store")
    current = store.current()
    fresh = freshness(store)
    good = store.days("movies")
    pools = [_pool(pool) for pool in store.pools()]
    return {
        "home": str(home),
        "source": without_userinfo(settings.source),
        "encoder": settings.encoder,
        "current": current["day"] if current else None,
        "good_days": good,
        "archived_days": [day for day in store.days(BASICS.asset) if not store.get(BASICS.asset, day).expired],
        "age_hours": round(fresh.age_hours(datetime.now(UTC)), 1) if fresh else None,
        "unchanged_since": fresh.unchanged_since if fresh else None,
        "assets": [_asset(store, name) for name in store.assets()],
        "pool_bytes": sum(pool["bytes"] for pool in pools),
        "pools": pools,
        "leftovers": [str(path) for path in temporaries(store.root / ".staging") if _left(path)],
        "quarantine": refusals(home),
        "locks": held_partitions(store.root / ".locks"),
    }


def _asset(store: Store, name: str) -> dict[str, Any]:
    days = store.days(name)
    latest = store.get(name, days[-1])
    files = [path for path in (store.root / name).rglob("*") if path.is_file()]
    return {
        "asset": name,
        "days": len(days),
        "expired_days": sum(store.get(name, day).expired for day in days),
        "latest": days[-1],
        "revision": latest.id,
        "rows": latest.manifest["rows"],
        "bytes": sum(path.stat().st_size for path in files),
    }


def _pool(pool: Pool) -> dict[str, Any]:
    rows = pool.rows()
    return {
        "pool": pool.root.name,
        "shards": len(pool.shards()),
        "rows": rows,
        "live_rows": rows - pool.dead_rows(),
        "bytes": sum(path.stat().st_size for path in pool.root.glob("*.parquet")),
    }


def _left(path: Path) -> bool:
    """Whether the process that made it is dead."""
    try:
        with hold(path, shared=True, wait=False) as dead:
            return dead
    except FileNotFoundError:
        return False
