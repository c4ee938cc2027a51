"""What a stage of the graph is: what it reads, under which key its result is held, what it makes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imdb_pipeline.gates import Outcome
from imdb_pipeline.orchestration.fan_out import Shares
from imdb_pipeline.orchestration.requests import Request
from imdb_pipeline.store import Revision, Store, step_key

if TYPE_CHECKING:
    from imdb_pipeline.models.finished import Finished


@dataclass(frozen=True)
class Work(Request):
    """A request with what a stage needs to answer it.

    Attributes
    ----------
    asset
        What is made.
    inputs
        By asset; what is read at an earlier good day stands under ``previous_ASSET``, where there is such a day.
    values
        The settings that are part of its key.
    key
        Under which its result is held: a hash of code version, inputs and settings.
    folder
        To write the result into.
    run
        The id of the Dagster run.
    reasons
        Recorded overrides of the snapshot, by ``ASSET/GATE``.
    shares
        What became of the shares of its work.
    """

    asset: str
    inputs: Mapping[str, Revision]
    values: Mapping[str, Any]
    key: str
    folder: Path
    run: str
    reasons: Mapping[str, str]
    shares: Shares

    def file(self, asset: str, name: str) -> Path:
        return self.inputs[asset].file(name)

    @property
    def checkpoints(self) -> Path:
        """A folder that outlives a kill, and is deleted once the asset is published."""
        return self.home / "checkpoints" / self.asset / self.day

    def finished(self) -> "Finished":
        """Return what a run that was killed had finished of it."""
        from imdb_pipeline.models.finished import Finished

        return Finished(self.checkpoints, f"{self.key} {self.compute.device}")

    def previous(self, asset: str) -> Revision | None:
        return self.inputs.get(f"previous_{asset}")


@dataclass(frozen=True)
class Made:
    """What a stage made.

    Attributes
    ----------
    outcomes
        Of its checks; a failed required one keeps it from being published.
    metadata
        For the UI, beside rows, bytes and seconds.
    info
        For the manifest: how it was made, not what it is.
    content
        Identifies data that the files only refer to.
    examined
        The files that the gates looked at: kept aside with the reason when they are refused.
    """

    rows: int
    outcomes: list[Outcome] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    content: str | None = None
    examined: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Stage:
    """What planning and publishing know of an asset."""

    asset: str
    inputs: tuple[str, ...]
    earlier: frozenset[str]
    previous: tuple[str, ...]
    warm_start: bool
    code_version: str
    settings: Callable[[Request], dict[str, Any]]
    build: Callable[[Work], Made]
    checks: tuple[str, ...]
    gpu: bool
    optional: tuple[str, ...] = ()

    def resolve_inputs(self, store: Store, day: str) -> dict[str, Revision]:
        """Return the revisions this stage reads: the day's, or the newest at or before it, or the previous good day's;
        of an optional input the newest at or before it, where there is one.

        Raises
        ------
        NotPublishedError
            One of them is not published.
        """
        found = {name: self._resolve(store, day, name) for name in self.inputs}
        for name in self.optional:
            revision = store.at_or_before(name, day)
            if revision is not None and not revision.expired:
                found[name] = revision
        return found | {f"previous_{name}": revision for name, revision in self._resolve_previous(store, day).items()}

    def key(self, settings: Mapping[str, Any], inputs: Mapping[str, Revision]) -> str:
        """Return the key of its result: from what ``settings`` gave for the request, and the inputs."""
        hashes = {name: revision.data_hash for name, revision in inputs.items()}
        return step_key(self.asset, self.code_version, hashes, settings)

    def resolve_start(self, store: Store, day: str, key: str) -> dict[str, Revision]:
        """Return its own result of the latest day before the first that has this key, with its files; else none.

        Made again, a day that was the same as the one before so starts from where that one did.
        """
        if not self.warm_start:
            return {}
        held = [store.latest(self.asset, earlier) for earlier in store.days(self.asset) if earlier < day]
        for revision in reversed([*takewhile(lambda each: each.key != key, filter(None, held))]):
            if not revision.expired:
                return {f"previous_{self.asset}": revision}
        return {}

    def _resolve_previous(self, store: Store, day: str) -> dict[str, Revision]:
        """Return the revisions of the latest day before that holds all of ``previous``, with their files; else none."""
        for earlier in reversed(store.days(self.previous[0]) if self.previous else []):
            if earlier < day:
                found = {name: store.latest(name, earlier) for name in self.previous}
                held = {name: revision for name, revision in found.items() if revision and not revision.expired}
                if len(held) == len(found):
                    return held
        return {}

    def _resolve(self, store: Store, day: str, name: str) -> Revision:
        revision = store.at_or_before(name, day) if name in self.earlier else None
        return revision or store.get(name, day)


STAGES: dict[str, Stage] = {}
"""Every stage of a day's graph by its asset's name, inputs before what is made from them."""
ALL_STAGES: dict[str, Stage] = {}
"""The same with those that are made on demand alone."""
