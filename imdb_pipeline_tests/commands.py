"""The command line, run in this process as ``main`` runs it."""

import contextlib
import io
import os
import sys
from dataclasses import dataclass
from unittest import mock

from imdb_pipeline import cli


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str


def run_command(*arguments: object) -> Ran:
    """Return exit status, stdout and stderr of ``imdb-pipeline ARGUMENTS``."""
    out, err, interval = io.StringIO(), io.StringIO(), sys.getswitchinterval()
    with (
        mock.patch.object(sys, "argv", ["imdb-pipeline", *map(str, arguments)]),
        mock.patch.dict(os.environ),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
            status = 0
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        finally:
            sys.setswitchinterval(interval)  # which ``serve`` sets
    return Ran(status, out.getvalue(), err.getvalue())
