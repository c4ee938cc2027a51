"""A raw-socket HTTP/1.1 server on loopback that is honest (HEAD, ranges, conditions) until a test scripts a fault.

A fault is a function of an exchange: what was asked, which file it is about, and the honest answer to it. It returns
the answer to send instead. Every connection serves one request.
"""

import contextlib
import dataclasses
import gzip
import hashlib
import re
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path

MODIFIED = "Wed, 04 Mar 2026 12:00:00 GMT"


@dataclass(frozen=True)
class File:
    """A file as it is served; an empty ``etag`` or ``last_modified`` is not sent."""

    body: bytes
    etag: str = '"v1"'
    last_modified: str = MODIFIED
    content_type: str = "application/gzip"


@dataclass(frozen=True)
class Request:
    """What was asked; the names of the headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass(frozen=True)
class Answer:
    """What is sent.

    Attributes
    ----------
    head
        Sent as it is, in place of the status line and the headers.
    stop_after
        Bytes of the body after which the connection ends: with FIN, with RST, or by saying nothing more.
    drip
        Bytes to send at a time, with ``pause_seconds`` before each; of the head too where ``drip_head``.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    head: bytes | None = None
    stop_after: int | None = None
    ending: str = "fin"
    drip: int | None = None
    drip_head: bool = False
    pause_seconds: float = 0.02


@dataclass(frozen=True)
class Exchange:
    request: Request
    file: File
    honest: Answer


Fault = Callable[[Exchange], Answer]


def answer_honestly(request: Request, file: File) -> Answer:
    """What a good server answers: 200, 206, 304 or 416."""
    asked, size = request.headers, len(file.body)
    headers = {"Content-Type": file.content_type, "Accept-Ranges": "bytes"}
    headers |= {"ETag": file.etag} if file.etag else {}
    headers |= {"Last-Modified": file.last_modified} if file.last_modified else {}
    if "if-none-match" in asked:
        if file.etag and _weakly(asked["if-none-match"]) == _weakly(file.etag):
            return Answer(304, headers)
    elif "if-modified-since" in asked and file.last_modified:
        since = parsedate_to_datetime(asked["if-modified-since"])
        if parsedate_to_datetime(file.last_modified) <= since:
            return Answer(304, headers)
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.get("range", ""))
    condition = asked.get("if-range")
    strong = {file.etag} if file.etag and not file.etag.startswith("W/") else set()
    if wanted is None or (condition is not None and condition not in strong | {file.last_modified}):
        return Answer(200, headers | {"Content-Length": str(size)}, file.body)
    begin, end = int(wanted[1]), min(int(wanted[2] or size), size - 1)
    if begin >= size:
        return Answer(416, headers | {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
    body = file.body[begin : end + 1]
    headers |= {"Content-Range": f"bytes {begin}-{end}/{size}", "Content-Length": str(len(body))}
    return Answer(206, headers, body)


def _weakly(etag: str) -> str:
    return etag.removeprefix("W/")


def honest(exchange: Exchange) -> Answer:
    return exchange.honest


def cut(after: int, *, ending: str = "fin") -> Fault:
    """End the connection after so many bytes of the body: ``fin``, ``reset``, or ``stall`` (say nothing more)."""
    return lambda exchange: dataclasses.replace(exchange.honest, stop_after=after, ending=ending)


def drip(count: int = 1, *, pause_seconds: float = 0.02, head: bool = False) -> Fault:
    """Send a few bytes at a time."""
    return lambda exchange: dataclasses.replace(
        exchange.honest, drip=count, drip_head=head, pause_seconds=pause_seconds
    )


def instead(status: int, body: bytes = b"", **headers: str) -> Fault:
    """Answer with another status; ``retry_after="1"`` is the header Retry-After."""
    named = {name.replace("_", "-").title(): value for name, value in headers.items()}
    return lambda exchange: Answer(status, {"Content-Length": str(len(body))} | named, body)


def changed(body: bytes | None = None, status: int | None = None, **headers: str | None) -> Fault:
    """Change the honest answer; a header of None is left out, and Content-Length stays as it was."""

    def fault(exchange: Exchange) -> Answer:
        given = {name.replace("_", "-").title(): value for name, value in headers.items()}
        kept = {name: value for name, value in exchange.honest.headers.items() if name.title() not in given}
        return dataclasses.replace(
            exchange.honest,
            status=exchange.honest.status if status is None else status,
            body=exchange.honest.body if body is None else body,
            headers=kept | {name: value for name, value in given.items() if value is not None},
        )

    return fault


def whole(file: File | None = None) -> Fault:
    """Answer with 200 and the whole file (or another), whatever range or condition was asked for."""
    return lambda exchange: answer_honestly(dataclasses.replace(exchange.request, headers={}), file or exchange.file)


def chunked(after: int | None = None, *, more: bytes = b"") -> Fault:
    """Send the body (and ``more``) in chunks, with no length; cut it after so many of its bytes."""

    def fault(exchange: Exchange) -> Answer:
        body = exchange.honest.body + more
        sent = body if after is None else body[:after]
        pieces = [sent[begin : begin + 50_000] for begin in range(0, len(sent), 50_000)]
        coded = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        headers = {name: value for name, value in exchange.honest.headers.items() if name != "Content-Length"}
        return dataclasses.replace(
            exchange.honest,
            body=coded + (b"0\r\n\r\n" if after is None else b""),
            headers=headers | {"Transfer-Encoding": "chunked"},
        )

    return fault


def compressed(exchange: Exchange) -> Answer:
    """Send the body with Content-Encoding gzip, unasked."""
    body = gzip.compress(exchange.honest.body)
    return changed(body, content_encoding="gzip", content_length=str(len(body)))(exchange)


def raw(head: bytes, *, ending: str = "fin") -> Fault:
    """Send these bytes and nothing else."""
    return lambda _: Answer(head=head, ending=ending)


def redirect(location: str, status: int = 302) -> Fault:
    return instead(status, b"<html>moved</html>", location=location)


@contextlib.contextmanager
def serve(
    files: Path | Mapping[str, File], faults: Mapping[str, Iterable[Fault]] | None = None
) -> Iterator[tuple[str, list[Request]]]:
    """Serve files and give the address, which ends with a slash, and the list that requests are added to.

    Parameters
    ----------
    files
        A folder, with ETags made from the content and Last-Modified from the files' times; or files by name. Either is
        looked at anew for each request, so a test may change it.
    faults
        By the name of a file, what to do with its first GET, its second, and so on; afterwards the server is honest
        (``itertools.repeat(fault)`` never is). ``"HEAD name"`` for its HEADs.
    """
    scripts = {name: iter(script) for name, script in (faults or {}).items()}
    requests: list[Request] = []
    lock, over = threading.Lock(), threading.Event()

    def find(name: str) -> File | None:
        if not isinstance(files, Path):
            return files.get(name)
        path = files / name
        if not path.is_file():
            return None
        body = path.read_bytes()
        modified = formatdate(int(path.stat().st_mtime), usegmt=True)
        return File(body, f'"{hashlib.sha256(body).hexdigest()[:16]}"', modified)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # the client went away
                request = _receive(self.request)
                if request is None:
                    return
                name = request.path.partition("?")[0].removeprefix("/")
                with lock:
                    requests.append(request)
                    script = scripts.get(f"HEAD {name}" if request.method == "HEAD" else name, iter(()))
                    fault = next(script, honest)
                file = find(name)
                if file is None and fault is honest:
                    fault = instead(404, b"<html>no such file</html>")
                file = file or File(b"")
                answer = fault(Exchange(request, file, answer_honestly(request, file)))
                _send(self.request, request, answer, over)

    class Server(socketserver.ThreadingTCPServer):
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Handler) as server:  # leaving it waits for the connections
        thread = threading.Thread(target=server.serve_forever, args=(0.005,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/", requests
        finally:
            over.set()
            server.shutdown()
            thread.join()


def _receive(connection: socket.socket) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65_536)
        if not more or not more.isascii():  # a client that speaks TLS
            return None
        data += more
    first, *lines = data.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Request(method, path, headers)


def _send(connection: socket.socket, request: Request, answer: Answer, over: threading.Event) -> None:
    headers = {"Date": formatdate(usegmt=True), "Connection": "close"} | answer.headers
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1") if answer.head is None else answer.head
    body = b"" if request.method == "HEAD" or answer.status == 304 else answer.body[: answer.stop_after]
    if answer.drip is None:
        connection.sendall(head + body)
    else:
        dripping = head + body if answer.drip_head else body
        if not answer.drip_head:
            connection.sendall(head)
        for begin in range(0, len(dripping), answer.drip):
            if over.wait(answer.pause_seconds):
                return
            connection.sendall(dripping[begin : begin + answer.drip])
    if answer.ending == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    elif answer.ending == "stall":
        connection.settimeout(0.01)
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                if not connection.recv(1):  # the client went away
                    return
