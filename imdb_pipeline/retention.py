"""Collection: which days, revisions, shards and refused files are no longer kept, and their deletion.

A day is as old as the number of newer days that the home holds, so that a home that was off for months loses nothing by
it. How something is deleted safely belongs to ``store`` and ``pool``.
"""

from __future__ import annotations

import json
import logging
from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from imdb_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from imdb_pipeline.pool import Pool
    from imdb_pipeline.settings import RetentionSettings
    from imdb_pipeline.store import Revision, Store

log = logging.getLogger(__name__)

PERMANENT = frozenset({"prediction_ledger"})
SMALL = frozenset({"movie_documents", "catalogue_changes", "leaderboard", "champion", "release", "rating_split"})
"""What `documents_days` is of."""
RESTORABLE = frozenset({"champion"})
"""What was superseded on its day can serve again: the number of revisions does not end it."""
UNJUDGED = timedelta(days=2)
"""What was made today or yesterday may belong to a run that goes on: two dates apart are at least a day apart."""
CHECKPOINTS_KEPT = timedelta(days=14)


@dataclass
class Collected:
    """What a collection did.

    Attributes
    ----------
    busy
        A run was at work, so nothing was done.
    expired
        (asset, day, revision) of those whose files were deleted and whose manifest was kept.
    removed
        (asset, day, revision) of superseded ones that were deleted whole.
    retired
        Shards with too few live rows, which the next collection but one deletes.
    quarantined
        Folders of refused files that were deleted.
    checkpoints
        Folders of trainings that were begun and never ended, and were deleted.
    damaged
        Shards whose bytes are not what their name says; they were put aside, see ``Pool.set_aside``.
    bytes_freed
        Of files that no other day links.
    """

    busy: bool = False
    expired: list[tuple[str, str, str]] = field(default_factory=list)
    removed: list[tuple[str, str, str]] = field(default_factory=list)
    retired: list[Path] = field(default_factory=list)
    quarantined: list[Path] = field(default_factory=list)
    checkpoints: list[Path] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    bytes_freed: int = 0


def collect(store: Store, retention: RetentionSettings, *, today: date) -> Collected:
    """Delete what the settings do not keep.

    Never touched: what ``CURRENT`` names, the newest day of each asset, what both were made from, and all days of the
    permanent assets. Does nothing while a run holds the lock of a day; one that starts waits.

    Parameters
    ----------
    today
        The date (UTC): what was made on it or the day before is not judged, shards retired before that are deleted.

    Raises
    ------
    PipelineError
        A manifest, ``CURRENT``, or the list of documents of a kept day cannot be read: what is needed is not known.
    """
    collected = Collected()
    with store.at_rest() as at_rest:
        if not at_rest:
            log.info("nothing collected: a run is at work")
            return Collected(busy=True)
        _collect_days(store, retention, today, collected)
        for pool in store.pools():
            _collect_pool(store, pool, today, collected)
        _collect_quarantine(store, retention, today, collected)
        _collect_checkpoints(store, today, collected)
    log.info(
        "collected: %d revisions expired, %d removed, %d shards retired, "
        "%d refused days and %d dead trainings deleted, %.1f MB freed",
        len(collected.expired),
        len(collected.removed),
        len(collected.retired),
        len(collected.quarantined),
        len(collected.checkpoints),
        collected.bytes_freed / 1e6,
    )
    return collected


def _collect_days(store: Store, retention: RetentionSettings, today: date, collected: Collected) -> None:
    days = {asset: store.days(asset) for asset in store.assets()}
    held = sorted(set().union(*days.values()))
    needed = _needed(store, days)
    for asset in sorted(days.keys() - PERMANENT):
        for day, following in zip(days[asset], [*days[asset][1:], None], strict=True):
            revisions = store.revisions(asset, day)
            unneeded = [
                revision
                for revision in revisions
                if (asset, day, revision.id) not in needed and _made(revision) <= today - UNJUDGED
            ]
            for revision in [] if asset in RESTORABLE else revisions[: -retention.revisions]:
                if revision in unneeded:
                    collected.bytes_freed += store.remove(revision)
                    collected.removed.append((asset, day, revision.id))
                    unneeded.remove(revision)
            # Until the following one, this one is what later days read: it is as old as the last of these.
            if following is None or len(held) - bisect_left(held, following) < _days_kept(asset, retention):
                continue
            for revision in unneeded:
                if not revision.expired:
                    collected.bytes_freed += store.expire(revision)
                    collected.expired.append((asset, day, revision.id))


def _days_kept(asset: str, retention: RetentionSettings) -> int:
    if asset.endswith("_dump"):
        return retention.dumps_days
    return retention.documents_days if asset in SMALL else retention.days


def _needed(store: Store, days: dict[str, list[str]]) -> set[tuple[str, str, str]]:
    """Return (asset, day, revision) of the release, of each asset's newest day, and of what these were made from."""
    released = (store.current() or {"assets": {}})["assets"]
    kept = [store.get(asset, held[-1]) for asset, held in days.items()]
    kept += [store.referenced(asset, reference) for asset, reference in released.items()]
    needed = {(revision.asset, revision.day, revision.id) for revision in kept}
    for revision in kept:
        for name, reference in revision.manifest["inputs"].items():
            needed.add((name.removeprefix("previous_"), reference["day"], reference["revision"]))
    return needed


def _made(revision: Revision) -> date:
    return datetime.fromisoformat(revision.manifest["created_at"]).date()


def _collect_pool(store: Store, pool: Pool, today: date, collected: Collected) -> None:
    """Retire the shards of which no row is live, and write those anew of which less than half the rows are."""
    import polars as pl

    collected.bytes_freed += pool.delete_retired(until=today - UNJUDGED)
    collected.damaged += pool.set_damaged_aside()
    lists = _lists(store, pool)
    if lists is None:
        return
    judged = [shard for shard in pool.shards() if _written(shard) <= today - UNJUDGED]
    rows = {shard.stem: pl.read_parquet(shard, columns=["document_hash"]) for shard in judged}
    dead = _unlisted(rows, lists)
    left = {}
    for shard in judged:
        unlisted = dead.filter(shard=shard.stem)
        if not len(unlisted):
            continue
        if 2 * len(unlisted) <= len(rows[shard.stem]):
            left[shard.stem] = len(unlisted)
            continue
        if len(unlisted) < len(rows[shard.stem]):
            pool.add(pl.read_parquet(shard).join(unlisted, on="document_hash", how="anti", maintain_order="left"))
        pool.retire(shard, today)
        collected.retired.append(shard)
    pool.note_dead(left)


def _unlisted(rows: dict[str, pl.DataFrame], lists: list[Path]) -> pl.DataFrame:
    """Return shard and document_hash of the rows that are in none of the lists."""
    import polars as pl

    empty = pl.DataFrame(schema={"document_hash": pl.String, "shard": pl.String})
    dead = pl.concat([empty, *(hashes.with_columns(shard=pl.lit(shard)) for shard, hashes in rows.items())])
    for path in lists:  # the newest first: after a few lists little is left to look for
        if dead.is_empty():
            break
        try:
            listed = pl.read_parquet(path, columns=["document_hash"])
        except (pl.exceptions.PolarsError, OSError) as error:
            reason = " ".join(str(error).split())[:120]
            raise PipelineError(f"{path}: cannot be read ({reason}); materialize it again, then collect") from None
        dead = dead.join(listed, on="document_hash", how="anti")
    return dead


def _lists(store: Store, pool: Pool) -> list[Path] | None:
    """Return the tables whose ``document_hash`` the pool must hold, newest first; None for a pool not known here."""
    documents = _with_files(store, "movie_documents")
    if pool.root.name == "documents":
        tables = {revision.data_hash: revision.file("documents.parquet") for revision in documents}
    elif pool.root.name.startswith("embeddings_"):
        made = [
            revision
            for revision in _with_files(store, "movie_embeddings")
            if json.loads(revision.file("encoder.json").read_bytes())["pool"] == pool.root.name
        ]
        tables = {
            f"{revision.data_hash} {name}": revision.file(name)
            for revision in made
            for name in ("embeddings.parquet", "titles.parquet")
            if name in revision.manifest["files"]  # older versions embedded no titles
        }
        # A day that has documents and no embeddings: a run was killed while it made them, and will go on from there.
        embedded = set(store.days("movie_embeddings"))
        begun = [revision for revision in documents if revision.day not in embedded]
        tables |= {revision.data_hash: revision.file("documents.parquet") for revision in begun}
    else:
        return None
    return list(tables.values())


def _with_files(store: Store, asset: str) -> list[Revision]:
    """Return all revisions that are not expired, the newest day first."""
    revisions = [revision for day in reversed(store.days(asset)) for revision in reversed(store.revisions(asset, day))]
    return [revision for revision in revisions if not revision.expired]


def _written(path: Path) -> date:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).date()


def _collect_quarantine(store: Store, retention: RetentionSettings, today: date, collected: Collected) -> None:
    for folder in sorted((store.root.parent / "quarantine").glob("*/")):
        if _written(folder) <= today - timedelta(days=retention.quarantine_days):
            _discard(store, folder, collected.quarantined, collected)


def _collect_checkpoints(store: Store, today: date, collected: Collected) -> None:
    """Delete what killed trainings left and none has gone on from: it is of a day, and the next one is of another."""
    for folder in sorted((store.root.parent / "checkpoints").glob("*/*/")):
        if max(map(_written, (folder, *folder.rglob("*")))) <= today - CHECKPOINTS_KEPT:
            _discard(store, folder, collected.checkpoints, collected)


def _discard(store: Store, folder: Path, discarded: list[Path], collected: Collected) -> None:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    store.discard(folder)
    discarded.append(folder)
    collected.bytes_freed += size
