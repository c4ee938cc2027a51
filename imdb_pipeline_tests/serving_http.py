"""The service over a home: on a real port, in a thread of this process."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from imdb_pipeline.service.app import create_app
from imdb_pipeline.service.current import CurrentRelease
from imdb_pipeline.service.guard import LOOPBACK, Guard
from imdb_pipeline.service.server import Server, bind
from imdb_pipeline.store import Store, write_atomically

WAIT_SECONDS = 60


@dataclass(frozen=True)
class Served:
    current: CurrentRelease
    client: httpx.Client
    port: int
    server: Server

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the JSON of an answer that must be 200."""
        answer = self.client.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextlib.contextmanager
def served(home: Path, *, watch_seconds: float = 0.05) -> Iterator[Served]:
    """Serve a home; what CURRENT names is looked at every ``watch_seconds``."""
    current = CurrentRelease(Store(home / "store"))
    app = Guard(create_app(current, stale_hours=36, watch_seconds=watch_seconds), hosts=LOOPBACK)
    server = Server(app)
    with bind("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_SECONDS) as client:
                client.get("/healthz")  # which is answered when the release has been read
                yield Served(current, client, port, server)
        finally:
            server.should_exit = True
            thread.join()


def until(what: Callable[[], Any]) -> None:
    """Wait for something that must come."""
    for _ in range(100 * WAIT_SECONDS):
        if what():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come")


def point(store: Store, **revisions: Any) -> None:
    """Have CURRENT name these revisions beside what it names already."""
    content = store.require_current()
    content["assets"] |= {asset: revision.reference() for asset, revision in revisions.items()}
    content["released_at"] = f"{content['released_at']}."
    write_atomically(store.root / "CURRENT", json.dumps(content).encode())
