"""docker/compose.yaml as Compose reads it, and what it describes started as processes, against a real PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

import imdb_pipeline

ROOT = Path(imdb_pipeline.__file__).parent.parent
DOCKER = ROOT / "docker"
PASSWORD = "it's / a: test @ secret"
DEADLINE_SECONDS = 600.0
"""Some ten times what a quiet machine needs for the longest."""
_VARIABLE = re.compile(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}")
T = TypeVar("T")


def compose(variables: Mapping[str, str]) -> dict[str, Any]:
    """Return compose.yaml with anchors resolved and variables filled in, as Compose does.

    Raises
    ------
    KeyError
        A variable that must be set is not; the message says what it is.
    """

    def fill(found: re.Match[str]) -> str:
        name, kind, text = found.groups()
        value = variables.get(name, "")
        if not value and kind == ":?":
            raise KeyError(text)
        return value or (text if kind == ":-" else "")

    def filled(node: Any) -> Any:
        if isinstance(node, dict):
            return {name: filled(value) for name, value in node.items()}
        if isinstance(node, list):
            return [filled(value) for value in node]
        return _VARIABLE.sub(fill, node) if isinstance(node, str) else node

    return filled(yaml.safe_load((DOCKER / "compose.yaml").read_text()))


def compose_variables() -> set[str]:
    return {name for name, _, _ in _VARIABLE.findall((DOCKER / "compose.yaml").read_text())}


def wait_for(found: Callable[[], T], what: str, *, seconds: float = DEADLINE_SECONDS) -> T:
    """Return what is found, as soon as it is true."""
    until = time.monotonic() + seconds
    while True:
        result = found()
        if result:
            return result
        assert time.monotonic() < until, f"waited {seconds:.0f} seconds for {what}"
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def postgres_folder() -> Path:
    """Return the folder of PostgreSQL's programs."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = debian[-1] if debian else shutil.which("initdb")
    assert found, "no PostgreSQL server on this machine: install it (Debian: postgresql), or run `make test`"
    return Path(found).parent


def _unprivileged() -> dict[str, Any]:
    """Return who PostgreSQL runs as: it refuses to be root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def postgres() -> Iterator[int]:
    """Start a PostgreSQL server with the user and database of compose.yaml; give its port on loopback."""
    programs, who = postgres_folder(), _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="imdb-postgres-"))
    data, secret = folder / "data", folder / "password"
    secret.write_text(PASSWORD)
    if who:
        for path in (folder, secret):
            os.chown(path, who["user"], who["group"])
    quiet: Any = {"cwd": folder, "stdout": subprocess.DEVNULL, **who}
    port = free_port()
    try:
        make = [programs / "initdb", "--pgdata", data, "--username", "dagster", "--pwfile", secret]
        subprocess.run([*make, "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-sync"], check=True, **quiet)
        options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder, "fsync": "off"}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (folder / "log").open("w") as log:
            server = subprocess.Popen([programs / "postgres", "-D", data, *words], stderr=log, **quiet)
        try:
            ready = [programs / "pg_isready", "--host", "127.0.0.1", "--port", str(port), "--quiet"]
            wait_for(lambda: subprocess.run(ready).returncode == 0, "PostgreSQL")
            ask_postgres(port, "CREATE DATABASE dagster", database="postgres")
            yield port
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=60)
    finally:
        shutil.rmtree(folder)


def ask_postgres(port: int, statement: str, *, database: str = "dagster") -> list[tuple]:
    import psycopg2

    connection = psycopg2.connect(host="127.0.0.1", port=port, user="dagster", password=PASSWORD, dbname=database)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


class Deployment:
    """The services of compose.yaml as processes: their commands, their variables, other ports and folders.

    Attributes
    ----------
    home
        What stands for the volume at /srv/imdb.
    files
        What stands for the volume at /var/lib/dagster.
    settings
        What stands for /opt/dagster in the image: dagster.yaml and workspace.yaml, byte for byte.
    """

    def __init__(self, home: Path, folder: Path, *, postgres_port: int) -> None:
        self.home, self.files, self.settings = home, folder / "files", folder / "dagster"
        for each in (self.files, self.settings):
            each.mkdir(parents=True)
        for name in ("dagster.yaml", "workspace.yaml"):
            shutil.copyfile(DOCKER / name, self.settings / name)
        self.postgres_port = postgres_port
        self.ports = {"4000": free_port(), "3000": free_port()}
        self.services = compose({"POSTGRES_PASSWORD": PASSWORD})["services"]
        self.folder = folder
        self.processes: dict[str, subprocess.Popen] = {}
        self.extra: list[str] = []

    def command(self, service: str) -> list[str]:
        """Return the command of a service, with this machine's addresses."""
        places = {"/opt/dagster": str(self.settings), "/srv/imdb": str(self.home), "0.0.0.0": "127.0.0.1"}
        places |= {port: str(ours) for port, ours in self.ports.items()}
        words = [_replaced(word, places) for word in self.services[service]["command"]]
        return [str(Path(sys.executable).parent / words[0]), *words[1:]]

    def variables(self, service: str) -> dict[str, str]:
        """Return the environment of a service: compose.yaml's, and what the image sets."""
        ours = {
            "DAGSTER_POSTGRES_HOST": "127.0.0.1",
            "DAGSTER_POSTGRES_PORT": str(self.postgres_port),
            "DAGSTER_CODE_HOST": "127.0.0.1",
            "DAGSTER_CODE_PORT": str(self.ports["4000"]),
            "DAGSTER_FILES": str(self.files),
        }
        image = {"DAGSTER_HOME": str(self.settings), "IMDB_PIPELINE_HOME": str(self.home)}
        asked = self.services[service]["environment"]
        return {**os.environ, **image, **{name: ours.get(name, str(value)) for name, value in asked.items()}}

    def start(self, service: str, *, command: list[str] | None = None) -> subprocess.Popen:
        with (self.folder / f"{service}.log").open("a") as log:
            process = subprocess.Popen(
                command or [*self.command(service), *(self.extra if service in ("webserver", "daemon") else [])],
                env=self.variables(service if service in self.services else "code"),
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes[service] = process
        return process

    def log(self, service: str) -> str:
        return (self.folder / f"{service}.log").read_text()[-6000:]

    def healthy(self, service: str, *check: str) -> None:
        """Wait until the health check of a service passes; ``check`` stands for what compose.yaml has."""
        words = list(check) or self.services[service]["healthcheck"]["test"][1:]
        words = [_replaced(word, {word: str(port) for word, port in self.ports.items()}) for word in words]
        words[0] = str(Path(sys.executable).parent / words[0])

        def passes() -> bool:
            assert self.processes[service].poll() is None, self.log(service)
            done = subprocess.run(words, env=self.variables(service), capture_output=True, timeout=60, cwd=self.folder)
            return done.returncode == 0

        wait_for(passes, f"the health check of {service}: {self.log(service)}")

    def kill(self, service: str) -> None:
        """Kill the process of a service, and it alone."""
        process = self.processes.pop(service)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """Return what the UI answers to a query in GraphQL."""
        address = f"http://127.0.0.1:{self.ports['3000']}/graphql"
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(address, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer
        return answer["data"]


def _replaced(word: str, places: Mapping[str, str]) -> str:
    return re.sub("|".join(map(re.escape, places)), lambda found: places[found.group()], word) if places else word
