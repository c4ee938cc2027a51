"""Child processes that end with the test that started them, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any


@contextlib.contextmanager
def started(command: Sequence[object], *, group: bool = False, **options: Any) -> Iterator[subprocess.Popen]:
    """Start a command, and kill it in the end where it has not ended; ``group``: with all that it has started.

    A child that is left behind would not only go on: warnings being errors, some later test would fail for it.
    """
    process = subprocess.Popen(list(map(str, command)), start_new_session=group, **options)
    with process:  # closes its pipes and waits
        try:
            yield process
        finally:
            if group:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.kill()
