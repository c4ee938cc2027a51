"""The ``imdb-pipeline`` command. Every command says what it did and where it is; bad input costs one line."""

from __future__ import annotations

import errno
import logging
import os

from imdb_pipeline.cli import answers, machine, runs, service
from imdb_pipeline.cli.app import app, fail
from imdb_pipeline.errors import PipelineError

__all__ = ["answers", "app", "machine", "main", "runs", "service"]

_NOT_OURS = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
"""What the file system refuses; other errors are bugs and keep their traceback."""


def main() -> None:
    """Run the command; what a user can mend is one line on stderr and exit status 1."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        app()
    except PipelineError as error:
        fail(str(error))
    except BrokenPipeError:
        os._exit(0)
    except OSError as error:
        if error.errno not in _NOT_OURS:
            raise
        fail(f"{error.filename or 'the home'}: {error.strerror}; check the path, its permissions and the free space")
    except Exception as error:
        if not type(error).__module__.startswith("sqlalchemy"):
            raise
        reason = str(error).splitlines()[0]
        fail(f"Dagster's database in the home cannot be used ({reason}); check permissions and free space")
