"""Headless Chromium for tests: a page after its scripts ran, or one to click, type and look at, its network watched.

It is driven over a pipe (Chrome DevTools Protocol), so nothing listens and nothing else is installed; no host but
loopback can be reached.
"""

import base64
import contextlib
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = [
    "--headless",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--log-level=1",
    # WebGL by software, on machines with no GPU.
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]
_LOOPBACK_ONLY = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
_SECONDS = 240
_FIRST_FREE = 10
_ON_3_AND_4 = """import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])"""
_KEYS = {"Enter": (13, "\r"), "Tab": (9, ""), " ": (32, " "), "Escape": (27, "")}


def chromium() -> str:
    """Return the path of Chromium; a test that needs it fails where there is none."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "no Chromium on this machine: install it, or run `make test`"
    return found


def browse(address: str, folder: Path) -> tuple[str, str]:
    """Return the page after its scripts ran, and what Chromium logged; ``folder`` is for its profile."""
    command = [chromium(), *CHROMIUM, f"--user-data-dir={folder}", "--virtual-time-budget=20000", "--dump-dom", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, done.stderr


class Page:
    """A page in a browser of its own.

    Attributes
    ----------
    requests
        The addresses that it asked for, refused ones too; its own is the first.
    complaints
        What it wrote to the console, and what the browser complained of: errors of scripts, of the policy, of loading.
    """

    def __init__(self, to: int, of: int) -> None:
        self._to, self._of = to, of
        self._ids = itertools.count(1)
        self._unread = b""
        self._events: list[dict[str, Any]] = []
        self._session: str | None = None
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the answer to a command of the DevTools Protocol."""
        message = {"id": next(self._ids), "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            received = self._receive()
            if received.get("id") == message["id"]:
                assert "error" not in received, (method, received["error"])
                return received["result"]

    def open(self, address: str) -> None:
        """Load a page, and wait until it has loaded."""
        self._events.clear()
        self.send("Page.navigate", url=address)
        self._wait_for("Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """Return the JSON value of a JavaScript expression, of a promise what it resolves to."""
        options = {"returnByValue": True, "awaitPromise": True, "userGesture": True}
        result = self.send("Runtime.evaluate", expression=expression, **options)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait_until(self, expression: str) -> None:
        """Wait until an expression holds."""
        deadline = time.monotonic() + _SECONDS
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < deadline, f"never became true: {expression}"
            time.sleep(0.05)

    def click(self, selector: str) -> None:
        """Click the middle of the first element of a selector, as a mouse does."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        box = self.evaluate(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        at = {"x": box[0], "y": box[1], "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, **at)

    def move_mouse(self, x: float, y: float) -> None:
        """Move the mouse to a place in the window, in CSS pixels."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def press(self, key: str) -> None:
        """Press a key: ``Enter``, ``Tab``, ``Escape``, a space."""
        code, text = _KEYS[key]
        pressed = {"key": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **pressed)
        self.send("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def type_text(self, text: str) -> None:
        """Type into what has the focus."""
        self.send("Input.insertText", text=text)

    def look(
        self, *, dark: bool = False, printed: bool = False, width: int = 1200, height: int = 900, scripts: bool = True
    ) -> None:
        """Show the page as in the dark, on paper, in a window of this size, or with scripts switched off (from the next
        ``open`` on)."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media="print" if printed else "", features=[scheme])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        self.send("Emulation.setScriptExecutionDisabled", value=not scripts)

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Write a PNG of the page, or of the window alone."""
        taken = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self._clip(whole))
        path.write_bytes(base64.b64decode(taken["data"]))

    def print_pdf(self, path: Path) -> None:
        """Write the page as it prints on A4."""
        size = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": False, "preferCSSPageSize": True}
        path.write_bytes(base64.b64decode(self.send("Page.printToPDF", **size)["data"]))

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {**size, "scale": 1}}

    def _wait_for(self, method: str) -> None:
        while not any(event["method"] == method for event in self._events):
            self._receive()

    def _receive(self) -> dict[str, Any]:
        """Return the next message; an event is kept too, and what it tells of network and console."""
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._of], [], [], _SECONDS)
            assert ready, f"Chromium said nothing for {_SECONDS} s"
            part = os.read(self._of, 1 << 20)
            assert part, "Chromium ended"
            self._unread += part
        line, self._unread = self._unread.split(b"\0", 1)
        message = json.loads(line)
        if "method" in message:
            self._events.append(message)
            self._watch(message["method"], message["params"])
        return message

    def _watch(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.requests.append(params["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(" ".join(str(each.get("value", each)) for each in params["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])


@contextlib.contextmanager
def opened_page(folder: Path, *flags: str) -> Iterator[Page]:
    """Give a page of a Chromium with its profile in ``folder``, and ``flags`` beside the usual."""
    (to_read, to_write), (of_read, of_write) = _pipe(), _pipe()
    arguments = [*CHROMIUM, *flags, _LOOPBACK_ONLY, "--remote-debugging-pipe", f"--user-data-dir={folder}"]
    command = [sys.executable, "-c", _ON_3_AND_4, str(to_read), str(of_write), chromium(), *arguments]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "chromium.log").open("w") as log:
        process = subprocess.Popen(
            command, pass_fds=(to_read, of_write), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    os.close(to_read)
    os.close(of_write)
    try:
        yield Page(to_write, of_read)
    finally:
        os.close(to_write)  # it ends when its pipe does
        os.close(of_read)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _pipe() -> tuple[int, int]:
    """Return the ends of a pipe, above the numbers that Chromium's own have."""
    ends = os.pipe()
    moved = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE) for end in ends)
    for end in ends:
        os.close(end)
    return moved[0], moved[1]
