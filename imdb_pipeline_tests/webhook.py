"""A webhook on loopback that keeps what it is sent, and can be as slow and as wrong as real ones."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from imdb_pipeline.settings import AlertSettings, Settings

SECRET = "T000-secret"
"""The end of its address, which nobody is to be told."""


class Webhook:
    """A server that answers with the statuses of ``answers`` in turn, and then with 200."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.paths: list[str] = []
        self.bodies: list[dict] = []
        """Of the requests that were answered with 200."""
        self.silent_seconds = 0.0
        self.endless = False
        self.address = ""

    @property
    def settings(self) -> Settings:
        return Settings(source="sample", alerts=AlertSettings(webhook=self.address))

    @property
    def events(self) -> list[str]:
        return [body["event"] for body in self.bodies]


@contextlib.contextmanager
def listening_webhook() -> Iterator[Webhook]:
    """Start one, and stop it in the end."""
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            assert self.headers["content-type"] == "application/json"
            hook.paths.append(self.path)
            time.sleep(hook.silent_seconds)
            status = hook.answers.pop(0) if hook.answers else 200
            if status == 200:
                hook.bodies.append(json.loads(content))
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()
                while hook.endless:
                    self.wfile.write(b"more" * 1000)

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    hook.address = f"http://127.0.0.1:{server.server_port}/services/{SECRET}"
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
