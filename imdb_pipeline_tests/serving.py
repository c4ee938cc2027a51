"""A real HTTP server on loopback that serves a folder of dumps with ETag and Last-Modified."""

import contextlib
import os
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from imdb_pipeline.store import sha256


class _Handler(SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.is_file():
            self.send_header("ETag", f'"{sha256(path)[:16]}"')
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        self.server.requests.append((self.command, self.path))  # pyright: ignore[reportAttributeAccessIssue]


@contextlib.contextmanager
def serve_folder(folder: Path, *, handler: type[SimpleHTTPRequestHandler] = _Handler) -> Iterator[tuple[str, list]]:
    """Serve a folder; give its address and the list that the requests are written to."""
    requests: list[tuple[str, str]] = []

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    def bound(*arguments):
        return handler(*arguments, directory=str(folder))

    server = Server(("127.0.0.1", 0), bound)
    server.requests = requests  # pyright: ignore[reportAttributeAccessIssue]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def date_files(folder: Path, when) -> None:
    """Set the time from which the server makes Last-Modified."""
    for path in folder.iterdir():
        os.utime(path, (when.timestamp(), when.timestamp()))
