"""How a stage becomes an asset: resolve inputs, stage, run, show the checks, publish, report.

``published_asset`` turns a few lines that call a stage into a Dagster asset of the day partitions. The stages' own
logic, and what they mean, belongs to the packages they live in.
"""

import errno
import inspect
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from imdb_pipeline.compute import Compute
from imdb_pipeline.errors import PipelineError
from imdb_pipeline.gates import Outcome, require
from imdb_pipeline.orchestration.partitions import DAYS
from imdb_pipeline.orchestration.resources import Accelerator, Home
from imdb_pipeline.settings import Settings
from imdb_pipeline.store import Revision, Store, step_key

log = logging.getLogger("imdb_pipeline.steps")

REUSE_TAG = "imdb_pipeline/reuse"
"""A run with this tag publishes again what is held under the same key, rather than making it anew."""
GPU_POOL = "gpu"
OWNERS = ["team:imdb_pipeline"]


@dataclass(frozen=True)
class Request:
    """What a stage is asked for: a day of a home, under its settings, on a device."""

    home: Path
    settings: Settings
    store: Store
    day: str
    compute: Compute

    @property
    def day_year(self) -> int:
        return int(self.day[:4])


@dataclass(frozen=True)
class Work(Request):
    """A request with its inputs, the settings that are part of its key, and the folder to write the result into."""

    inputs: Mapping[str, Revision]
    values: Mapping[str, Any]
    folder: Path

    def file(self, asset: str, name: str) -> Path:
        return self.inputs[asset].file(name)


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
    """

    rows: int
    outcomes: list[Outcome] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    content: str | None = None


@dataclass(frozen=True)
class Stage:
    """What planning and publishing know of an asset."""

    asset: str
    inputs: tuple[str, ...]
    earlier: frozenset[str]
    code_version: str
    settings: Callable[[Request], dict[str, Any]]
    build: Callable[[Work], Made]
    checks: tuple[str, ...]

    def resolve_inputs(self, request: Request) -> dict[str, Revision]:
        """Return the revisions this stage reads: the day's, or the newest at or before it.

        Raises
        ------
        NotPublishedError
            One of them is not published.
        """
        return {name: self._resolve(request, name) for name in self.inputs}

    def key(self, settings: Mapping[str, Any], inputs: Mapping[str, Revision]) -> str:
        """Return the key of its result: from what ``settings`` gave for the request, and the inputs."""
        hashes = {name: revision.data_hash for name, revision in inputs.items()}
        return step_key(self.asset, self.code_version, hashes, settings)

    def _resolve(self, request: Request, name: str) -> Revision:
        revision = request.store.at_or_before(name, request.day) if name in self.earlier else None
        return revision or request.store.get(name, request.day)


STAGES: dict[str, Stage] = {}
"""Every stage by its asset's name, inputs before what is made from them."""
ASSETS: list[dg.AssetsDefinition] = []


def published_asset(
    *,
    group: str,
    kinds: set[str],
    inputs: tuple[str, ...] = (),
    earlier: tuple[str, ...] = (),
    lineage: tuple[str, ...] | None = None,
    settings: Callable[[Request], dict[str, Any]] = lambda request: {},
    checks: Mapping[str, str] | None = None,
    code_version: str = "1",
    gpu: bool = False,
    name: str | None = None,
    description: str | None = None,
) -> Callable[[Callable[[Work], Made]], dg.AssetsDefinition]:
    """Make an asset of a function that writes its files into ``work.folder``.

    Parameters
    ----------
    inputs
        Assets read at the same day, but those in ``earlier`` at the latest day up to it.
    lineage
        The inputs that Dagster is told of, where all others are upstream of these and their changes show in them.
    settings
        The settings that its result depends on; part of the key under which it is held.
    checks
        Name and description of each outcome it reports.
    """

    def decorate(build: Callable[[Work], Made]) -> dg.AssetsDefinition:
        asset_name = name or build.__name__
        unknown = set(inputs) - STAGES.keys()
        if unknown:
            raise ValueError(f"{asset_name} reads {sorted(unknown)}, which no asset before it makes")
        declared = checks or {}
        stage = Stage(asset_name, inputs, frozenset(earlier), code_version, settings, build, tuple(declared))
        STAGES[asset_name] = stage

        @dg.asset(
            name=asset_name,
            description=description or inspect.getdoc(build),
            group_name=group,
            kinds=kinds,
            owners=OWNERS,
            deps=list(inputs if lineage is None else lineage),
            partitions_def=DAYS,
            code_version=code_version,
            pool=GPU_POOL if gpu else None,
            metadata={"read at an earlier day": ", ".join(earlier)} if earlier else None,
            check_specs=[
                dg.AssetCheckSpec(check, asset=asset_name, description=text, blocking=True)
                for check, text in declared.items()
            ],
        )
        def materialize(context: dg.AssetExecutionContext, home: Home, accelerator: Accelerator):
            yield from _materialize(context, stage, home, accelerator)

        ASSETS.append(materialize)
        return materialize

    return decorate


def _materialize(
    context: dg.AssetExecutionContext, stage: Stage, home: Home, accelerator: Accelerator
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
    try:
        settings = home.settings()
        request = Request(home.folder, settings, home.store, context.partition_key, accelerator.choose(settings))
        inputs = stage.resolve_inputs(request)
        values = stage.settings(request)
        key = stage.key(values, inputs)
        held = home.store.find(stage.asset, key) if context.run.tags.get(REUSE_TAG) == "yes" else None
        if held is not None:
            revision = held if held.day == request.day else home.store.adopt(held, request.day, inputs)
            checks = revision.manifest["info"]["checks"]
            outcomes = [Outcome(**outcome) for outcome in checks if outcome["name"] in stage.checks]
            yield from _check_results(stage, outcomes)
            _log_finished(stage, f"the same as on {held.day}")
            yield _result(revision, {"reused": True})
            return
        started = time.monotonic()
        log.info("%s: started", stage.asset, extra={"step": "started"})
        with home.store.stage(stage.asset) as folder:
            work = Work(request.home, settings, home.store, request.day, request.compute, inputs, values, folder)
            made = stage.build(work)
            yield from _check_results(stage, made.outcomes)
            require(made.outcomes)
            seconds = round(time.monotonic() - started, 3)
            revision = home.store.publish(
                folder,
                asset=stage.asset,
                day=request.day,
                key=key,
                code_version=stage.code_version,
                inputs=inputs,
                settings=values,
                rows=made.rows,
                info={
                    "seconds": seconds,
                    "device": request.compute.device,
                    "device_name": request.compute.device_name,
                    "dtype": request.compute.dtype,
                    "seed": request.compute.seed,
                    "checks": [vars(outcome) for outcome in made.outcomes],
                    "content": made.content,
                    **made.info,
                },
                content=made.content,
            )
        _log_finished(stage, f"{made.rows:>10,} rows {seconds:>7.1f} s")
        yield _result(revision, made.metadata)
    except PipelineError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        text = f"{error.filename or home.folder}: {error.strerror}; check permissions and free space, and run again"
        raise dg.Failure(description=text, allow_retries=False) from error


def _log_finished(stage: Stage, what: str) -> None:
    log.info("%-22s %s", stage.asset, what, extra={"step": "finished"})


def _check_results(stage: Stage, outcomes: list[Outcome]) -> Iterator[dg.AssetCheckResult]:
    for outcome in outcomes:
        metadata: dict[str, Any] = {"message": outcome.message}
        if outcome.sample:
            metadata["sample rows"] = table(outcome.sample)
        yield dg.AssetCheckResult(
            asset_key=stage.asset,
            check_name=outcome.name,
            passed=outcome.passed,
            severity=dg.AssetCheckSeverity.ERROR if outcome.required else dg.AssetCheckSeverity.WARN,
            description=outcome.message,
            metadata=metadata,
        )


def _result(revision: Revision, metadata: dict[str, Any]) -> dg.MaterializeResult:
    manifest = revision.manifest
    size = sum(entry["bytes"] for entry in manifest["files"].values())
    inputs = [
        {"input": name, "day": reference["day"], "revision": reference["revision"]}
        for name, reference in manifest["inputs"].items()
    ]
    return dg.MaterializeResult(
        asset_key=revision.asset,
        data_version=dg.DataVersion(revision.data_hash),
        metadata={
            "dagster/row_count": manifest["rows"],
            **metadata,
            "bytes": size,
            "seconds": manifest["info"]["seconds"],
            "accelerator": "{device} ({device_name}), {dtype}, seed {seed}".format_map(manifest["info"]),
            "revision": revision.id,
            "folder": dg.MetadataValue.path(revision.folder),
            **({"inputs": table(inputs)} if inputs else {}),
        },
    )


def table(rows: list[dict[str, Any]]) -> dg.TableMetadataValue:
    """Return rows as a table that the UI shows inline; every row has the keys of the first."""
    plain = (str, int, float, bool, type(None))
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord({name: value if isinstance(value, plain) else str(value) for name, value in row.items()})
            for row in rows
        ],
        schema=dg.TableSchema([dg.TableColumn(name) for name in rows[0]]) if rows else dg.TableSchema([]),
    )
