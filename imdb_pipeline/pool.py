"""Pools: rows that never change, each under the hash of what made it, kept once for all days."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager, suppress
from datetime import date
from typing import TYPE_CHECKING, Any

from imdb_pipeline.durable import reached, sha256, sync, temporary, write_atomically
from imdb_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import polars as pl

log = logging.getLogger(__name__)

_RETIRED = ".retired"
_DEAD = "dead.json"


class Pool:
    """Tables of rows that never change.

    A shard is a Parquet file named by the sha256 of its bytes; it appears whole or not at all. A row may be in two
    shards. A shard is retired, by a small file beside it with the day, before it is deleted: readers that listed it
    earlier may still be scanning it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def shards(self) -> list[Path]:
        """Return the shards that are not retired, in the order of their names."""
        # The retired ones first: one that is rewritten in this moment is then seen in its old form or in both.
        retired = {path.stem for path in self.root.glob(f"*{_RETIRED}")}
        return sorted(path for path in self.root.glob("*.parquet") if path.stem not in retired)

    def add(self, frame: pl.DataFrame) -> Path:
        """Write a frame as a shard and return its path."""
        self.root.mkdir(parents=True, exist_ok=True)
        with temporary(self.root, "shard") as staged:
            frame.write_parquet(staged, compression="zstd")
            final = self.root / f"{sha256(staged)}.parquet"
            reached("pool: shard written")
            sync(staged)
            staged.rename(final)
            reached("pool: shard renamed")
        sync(self.root)
        final.with_suffix(_RETIRED).unlink(missing_ok=True)
        return final

    def read(self, schema: Mapping[str, Any]) -> pl.DataFrame:
        """Return columns of all shards.

        Parameters
        ----------
        schema
            Names of the columns, with the dtypes that they have where the pool is empty.

        Raises
        ------
        PipelineError
            A shard is not readable as Parquet, or lacks a column.
        """
        import polars as pl

        shards = self.shards()
        if not shards:
            return pl.DataFrame(schema=schema)
        try:
            return pl.scan_parquet(shards).select(schema.keys()).collect()
        except pl.exceptions.PolarsError:
            for shard in shards:
                with _naming(shard):
                    pl.read_parquet(shard, columns=list(schema))
            raise

    def read_matching(self, schema: Mapping[str, Any], wanted: pl.DataFrame) -> pl.DataFrame:
        """Return columns of the rows that match ``wanted`` in its columns, which are among them; else as ``read``."""
        import polars as pl

        shards = self.shards()
        if not shards:
            return pl.DataFrame(schema=schema)
        scanned = pl.scan_parquet(shards).select(schema.keys())
        try:
            return scanned.join(wanted.lazy(), on=wanted.columns, how="semi").collect(engine="streaming")
        except pl.exceptions.PolarsError:
            self.read(schema)  # which names the damaged one
            raise

    def rows(self) -> int:
        """Return the rows of all shards, by their footers.

        Raises
        ------
        PipelineError
            A shard is not readable as Parquet.
        """
        import polars as pl

        rows = 0
        for shard in self.shards():
            with _naming(shard):
                rows += int(pl.scan_parquet(shard).select(pl.len()).collect().item())
        return rows

    def verify(self) -> list[Path]:
        """Read every shard and return those whose bytes are not what their name says."""
        return [shard for shard in self.shards() if not self._whole(shard)]

    def _whole(self, shard: Path) -> bool:
        try:
            return sha256(shard) == shard.stem
        except FileNotFoundError:
            return True  # another process has put it aside, or deleted it

    def set_aside(self, shard: Path) -> Path:
        """Move a damaged shard out of the pool, to a folder beside it, and return its path there.

        The steps that fill the pool make its rows again.
        """
        folder = self.root.parent / f"{self.root.name}.damaged"
        folder.mkdir(exist_ok=True)
        aside = folder / shard.name
        with suppress(FileNotFoundError):  # another process was quicker
            shard.rename(aside)
        sync(folder)
        sync(self.root)
        return aside

    def set_damaged_aside(self) -> list[Path]:
        """Verify every shard, put the damaged ones aside, and return where they were."""
        damaged = self.verify()
        for shard in damaged:
            aside = self.set_aside(shard)
            log.warning(
                "%s: its bytes are not what its name says; kept in %s, its rows are to be made again", shard, aside
            )
        return damaged

    def retire(self, shard: Path, day: date) -> None:
        """Take a shard out of what is read; ``delete_retired`` deletes it later."""
        write_atomically(shard.with_suffix(_RETIRED), day.isoformat().encode("ascii"))

    def delete_retired(self, until: date) -> int:
        """Delete the shards that were retired on that day or earlier, and return their bytes."""
        freed = 0
        for marker in self.root.glob(f"*{_RETIRED}"):
            try:
                retired = date.fromisoformat(marker.read_bytes().decode())
            except ValueError:
                marker.unlink()  # damaged: the shard is read again, and judged anew
                continue
            if retired > until:
                continue
            shard = marker.with_suffix(".parquet")
            if shard.exists():
                freed += shard.stat().st_size
                shard.unlink()
            reached("pool: retired shard deleted")
            marker.unlink()
        return freed

    def note_dead(self, rows: Mapping[str, int]) -> None:
        """Write down how many rows of each shard (by its name's stem) nothing needs any more."""
        write_atomically(self.root / _DEAD, json.dumps(dict(rows)).encode())

    def dead_rows(self) -> int:
        """Return how many rows of the shards nothing needs, as last noted."""
        try:
            noted = json.loads((self.root / _DEAD).read_bytes())
        except (FileNotFoundError, ValueError):
            return 0
        return sum(noted.get(shard.stem, 0) for shard in self.shards())


@contextmanager
def _naming(shard: Path) -> Iterator[None]:
    """Turn what Polars says of a damaged shard into an error that names it."""
    import polars as pl

    try:
        yield
    except pl.exceptions.PolarsError as error:
        reason = " ".join(str(error).split())[:120]
        raise PipelineError(
            f"{shard}: a damaged shard ({reason}); move it out of its folder, then materialize movie_documents and "
            "movie_embeddings again: they make what is missing"
        ) from None
