"""What a run says while it goes on."""

from __future__ import annotations

import logging


class Progress(logging.Handler):
    """Shows the stages' log lines while a run goes on: a line a step, and what a long step says in between."""

    def __init__(self, steps: int) -> None:
        super().__init__(logging.INFO)
        self._steps, self._done = steps, 0
        self._logger = logging.getLogger("imdb_pipeline")

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "step", None) == "finished":
            self._done += 1
            print(f"[{self._done:>2}/{self._steps}] {record.getMessage()}", flush=True)
        elif record.levelno >= logging.INFO and not hasattr(record, "step"):
            print(f"        {record.getMessage()}", flush=True)

    def __enter__(self) -> None:
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False
        self._logger.addHandler(self)

    def __exit__(self, *exception: object) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = True
