"""The run launcher of a deployment: Dagster's own, which run monitoring can ask whether a run is still there.

A run is a process beside the code server, in its container. Dagster's own launcher cannot tell that it is gone, so a
run whose code server was killed would stay open until its longest time is up.
"""

import json
import time
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._config import UserConfigSchema
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import GetCurrentRunsResult
from dagster._serdes import ConfigurableClassData, deserialize_value

UNREACHABLE_SECONDS = 300


class CodeServerRunLauncher(dg.DefaultRunLauncher):
    """Starts runs as processes of the code server, and asks it which it still has.

    Parameters
    ----------
    unreachable_seconds
        A code server that has not answered for so long is gone, and its runs with it.
    """

    def __init__(self, unreachable_seconds: int = UNREACHABLE_SECONDS, inst_data: ConfigurableClassData | None = None):
        super().__init__(inst_data)
        self._unreachable_seconds = unreachable_seconds
        self._silent_since: dict[str, float] = {}

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {"unreachable_seconds": dg.Field(int, is_required=False, default_value=UNREACHABLE_SECONDS)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> "CodeServerRunLauncher":
        return cls(inst_data=inst_data, **config_value)

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Ask the code server that a run was started on; one that was started elsewhere is not for it to judge."""
        where = json.loads(run.tags.get(GRPC_INFO_TAG, "null"))
        if where is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "not started by a code server")
        client = DagsterGrpcClient(
            host=where.get("host"),
            port=where.get("port"),
            socket=where.get("socket"),
            use_ssl=where.get("use_ssl", False),
        )
        try:
            answer = deserialize_value(client.get_current_runs(), GetCurrentRunsResult)
        except DagsterUserCodeUnreachableError:
            since = self._silent_since.setdefault(run.run_id, time.monotonic())
            if time.monotonic() - since < self._unreachable_seconds:
                return CheckRunHealthResult(WorkerStatus.RUNNING, "the code server does not answer")
            del self._silent_since[run.run_id]
            return CheckRunHealthResult(
                WorkerStatus.FAILED, f"the code server has not answered for {self._unreachable_seconds} seconds"
            )
        self._silent_since.pop(run.run_id, None)
        if run.run_id in answer.current_runs:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        self._instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)  # its steps ended with it
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "its process was killed, or its code server was")
