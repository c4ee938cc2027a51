"""One release, whole: what was current at one moment, also after another has replaced it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from imdb_pipeline.store import Revision, Store


class Release:
    """The release that is current now.

    Parameters
    ----------
    held
        Keep each table that is read in memory: for who answers more than once, and after its files may have expired.
        Otherwise a table is read where it lies, and only as far as an answer needs it.

    Attributes
    ----------
    store
        Where it lies.
    content
        What ``CURRENT`` held: day, released_at, assets.

    Raises
    ------
    NotPublishedError
        There is none.
    """

    def __init__(self, store: Store, *, held: bool = False) -> None:
        self.store = store
        self.held = held
        self.content: dict[str, Any] = store.require_current()
        self._frames: dict[tuple[str, str], pl.LazyFrame] = {}

    @property
    def day(self) -> str:
        return self.content["day"]

    def has(self, asset: str) -> bool:
        return asset in self.content["assets"]

    def revision(self, asset: str) -> Revision:
        """Return the revision of an asset.

        Raises
        ------
        NotPublishedError
            The release has no such asset.
        """
        return self.store.released(asset, self.content)

    def table(self, asset: str, name: str) -> pl.LazyFrame:
        """Return a Parquet file of an asset, to select from.

        Raises
        ------
        NotPublishedError
            The release has no such asset, it has no such file, or its files expired.
        """
        import polars as pl

        found = self._frames.get((asset, name))
        if found is None:
            path = self.revision(asset).file(name)
            found = pl.read_parquet(path).lazy() if self.held else pl.scan_parquet(path)
            self._frames[asset, name] = found
        return found
