"""How a stage becomes an asset: resolve inputs, stage, run, show the checks, publish, report.

``published_asset`` turns a few lines that call a stage into a Dagster asset of the day partitions. The stages' own
logic, and what they mean, belongs to the packages they live in.
"""

import inspect
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import dagster as dg

from imdb_pipeline.errors import GateError
from imdb_pipeline.gates import Gate, Outcome, override, require
from imdb_pipeline.orchestration.executors import gpu_tags, loaded_settings
from imdb_pipeline.orchestration.fan_out import FanOut, Shares, fanned_out
from imdb_pipeline.orchestration.partitions import DAYS
from imdb_pipeline.orchestration.requests import GPU_POOL, Request, failures, make_request, taking_gpu
from imdb_pipeline.orchestration.resources import Accelerator, Home
from imdb_pipeline.overrides import overrides
from imdb_pipeline.quarantine import set_aside, take_back
from imdb_pipeline.store import Revision, Store, step_key

log = logging.getLogger("imdb_pipeline.steps")

REUSE_TAG = "imdb_pipeline/reuse"
"""A run with this tag publishes again what is held under the same key, rather than making it anew."""
SNAPSHOT_TAG = "imdb_pipeline/snapshot"
"""The id of the four files that a run is about."""
OWNERS = ["team:imdb_pipeline"]


@dataclass(frozen=True)
class Work(Request):
    """A request with what a stage needs to answer it.

    Attributes
    ----------
    inputs
        By asset; what is read at an earlier good day stands under ``previous_ASSET``, where there is such a day.
    values
        The settings that are part of its key.
    folder
        To write the result into.
    run
        The id of the Dagster run.
    reasons
        Recorded overrides of the snapshot, by ``ASSET/GATE``.
    shares
        What became of the shares of its work.
    """

    inputs: Mapping[str, Revision]
    values: Mapping[str, Any]
    folder: Path
    run: str
    reasons: Mapping[str, str]
    shares: Shares

    def file(self, asset: str, name: str) -> Path:
        return self.inputs[asset].file(name)

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

    def resolve_inputs(self, store: Store, day: str) -> dict[str, Revision]:
        """Return the revisions this stage reads: the day's, or the newest at or before it, or the previous good day's.

        Raises
        ------
        NotPublishedError
            One of them is not published.
        """
        found = {name: self._resolve(store, day, name) for name in self.inputs}
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
"""Every stage by its asset's name, inputs before what is made from them."""
ASSETS: list[dg.AssetsDefinition] = []
OVERRIDABLE: set[str] = set()
"""Gates that judge what may be true all the same: ``ASSET/GATE``."""


def published_asset(
    *,
    group: str,
    kinds: set[str],
    inputs: tuple[str, ...] = (),
    earlier: tuple[str, ...] = (),
    previous: tuple[str, ...] = (),
    warm_start: bool = False,
    lineage: tuple[str, ...] | None = None,
    settings: Callable[[Request], dict[str, Any]] = lambda request: {},
    gates: Sequence[Gate[Any]] = (),
    checks: Mapping[str, str] | None = None,
    code_version: str = "1",
    gpu: bool = False,
    fan_out: FanOut | None = None,
    name: str | None = None,
    description: str | None = None,
) -> Callable[[Callable[[Work], Made]], dg.AssetsDefinition]:
    """Make an asset of a function that writes its files into ``work.folder``.

    Parameters
    ----------
    inputs
        Assets read at the same day, but those in ``earlier`` at the latest day up to it.
    previous
        Those of them that are read at the previous good day as well, where there is one.
    warm_start
        Whether it starts from its own result of an earlier day. That is no part of its key: what is held under it is
        as good whatever day came before, so a day with the same inputs takes it over.
    lineage
        The inputs that Dagster is told of, where all others are upstream of these and their changes show in them.
    settings
        The settings that its result depends on; part of the key under which it is held.
    gates
        Those whose outcomes it reports.
    checks
        Name and description of each outcome that it reports beside them.
    fan_out
        How its work is cut into shares where there are several workers.
    """

    def decorate(build: Callable[[Work], Made]) -> dg.AssetsDefinition:
        asset_name = name or build.__name__
        unknown = set(inputs) - STAGES.keys()
        if unknown:
            raise ValueError(f"{asset_name} reads {sorted(unknown)}, which no asset before it makes")
        declared = {gate.name: (gate.description, gate.required) for gate in gates}
        declared |= {check: (text, True) for check, text in (checks or {}).items()}
        stage = Stage(
            asset_name,
            inputs,
            frozenset(earlier),
            previous,
            warm_start,
            code_version,
            settings,
            build,
            tuple(declared),
            gpu,
        )
        other_days = {
            "read at an earlier day": ", ".join(earlier),
            "compared with the previous good day's": ", ".join(previous),
            "starts from an earlier good day's": asset_name if warm_start else "",
        }
        STAGES[asset_name] = stage
        OVERRIDABLE.update(f"{asset_name}/{gate.name}" for gate in gates if gate.required and gate.thresholds)

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
            op_tags=gpu_tags() if gpu else None,
            metadata={name: value for name, value in other_days.items() if value},
            check_specs=[
                dg.AssetCheckSpec(check, asset=asset_name, description=text, blocking=required)
                for check, (text, required) in declared.items()
            ],
        )
        def materialize(context: dg.AssetExecutionContext, home: Home, accelerator: Accelerator):
            yield from _materialize(stage, context, home, accelerator)

        asset = materialize
        if fan_out is not None and loaded_settings().execution.workers > 1:
            asset = fanned_out(materialize, stage, fan_out, gather=partial(_materialize, stage))
        ASSETS.append(asset)
        return asset

    return decorate


def _materialize(
    stage: Stage,
    context: dg.OpExecutionContext | dg.AssetExecutionContext,
    home: Home,
    accelerator: Accelerator,
    shares: Shares = Shares(),  # noqa: B008 (frozen)
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
    with failures(home):
        shares.require_all(stage.asset)
        with (
            taking_gpu(make_request(context, home, accelerator, gpu=stage.gpu), gpu=stage.gpu) as request,
            home.store.lock(stage.asset, request.day),
        ):
            inputs = stage.resolve_inputs(request.store, request.day)
            values = stage.settings(request)
            key = stage.key(values, inputs)
            held = home.store.find(stage.asset, key) if context.run.tags.get(REUSE_TAG) == "yes" else None
            if held is not None:
                yield from _reuse(stage, held, request, inputs)
            else:
                inputs |= stage.resolve_start(request.store, request.day, key)
                yield from _make(stage, request, inputs, values, key, run=context.run.run_id, shares=shares)


def _reuse(
    stage: Stage, held: Revision, request: Request, inputs: Mapping[str, Revision]
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
    revision = held if held.day == request.day else request.store.adopt(held, request.day, inputs)
    checks = revision.manifest["info"]["checks"]
    yield from _check_results(
        stage, request.day, [Outcome(**outcome) for outcome in checks if outcome["name"] in stage.checks]
    )
    _log_finished(stage, f"the same as on {held.day}")
    yield _result(revision, {"reused": True})


def _make(
    stage: Stage,
    request: Request,
    inputs: Mapping[str, Revision],
    values: Mapping[str, Any],
    key: str,
    *,
    run: str,
    shares: Shares,
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
    started = time.monotonic()
    log.info("%s: started", stage.asset, extra={"step": "started"})
    snapshot = _snapshot_id(values, inputs)
    reasons = overrides(request.home, snapshot)
    with request.store.stage(stage.asset) as folder:
        work = Work(
            **vars(request), inputs=inputs, values=values, folder=folder, run=run, reasons=reasons, shares=shares
        )
        made = stage.build(work)
        outcomes = override(made.outcomes, stage.asset, reasons)
        yield from _check_results(stage, request.day, outcomes)
        try:
            require(outcomes)
        except GateError as error:
            if snapshot is None:
                raise
            aside = set_aside(
                request.home,
                day=request.day,
                snapshot=snapshot,
                asset=stage.asset,
                outcomes=outcomes,
                files=made.examined,
            )
            raise GateError(f"{error}; kept aside in {aside}{_way_through(stage, outcomes)}") from None
        revision = request.store.publish(
            folder,
            asset=stage.asset,
            day=request.day,
            key=key,
            code_version=stage.code_version,
            inputs=inputs,
            settings=values,
            rows=made.rows,
            info={
                "seconds": round(time.monotonic() - started, 3),
                "device": request.compute.device,
                "device_name": request.compute.device_name,
                "dtype": request.compute.dtype,
                "seed": request.compute.seed,
                "checks": [vars(outcome) for outcome in outcomes],
                "content": made.content,
                **made.info,
            },
            content=made.content,
        )
        if snapshot is not None:
            take_back(request.home, day=request.day, snapshot=snapshot, asset=stage.asset)
    _log_finished(stage, f"{made.rows:>10,} rows {revision.manifest['info']['seconds']:>7.1f} s")
    yield _result(revision, made.metadata)


def _way_through(stage: Stage, outcomes: list[Outcome]) -> str:
    """Return how to let through what may be true all the same; nothing where it cannot be."""
    refusing = {outcome.cause or f"{stage.asset}/{outcome.name}": None for outcome in outcomes if outcome.refuses}
    if not OVERRIDABLE.issuperset(refusing):
        return ""
    return f"; if it is right all the same: {' '.join(f'--override {gate}' for gate in refusing)} --because TEXT"


def _snapshot_id(values: Mapping[str, Any], inputs: Mapping[str, Revision]) -> str | None:
    """Return the id of the four files that a stage reads: its own, or its inputs'; None further down."""
    if "snapshot" in values:
        return values["snapshot"]
    ids = {revision.manifest["settings"].get("snapshot") for revision in inputs.values()}
    return ids.pop() if len(ids) == 1 else None


def _log_finished(stage: Stage, what: str) -> None:
    log.info("%-22s %s", stage.asset, what, extra={"step": "finished"})


def _check_results(stage: Stage, day: str, outcomes: list[Outcome]) -> Iterator[dg.AssetCheckResult]:
    for outcome in outcomes:
        metadata: dict[str, Any] = {"day": day, "message": outcome.message}
        if outcome.overridden is not None:
            metadata["overridden, because"] = outcome.overridden
        if outcome.sample:
            metadata["sample rows"] = table(outcome.sample)
        yield dg.AssetCheckResult(
            asset_key=stage.asset,
            check_name=outcome.name,
            passed=outcome.passed,
            severity=dg.AssetCheckSeverity.ERROR if outcome.refuses else dg.AssetCheckSeverity.WARN,
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
