"""What a step is asked for, the GPU that it takes, and how it fails; what it does belongs to ``publishing``."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import dagster as dg

from imdb_pipeline.compute import Compute, on_free_gpu
from imdb_pipeline.dumps.snapshot import Snapshot, find_snapshot
from imdb_pipeline.errors import PipelineError
from imdb_pipeline.orchestration.resources import Accelerator, Home
from imdb_pipeline.settings import Settings
from imdb_pipeline.store import Store

GPU_POOL = "gpu"
GPU_LOCKS = ".gpus"
"""In a home: a file a GPU, held by the step that computes on it."""


@dataclass(frozen=True)
class Request:
    """What a stage is asked for: a day of a home, under its settings, on a device.

    Attributes
    ----------
    found
        Gives the four files that the day means; the source is asked when somebody wants to know.
    """

    home: Path
    settings: Settings
    store: Store
    day: str
    compute: Compute
    found: Callable[[], Snapshot]

    @property
    def day_year(self) -> int:
        return int(self.day[:4])

    @property
    def snapshot(self) -> Snapshot:
        """The four files that the day means."""
        return self.found()


@contextmanager
def failures(home: Home) -> Iterator[None]:
    """Turn what a user can do something about into a failure of one line, which is not tried again."""
    try:
        yield
    except PipelineError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES):
            raise
        text = f"{error.filename or home.folder}: {error.strerror}; check permissions and free space, and run again"
        raise dg.Failure(description=text, allow_retries=False) from error


def make_request(
    context: dg.OpExecutionContext | dg.AssetExecutionContext, home: Home, accelerator: Accelerator, *, gpu: bool
) -> Request:
    """Return what a step is asked for; ``gpu``: it computes on one, where the device is ``cuda`` or there are any."""
    settings = home.settings()
    day, store = context.partition_key, home.store
    found = cache(partial(find_snapshot, settings, store, day=day, today=day))
    return Request(home.folder, settings, store, day, accelerator.choose(settings, gpu=gpu), found)


@contextmanager
def taking_gpu(request: Request, *, gpu: bool) -> Iterator[Request]:
    """Give a request with a GPU that no other step of the home uses, where one is needed and there are any."""
    if not gpu:
        yield request
        return
    with on_free_gpu(request.compute, request.home / GPU_LOCKS) as compute:
        yield replace(request, compute=compute)
