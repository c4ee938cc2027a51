"""What `imdb-pipeline ui` becomes: a small program that runs a command, and leaves none of its processes behind.

Run as a file, without the package: it stays for months, and is not to keep what settling a home loads (torch, a CUDA
context).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

COMMAND_SECONDS = 30.0
"""For the command to end what it started, once it is told."""
LEFT_SECONDS = 15.0
"""For what it left, a run at work among it, once that is told; then it is killed."""
_KILLED_SECONDS = 5.0
_LOOK_SECONDS = 0.1
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_GUARD = "--guard"


def run_in_group(command: Sequence[str]) -> bool:
    """Run a command in a process group of its own until it ends or this process is told to; leave nothing of the group.

    A guard, one more process, ends the group: also where this process is killed. SIGINT while it does kills at once.

    Parameters
    ----------
    command
        The words of the command. It reads nothing, and has no terminal: Ctrl+C reaches this process alone.

    Returns
    -------
    bool
        Whether SIGTERM, SIGINT or SIGHUP ended it, rather than the command itself. One that this process was started to
        ignore (by nohup, in the background of a script) is ignored.
    """
    before: dict[int, Any] = {number: signal.getsignal(number) for number in _SIGNALS}
    told: list[int] = []

    def tell(number: int, _: FrameType | None) -> None:
        if before[number] is not signal.SIG_IGN:
            told.append(number)

    # Also for what is ignored: the command would inherit that, and Dagster does on SIGTERM what it does on SIGINT.
    for number in _SIGNALS:
        signal.signal(number, tell)
    try:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as process:
            try:
                guard = subprocess.Popen(
                    [sys.executable, "-I", __file__, _GUARD, str(process.pid)],
                    stdin=subprocess.PIPE,
                    start_new_session=True,
                    close_fds=False,  # a lock that this process holds is held until the group has ended
                )
            except BaseException:
                _send(process.pid, signal.SIGKILL)
                raise
            with guard:
                while not told and process.poll() is None and guard.poll() is None:
                    time.sleep(_LOOK_SECONDS)
                asked = bool(told)
                told.clear()
                if guard.stdin:
                    guard.stdin.close()
                while guard.poll() is None:
                    process.poll()  # which buries it
                    if signal.SIGINT in told:
                        _send(process.pid, signal.SIGKILL)
                    time.sleep(_LOOK_SECONDS)
            if guard.returncode:  # it was killed itself
                _send(process.pid, signal.SIGKILL)
        return asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _send(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS refuses where all of a group are dead
        os.killpg(group, number)


def _is_left(group: int, *, command_alone: bool = False) -> bool:
    """Whether a process of the group lives. Where that can be seen, the dead that nobody has waited for do not count:
    process 1 of a container may never do it.
    """
    try:
        (os.kill if command_alone else os.killpg)(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    processes = Path("/proc")
    for stat in processes.glob("[0-9]*/stat"):
        with suppress(OSError):
            # As bytes: the kernel cuts names where it likes.
            state, _, its_group, *_ = stat.read_bytes().rpartition(b")")[2].split()
            counts = stat.parent.name == str(group) or not command_alone
            if counts and state not in b"ZX" and int(its_group) == group:
                return True
    return not (processes / "self/stat").exists()


def _guard(group: int) -> bool:
    """End a group once the process that started this one has closed its pipe or was killed; return whether it ended."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    # The command alone first: `dagster dev` starts a code server again that ends before it does.
    with suppress(ProcessLookupError):
        os.kill(group, signal.SIGTERM)
    _wait(group, COMMAND_SECONDS, command_alone=True)
    _send(group, signal.SIGTERM)
    _wait(group, LEFT_SECONDS)
    _send(group, signal.SIGKILL)
    return _wait(group, _KILLED_SECONDS)


def _wait(group: int, seconds: float, *, command_alone: bool = False) -> bool:
    """Return whether it is gone in time."""
    until = time.monotonic() + seconds
    while _is_left(group, command_alone=command_alone):
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


if __name__ == "__main__":
    match sys.argv[1:]:
        case [word, number] if word == _GUARD:
            sys.exit(0 if _guard(int(number)) else 1)
        case words:
            if not run_in_group(words):
                sys.exit("imdb-pipeline: the UI ended by itself; the lines above say why")
