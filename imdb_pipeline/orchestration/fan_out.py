"""Fan-out: the work of a stage cut into shares, each a mapped op that runs where the executor puts it (another process,
GPU or machine), and gathered by the step that publishes. docs/fan-out.md says how it is configured.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from imdb_pipeline.durable import write_atomically
from imdb_pipeline.errors import PipelineError
from imdb_pipeline.orchestration.dead_runs import COMMAND_TAG
from imdb_pipeline.orchestration.requests import GPU_POOL, Request, failures, make_request, taking_gpu
from imdb_pipeline.orchestration.resources import Accelerator, Home
from imdb_pipeline.settings import Settings

if TYPE_CHECKING:
    import polars as pl

    from imdb_pipeline.orchestration.stages import Stage
    from imdb_pipeline.store import Revision, Store

ITEMS_A_SHARE = 5_000
"""Fewer are not worth a process of their own, which loads the model first: seconds on a GPU, minutes on a CPU."""
_RETRIES = dg.RetryPolicy(max_retries=2, delay=5)
_FILES = "step_files"
_RESULT = "result"


@dataclass(frozen=True)
class FanOut:
    """How the work of a stage is cut.

    Attributes
    ----------
    count
        How many items there are to work on; an estimate will do.
    work
        Works on the items of a share that are still to do, and returns a small report for ``Shares.reports``. It runs
        again, from what is done, when it was killed.
    """

    count: Callable[[Settings, "Store", Mapping[str, "Revision"]], int]
    work: Callable[[Request, Mapping[str, "Revision"], "Share"], Mapping[str, Any]]


@dataclass(frozen=True)
class Share:
    """A share of the items: those whose hash falls to it; ``number`` counts from 1."""

    number: int
    of: int

    def holds(self, hashes: "pl.Expr") -> "pl.Expr":
        """Return which hashes (String, hex digits) are of this share: each is of exactly one, on every machine."""
        return hashes.str.slice(0, 8).str.to_integer(base=16) % self.of == self.number - 1


@dataclass(frozen=True)
class Shares:
    """What became of the shares.

    Attributes
    ----------
    expected
        How many were planned; 0 where the stage does all the work itself.
    reports
        Of those that ended, with their ``share``.
    """

    expected: int = 0
    reports: Sequence[Mapping[str, Any]] = ()

    def require_all(self, asset: str) -> None:
        """Refuse where one is missing.

        Raises
        ------
        PipelineError
            One of them has not ended: a re-execution from failure skips mapped steps.
        """
        missing = {*range(1, self.expected + 1)} - {report["share"] for report in self.reports}
        if missing:
            raise PipelineError(
                f"{asset}: share {', '.join(map(str, sorted(missing)))} of {self.expected} did not end, and a "
                f"re-execution from failure does not start it; materialize {asset} again: what is done is kept"
            )


def count_shares(items: int, workers: int) -> int:
    """Return into how many shares so many items are cut; 0 where one worker does them as fast."""
    shares = min(workers, -(-items // ITEMS_A_SHARE))
    return shares if shares > 1 else 0


def limit_pool(instance: dg.DagsterInstance, pool: str, limit: int) -> None:
    """Let so many steps of a pool run at once, in all runs together."""
    storage = instance.event_log_storage
    if storage.supports_global_concurrency_limits:
        limits = {each.name: each.limit for each in storage.get_pool_limits()}
        if limits.get(pool) != limit:
            storage.set_concurrency_slots(pool, limit)


def fanned_out(
    asset: dg.AssetsDefinition, stage: "Stage", fan_out: FanOut, *, gather: Callable[..., Iterator[Any]]
) -> dg.AssetsDefinition:
    """Return the same asset, backed by the ops plan, embed_share (none, or one a share) and gather.

    Parameters
    ----------
    asset
        Of one op; its name, lineage, checks, pool and tags stay.
    gather
        Yields what the asset's own op would, from context, home, accelerator and shares.
    """
    spec, op = asset.get_asset_spec(), asset.op
    sources = {dep.asset_key.to_python_identifier(): dep.asset_key for dep in spec.deps}
    checks = {check.get_python_identifier(): check for check in asset.check_specs}

    @dg.op(
        name="plan",
        description="How many shares the work merits.",
        ins={source: dg.In(dg.Nothing) for source in sources},
        out={"shares": dg.DynamicOut(dict, io_manager_key=_FILES), "expected": dg.Out(int, io_manager_key=_FILES)},
    )
    def plan_op(context: dg.OpExecutionContext, home: Home):
        expected = _count(context, stage, fan_out, home)
        for number in range(1, expected + 1):
            yield dg.DynamicOutput(
                {"number": number, "of": expected}, output_name="shares", mapping_key=f"{number}_of_{expected}"
            )
        yield dg.Output(expected, output_name="expected")

    @dg.op(
        name="embed_share",
        description="Embeds the documents of a share that the cache lacks.",
        out=dg.Out(dict, io_manager_key=_FILES),
        pool=op.pool,
        tags=op.tags,
        retry_policy=_RETRIES,
    )
    def share_op(context: dg.OpExecutionContext, home: Home, accelerator: Accelerator, part: dict) -> dict:
        share = Share(**part)
        with (
            failures(home),
            taking_gpu(make_request(context, home, accelerator, gpu=stage.gpu), gpu=stage.gpu) as request,
            home.store.lock(f"{stage.asset}_share_{share.number}", request.day),
        ):
            return {
                "share": share.number,
                **fan_out.work(request, stage.resolve_inputs(request.store, request.day), share),
            }

    @dg.op(
        name="gather",
        description="Publishes, once every share has ended.",
        out={name: dg.Out(dg.Nothing) for name in (_RESULT, *checks)},
        pool=op.pool,
        tags=op.tags,
    )
    def gather_op(
        context: dg.OpExecutionContext, home: Home, accelerator: Accelerator, expected: int, reports: list[dict]
    ):
        yield from gather(context, home, accelerator, Shares(expected, reports))

    @dg.graph(
        name=spec.key.to_python_identifier(),
        ins={source: dg.GraphIn() for source in sources},
        out={name: dg.GraphOut() for name in (_RESULT, *checks)},
    )
    def graph(**upstream):
        shares, expected = plan_op(**upstream)
        gathered = gather_op(expected=expected, reports=shares.map(share_op).collect())
        return dict(zip((_RESULT, *checks), gathered if checks else (gathered,), strict=True))

    return dg.AssetsDefinition.from_graph(
        graph,
        keys_by_input_name=sources,
        keys_by_output_name={_RESULT: spec.key},
        partitions_def=spec.partitions_def,
        group_name=spec.group_name,
        descriptions_by_output_name={_RESULT: spec.description or ""},
        metadata_by_output_name={_RESULT: spec.metadata},
        tags_by_output_name={_RESULT: spec.tags},
        owners_by_output_name={_RESULT: spec.owners},
        code_versions_by_output_name={_RESULT: spec.code_version},
        check_specs=list(checks.values()),
    )


def _count(context: dg.OpExecutionContext, stage: "Stage", fan_out: FanOut, home: Home) -> int:
    """Return the number of shares: none in a run of one process. Imports no torch."""
    with failures(home):
        settings = home.settings()
        execution = settings.execution
        limit_pool(context.instance, GPU_POOL, execution.workers)
        if execution.executor == "in_process" or COMMAND_TAG in context.run.tags:
            return 0
        inputs = stage.resolve_inputs(home.store, context.partition_key)
        return count_shares(fan_out.count(settings, home.store, inputs), execution.workers)


class StepFiles(dg.IOManager):
    """What the ops of a fan-out hand on, as JSON below the home, which every machine of a cluster sees."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, context: dg.InputContext | dg.OutputContext) -> Path:
        *folders, name = context.get_identifier()
        return self._folder.joinpath(*folders, f"{name}.json")

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        path = self._path(context)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(obj).encode())

    def load_input(self, context: dg.InputContext) -> Any:
        assert context.upstream_output is not None
        return json.loads(self._path(context.upstream_output).read_bytes())


@dg.io_manager(required_resource_keys={"home"}, description="Small values between the ops of a fan-out, in the home.")
def step_files(context: dg.InitResourceContext) -> StepFiles:
    return StepFiles(context.resources.home.folder / "dagster" / "storage")


RESOURCES = {_FILES: step_files}
