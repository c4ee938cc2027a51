"""What a run says while it goes on."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


class Progress(logging.Handler):
    """Shows the stages' log lines while a run goes on: a line a step, and what a long step says in between.

    In a terminal a bar below them has the step at work and the time since the start.
    """

    def __init__(self, steps: int) -> None:
        super().__init__(logging.INFO)
        self._steps, self._done = steps, 0
        self._logger = logging.getLogger("imdb_pipeline")
        self._bar, self._task = _bar(steps) if sys.stdout.isatty() else (None, None)

    def emit(self, record: logging.LogRecord) -> None:
        step = getattr(record, "step", None)
        if step == "started":
            self._show(at_work=record.getMessage().removesuffix(": started"))
        elif step == "finished":
            self._done += 1
            self._say(f"[{self._done:>2}/{self._steps}] {record.getMessage()}")
            self._show(at_work="")
        elif record.levelno >= logging.INFO and step is None:
            self._say(f"        {record.getMessage()}")

    def _say(self, line: str) -> None:
        if self._bar is None:
            print(line, flush=True)
        else:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _show(self, *, at_work: str) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done, description=at_work)

    def __enter__(self) -> None:
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False
        self._logger.addHandler(self)
        if self._bar is not None:
            self._bar.start()

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._logger.removeHandler(self)
        self._logger.propagate = True


def _bar(steps: int) -> tuple[Bar, TaskID]:
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    at_work = TextColumn("{task.description}")
    bar = Bar(SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), at_work, transient=True)
    return bar, bar.add_task("", total=steps)
