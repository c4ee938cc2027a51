"""How a stage becomes an asset: resolve inputs, stage, run, show the checks, publish, report.

``published_asset`` turns a few lines that call a stage into a Dagster asset of the day partitions. The stages' own
logic, and what they mean, belongs to the packages they live in.
"""

import inspect
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import dagster as dg

from imdb_pipeline.errors import GateError
from imdb_pipeline.gates import Gate, Outcome, override, require
from imdb_pipeline.orchestration.executors import gpu_tags, loaded_settings
from imdb_pipeline.orchestration.fan_out import FanOut, Shares, fanned_out
from imdb_pipeline.orchestration.partitions import DAYS
from imdb_pipeline.orchestration.presentation import columns, tags_of, told_of
from imdb_pipeline.orchestration.requests import GPU_POOL, Request, failures, make_request, taking_gpu
from imdb_pipeline.orchestration.resources import Accelerator, Home
from imdb_pipeline.orchestration.stages import ALL_STAGES, STAGES, Made, Stage, Work
from imdb_pipeline.overrides import overrides
from imdb_pipeline.quarantine import set_aside, take_back
from imdb_pipeline.store import Revision

log = logging.getLogger("imdb_pipeline.steps")

REUSE_TAG = "imdb_pipeline/reuse"
"""A run with this tag publishes again what is held under the same key, rather than making it anew."""
SNAPSHOT_TAG = "imdb_pipeline/snapshot"
"""The id of the four files that a run is about."""
OWNERS = ["team:imdb_pipeline"]
SERVED_AT = {"report": "/report", "map_page": "/map", "model_card": "/model-card", "leaderboard": "/leaderboard"}
SERVED_AT |= {"release": "/"}
"""Where the service shows an asset of the current release."""


ASSETS: list[dg.AssetsDefinition] = []
TABLES: dict[str, str] = {}
"""By asset: the Parquet file that it is about, where it is one table."""
OVERRIDABLE: set[str] = set()
"""Gates that judge what may be true all the same: ``ASSET/GATE``."""


def published_asset(
    *,
    group: str,
    kinds: set[str],
    inputs: tuple[str, ...] = (),
    earlier: tuple[str, ...] = (),
    previous: tuple[str, ...] = (),
    optional: tuple[str, ...] = (),
    warm_start: bool = False,
    on_demand: bool = False,
    lineage: tuple[str, ...] | None = None,
    settings: Callable[[Request], dict[str, Any]] = lambda request: {},
    gates: Sequence[Gate[Any]] = (),
    checks: Mapping[str, str] | None = None,
    code_version: str = "1",
    gpu: bool = False,
    fan_out: FanOut | None = None,
    name: str | None = None,
    description: str | None = None,
    table_file: str | None = None,
    freshness: dg.FreshnessPolicy | None = None,
) -> Callable[[Callable[[Work], Made]], dg.AssetsDefinition]:
    """Make an asset of a function that writes its files into ``work.folder``.

    Parameters
    ----------
    inputs
        Assets read at the same day, but those in ``earlier`` at the latest day up to it.
    previous
        Those of them that are read at the previous good day as well, where there is one.
    optional
        Assets that are made on demand: read at the latest day up to it, where there is one.
    on_demand
        Whether only who asks for it gets it: it is no part of a day's graph.
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
    table_file
        The Parquet file whose columns the UI shows.
    freshness
        Within which time it is expected again, for the UI.
    """

    def decorate(build: Callable[[Work], Made]) -> dg.AssetsDefinition:
        asset_name = name or build.__name__
        unknown = {*inputs, *optional} - ALL_STAGES.keys()
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
            optional,
        )
        other_days = {
            "read at an earlier day": ", ".join(earlier),
            "compared with the previous good day's": ", ".join(previous),
            "starts from an earlier good day's": asset_name if warm_start else "",
        }
        ALL_STAGES[asset_name] = stage
        if not on_demand:
            STAGES[asset_name] = stage
        if table_file is not None:
            TABLES[asset_name] = table_file
        OVERRIDABLE.update(f"{asset_name}/{gate.name}" for gate in gates if gate.required and gate.thresholds)

        @dg.asset(
            name=asset_name,
            description=description or inspect.getdoc(build),
            group_name=group,
            kinds=kinds,
            owners=OWNERS,
            tags=tags_of(group=group, gpu=gpu, on_demand=on_demand),
            freshness_policy=freshness,
            deps=[*(inputs if lineage is None else lineage), *optional],
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
                yield from _reuse(stage, held, request, inputs, told=told_of(context.instance, held))
            else:
                inputs |= stage.resolve_start(request.store, request.day, key)
                yield from _make(stage, request, inputs, values, key, run=context.run.run_id, shares=shares)


def _reuse(
    stage: Stage, held: Revision, request: Request, inputs: Mapping[str, Revision], *, told: Mapping[str, Any]
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
    revision = held if held.day == request.day else request.store.adopt(held, request.day, inputs)
    checks = revision.manifest["info"]["checks"]
    yield from _check_results(
        stage, request.day, [Outcome(**outcome) for outcome in checks if outcome["name"] in stage.checks]
    )
    _log_finished(stage, f"the same as on {held.day}")
    yield _result(revision, {**told, "reused": f"the same as on {held.day}, not made again"}, request)


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
            **vars(request),
            asset=stage.asset,
            inputs=inputs,
            values=values,
            key=key,
            folder=folder,
            run=run,
            reasons=reasons,
            shares=shares,
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
        shutil.rmtree(work.checkpoints, ignore_errors=True)
        if snapshot is not None:
            take_back(request.home, day=request.day, snapshot=snapshot, asset=stage.asset)
    _log_finished(stage, f"{made.rows:>10,} rows {revision.manifest['info']['seconds']:>7.1f} s")
    yield _result(revision, made.metadata, request)


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


def _result(revision: Revision, metadata: Mapping[str, Any], request: Request) -> dg.MaterializeResult:
    manifest = revision.manifest
    size = sum(entry["bytes"] for entry in manifest["files"].values())
    inputs = [
        {"input": name, "day": reference["day"], "revision": reference["revision"]}
        for name, reference in manifest["inputs"].items()
    ]
    schema = manifest["schema"].get(TABLES.get(revision.asset))
    page = SERVED_AT.get(revision.asset)
    link = {"served at": dg.MetadataValue.url(request.settings.serve.url.rstrip("/") + page)} if page else {}
    return dg.MaterializeResult(
        asset_key=revision.asset,
        data_version=dg.DataVersion(revision.data_hash),
        metadata={
            "dagster/row_count": manifest["rows"],
            **({"dagster/column_schema": columns(schema)} if schema else {}),
            **metadata,
            "bytes": size,
            "seconds": manifest["info"]["seconds"],
            "accelerator": "{device} ({device_name}), {dtype}, seed {seed}".format_map(manifest["info"]),
            "revision": revision.id,
            "folder": dg.MetadataValue.path(revision.folder),
            **link,
            **({"inputs": table(inputs)} if inputs else {}),
        },
    )


def table(rows: list[dict[str, Any]]) -> dg.TableMetadataValue:
    """Return rows as a table that the UI shows inline, to four decimals; every row has the keys of the first."""

    def shown(value: Any) -> str | int | float | bool | None:
        if isinstance(value, float):
            return round(value, 4)
        return value if isinstance(value, str | int | type(None)) else str(value)

    return dg.MetadataValue.table(
        records=[dg.TableRecord({name: shown(value) for name, value in row.items()}) for row in rows],
        schema=dg.TableSchema([dg.TableColumn(name) for name in rows[0]]) if rows else dg.TableSchema([]),
    )
