"""Processes of a run whose parent was killed: they end with it, rather than go on writing in a run that has ended."""

import multiprocessing
import os
import signal
import threading


def end_with_parent() -> None:
    """Let this process be killed when the one that started it has died.

    Dagster starts a run as a child process of the code server, and each step as one of the run. Any other process, that
    of a command or of a server, is left alone.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def follow() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=follow, name="end with parent", daemon=True).start()
