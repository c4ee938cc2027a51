"""What the files under docker/ say holds together: image, compose file, Dagster's configuration, systemd units."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config
from dagster._core.instance.ref import InstanceRef
from dagster._core.workspace.config_schema import process_workspace_config

from imdb_pipeline.orchestration.instance import DAGSTER_YAML
from imdb_pipeline.orchestration.launcher import CodeServerRunLauncher
from imdb_pipeline_tests.deployment import DOCKER, ROOT, compose, compose_variables
from imdb_pipeline_tests.test_documentation import commands

TEXTS = [path for path in sorted(DOCKER.rglob("*")) if path.is_file() and path.name != ".env"]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SERVICES: dict[str, dict[str, Any]] = compose({"POSTGRES_PASSWORD": "secret"})["services"]
OURS = {name for name, service in SERVICES.items() if service["image"].startswith("imdb-pipeline:")}
DAGSTERS = OURS - {"service"}
DAGSTER_FILES = ("dagster.yaml", "workspace.yaml")
UNITS = sorted((DOCKER / "systemd").glob("*.service"))
SERVICE_KEYS = {
    *("image", "build", "profiles", "init", "restart", "read_only", "tmpfs", "cap_drop", "cap_add", "security_opt"),
    *("logging", "command", "environment", "networks", "volumes", "ports", "depends_on", "healthcheck"),
    *("stop_grace_period", "shm_size", "deploy"),
}
HEALTH_KEYS = {"test", "interval", "timeout", "retries", "start_period", "start_interval"}
PROGRAMS = {*PYPROJECT["project"]["scripts"], "dagster", "dagster-webserver", "dagster-daemon", "python"}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, a line each."""
    lines = [line for line in (DOCKER / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(name, rest) for name, rest in found]


def stages() -> dict[str, dict[str, Any]]:
    """Each stage by name: what it is from, and its instructions."""
    found: dict[str, dict[str, Any]] = {}
    current: list[tuple[str, str]] = []
    for name, rest in instructions():
        if name == "FROM":
            base, stage = re.fullmatch(r"(\S+) AS ([\w-]+)", rest).groups()  # pyright: ignore[reportOptionalMemberAccess]
            current = []
            found[stage] = {"from": base, "does": current}
        else:
            current.append((name, rest))
    return found


def test_the_bases_are_pinned_by_an_exact_tag_and_nothing_is_the_latest():
    stage = stages()
    assert stage["base"]["from"] == "${PYTHON_IMAGE}"
    assert [each["from"] in ("${PYTHON_IMAGE}", *stage) for each in stage.values()] == [True] * len(stage)
    tags = [rest.split("=")[1] for name, rest in instructions() if name == "ARG" and rest.startswith("PYTHON_IMAGE")]
    tags.append(SERVICES["postgres"]["image"])
    for tag in tags:
        assert re.fullmatch(r"[\w-]+:\d+\.\d+(\.\d+)?-[\w-]+", tag), tag
    assert not [path for path in TEXTS if "latest" in path.read_text()]


def test_what_is_copied_is_there_and_is_sent_to_the_builder():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in ignored if line.startswith("!")}
    assert ignored[1] == "*"
    copied = set()
    for name, rest in instructions():
        if name == "COPY" and not rest.startswith("--from"):
            *sources, _ = rest.split()
            copied |= set(sources)
    assert copied == sent
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_the_dependencies_are_installed_before_the_code_is_copied():
    stage = stages()
    for target in ("cpu", "cuda"):
        assert stage[target]["from"] == f"{target}-dependencies"
        for name, rest in stage[f"{target}-dependencies"]["does"]:
            assert not (name == "COPY" and "imdb_pipeline" in rest)
            if name == "RUN" and "pip " in rest:
                assert rest.startswith("--mount=type=cache,target=/var/cache/pip ")
                assert "--constraint constraints.txt" in rest
    aptitude = [rest for name, rest in instructions() if name == "RUN" and "apt-get" in rest]
    assert len(aptitude) == 2
    assert all("--no-install-recommends" in rest and rest.endswith("rm -rf /var/lib/apt/lists/*") for rest in aptitude)


def test_both_targets_end_alike_and_run_as_a_fixed_user_that_is_not_root():
    stage = stages()
    assert stage["cpu"]["does"] == stage["cuda"]["does"]
    last = dict(stage["cpu"]["does"])
    assert last["USER"] == "10001:10001"
    made = next(rest for name, rest in stage["base"]["does"] if name == "RUN" and "useradd" in rest)
    assert "--uid 10001" in made
    assert "--gid 10001" in made
    assert "/healthz" in last["HEALTHCHECK"]
    assert json.loads(last["CMD"])[0] in PROGRAMS
    folders = re.search(r"install --directory --owner=imdb --group=imdb ([^&]+) &&", made).group(1).split()  # pyright: ignore[reportOptionalMemberAccess]
    mounted = {volume.split(":")[1] for name in OURS for volume in SERVICES[name]["volumes"]}
    assert mounted == set(folders)
    told = {pair for each in ("cuda-dependencies", "cuda") for pair in shlex.split(dict(stage[each]["does"])["ENV"])}
    caches = {name: Path(value) for name, value in (pair.split("=") for pair in told) if value.startswith("/")}
    assert caches.pop("DAGSTER_HOME") == Path("/opt/dagster")
    assert all(any(path.is_relative_to(folder) for folder in mounted) for path in caches.values()), caches


def test_the_requirements_of_the_images_are_those_of_pyproject_with_their_extras():
    project, does = PYPROJECT["project"], stages()["requirements"]["does"]
    extras = shlex.split(dict(does)["ARG"].split("=")[1])[0].split()
    assert {"postgres", "serve"} <= set(extras)
    for line in dict(does)["RUN"].split("&&"):
        script, path, *asked = shlex.split(line.split(">")[0].replace("$EXTRAS", " ".join(extras)))[1:]
        command = [sys.executable, DOCKER / script, ROOT / path, *asked]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        wanted = [each for extra in asked for each in project["optional-dependencies"][extra]]
        assert printed.splitlines() == [*project["dependencies"], *wanted]


def test_no_file_names_an_address_on_the_network():
    for path in TEXTS:
        hosts = set(re.findall(r"https?://([\w.-]+)", path.read_text())) - {"127.0.0.1"}
        assert not hosts, path


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_whole(name):
    service = SERVICES[name]
    assert service.keys() <= SERVICE_KEYS
    assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert service["deploy"]["resources"]["limits"].keys() == {"memory", "pids"}
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    health = service["healthcheck"]
    assert health == {"disable": True} if name == "migrate" else health.keys() <= HEALTH_KEYS and health["test"]
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
    if name in OURS:
        assert service["init"] is True
        assert service["read_only"] is True
        assert service["build"]["target"] == service["image"].split(":")[1]
        assert service["build"]["target"] in stages()
        assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        assert service["command"][0] in PROGRAMS
        assert name == "migrate" or health["test"][1] in PROGRAMS
    for other, on in service.get("depends_on", {}).items():
        assert on["condition"] == ("service_completed_successfully" if other == "migrate" else "service_healthy")
        assert on.get("required", True) is not bool(SERVICES[other].get("profiles")), "one in a profile may be missing"


def http_checks() -> dict[str, list[str]]:
    """The health checks that ask over HTTP, as words."""
    words = {name: service["healthcheck"].get("test", [""])[1:] for name, service in SERVICES.items()}
    words |= {
        name: json.loads(dict(stages()[name]["does"])["HEALTHCHECK"].split("CMD ")[1]) for name in ("cpu", "cuda")
    }
    return {name: each for name, each in words.items() if "http" in " ".join(each)}


@pytest.mark.parametrize(("status", "ends"), [(200, 0), (503, 1)])
def test_a_check_over_http_asks_loopback_itself_whatever_proxy_is_set(status, ends):
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    checks = http_checks()
    assert checks.keys() == {"webserver", "service", "cpu", "cuda"}
    proxy = "http://127.0.0.1:1"
    environment = {**os.environ, "http_proxy": proxy, "HTTP_PROXY": proxy, "no_proxy": "", "NO_PROXY": ""}
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            for program, option, code in {tuple(words) for words in checks.values()}:
                asked = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{server.server_port}", code)
                command = [sys.executable if program == "python" else program, option, asked]
                assert subprocess.run(command, env=environment, capture_output=True).returncode == ends, code
        finally:
            server.shutdown()


def test_volumes_and_networks_are_those_that_are_used():
    whole = compose({"POSTGRES_PASSWORD": "secret"})
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service["volumes"]}
    assert used == whole["volumes"].keys()
    assert {network for service in SERVICES.values() for network in service["networks"]} == whole["networks"].keys()
    assert whole["networks"]["inside"] == {"internal": True}
    assert set(SERVICES["postgres"]["networks"]) == {"inside"}


def test_the_ports_that_take_no_password_are_published_on_loopback_or_not_at_all():
    published = {name for name, service in SERVICES.items() if "ports" in service}
    assert published == {"webserver", "service"}


def test_each_profile_has_one_code_location_under_the_name_that_dagster_is_told():
    located = {name: service for name, service in SERVICES.items() if "profiles" in service}
    assert sorted(profile for service in located.values() for profile in service["profiles"]) == ["cpu", "gpu"]
    for service in located.values():
        assert service["networks"]["inside"]["aliases"] == [SERVICES["daemon"]["environment"]["DAGSTER_CODE_HOST"]]
    assert located["code"]["command"] == located["code-gpu"]["command"]
    devices = located["code-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}]


def test_every_variable_of_the_compose_file_is_in_the_example_and_the_password_must_be_set():
    example = (DOCKER / ".env.example").read_text()
    given = dict(re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE))
    assert given.keys() == compose_variables() | {"COMPOSE_PROFILES"}
    assert given["POSTGRES_PASSWORD"] == ""
    with pytest.raises(KeyError, match=r"docker/\.env"):
        compose({})
    for name in ("UI_PORT", "SERVICE_PORT", "CODE_MEMORY", "SERVICE_MEMORY"):
        assert f"${{{name}:-{given[name]}}}" in (DOCKER / "compose.yaml").read_text()
    assert "/docker/.env" in (ROOT / ".gitignore").read_text().splitlines()


def asked_variables(node: Any) -> set[str]:
    """The names that stand behind ``env:`` in one of Dagster's files."""
    if isinstance(node, list):
        return set().union(*map(asked_variables, node)) if node else set()
    if not isinstance(node, dict):
        return set()
    if node.keys() == {"env"}:
        return {node["env"]}
    return set().union(*map(asked_variables, node.values())) if node else set()


def test_every_dagster_service_is_told_what_dagsters_files_ask_for():
    asked = set().union(*(asked_variables(yaml.safe_load((DOCKER / name).read_text())) for name in DAGSTER_FILES))
    for name in DAGSTERS:
        assert asked <= SERVICES[name]["environment"].keys(), name
    assert SERVICES["daemon"]["environment"].keys() - asked == {"TINI_KILL_PROCESS_GROUP"}


def test_dagster_takes_its_files_and_finds_the_launcher(monkeypatch):
    for name, value in SERVICES["daemon"]["environment"].items():
        monkeypatch.setenv(name, str(value))
    config, _ = dagster_instance_config(str(DOCKER))
    assert "storage" in config
    reference = InstanceRef.from_dir(str(DOCKER))
    assert isinstance(reference.run_launcher, CodeServerRunLauncher)
    assert type(reference.run_coordinator).__name__ == "QueuedRunCoordinator"
    assert process_workspace_config(yaml.safe_load((DOCKER / "workspace.yaml").read_text())).success


def test_a_deployment_and_a_home_configure_alike_what_both_have():
    deployed, home = yaml.safe_load((DOCKER / "dagster.yaml").read_text()), yaml.safe_load(DAGSTER_YAML)
    assert {name: deployed.get(name) for name in home} == home
    assert deployed.keys() - home.keys() == {
        *("storage", "compute_logs", "local_artifact_storage", "run_launcher", "run_queue")
    }


def unit(path: Path) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # pyright: ignore[reportAttributeAccessIssue]
    parser.read_string(path.read_text())
    return {name: dict(parser[name]) for name in parser.sections()}


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_runs_what_the_container_of_its_name_runs(path):
    sections = unit(path)
    assert sections.keys() == {"Unit", "Service", "Install"}
    runs = sections["Service"]
    service = SERVICES[path.stem.removeprefix("imdb-")]
    places = {"0.0.0.0": "127.0.0.1", "/opt/dagster/": "/etc/imdb/"}
    wanted = [re.sub("|".join(map(re.escape, places)), lambda f: places[f.group()], w) for w in service["command"]]
    assert shlex.split(runs["ExecStart"]) == [f"/opt/imdb/bin/{wanted[0]}", *wanted[1:]]
    assert runs["TimeoutStopSec"] + "s" == service["stop_grace_period"]
    limit = service["deploy"]["resources"]["limits"]["memory"]
    assert runs["MemoryMax"].lower() == limit
    assert runs["User"] == "imdb"
    for name in ("NoNewPrivileges", "PrivateTmp", "ProtectHome"):
        assert runs[name] == "yes"
    assert runs["ProtectSystem"] == "strict"
    assert runs["Restart"] == "always"


def test_the_units_are_told_what_the_containers_are():
    told = dict(re.findall(r"^(\w+)=(.*)$", (DOCKER / "systemd" / "imdb.env").read_text(), re.MULTILINE))
    code = SERVICES["code"]["environment"]
    image = dict(pair.split("=", 1) for pair in shlex.split(dict(stages()["cpu"]["does"])["ENV"]))
    assert told.keys() == (code.keys() | image.keys()) - {"TINI_KILL_PROCESS_GROUP"}
    assert told["DAGSTER_POSTGRES_PASSWORD"] == ""
    assert len(UNITS) == 4


@pytest.mark.extra
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path):
    verify = shutil.which("systemd-analyze")
    assert verify, "no systemd-analyze on this machine: install systemd, or run `make test`"
    programs = str(Path(sys.executable).parent)
    for path in UNITS:
        (tmp_path / path.name).write_text(path.read_text().replace("/opt/imdb/bin", programs))
    done = subprocess.run(
        [verify, "verify", "--man=no", *sorted(tmp_path.iterdir())], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_is_started_with_options_that_it_has():
    taken = commands()["serve"]
    for words in (SERVICES["service"]["command"], json.loads(dict(stages()["cpu"]["does"])["CMD"])):
        assert {word for word in words if word.startswith("--")} <= taken
