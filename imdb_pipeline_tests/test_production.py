"""What docs/production.md, docs/fan-out.md and docker/README.md say of a deployment is what the files do."""

from __future__ import annotations

import re
import shlex
import tomllib

import pytest
import yaml
from pydantic import TypeAdapter

from imdb_pipeline.orchestration.automation import ATTEMPTS, SENSORS
from imdb_pipeline.orchestration.launcher import UNREACHABLE_SECONDS
from imdb_pipeline.orchestration.run_logs import OUTPUT_DAYS
from imdb_pipeline.settings import Settings
from imdb_pipeline_tests.deployment import DOCKER, ROOT, compose, compose_variables
from imdb_pipeline_tests.test_documentation import commands, first_cells

PRODUCTION = (ROOT / "docs" / "production.md").read_text()
FAN_OUT = (ROOT / "docs" / "fan-out.md").read_text()
WHOLE = compose({"POSTGRES_PASSWORD": "secret"})
SERVICES = WHOLE["services"]
DAGSTER = yaml.safe_load((DOCKER / "dagster.yaml").read_text())
LINES = [line.strip() for line in PRODUCTION.splitlines() if line.startswith("    ")]
COMPOSE = {  # what each takes: options with a value, and how many words after the services
    "build": set(),
    "up": set(),
    "ps": set(),
    "stop": set(),
    "restart": set(),
    "logs": {"--tail"},
    "run": set(),
    "exec": set(),
}


def compose_lines() -> list[list[str]]:
    """The words after ``docker compose``, without what the shell redirects."""
    spans = re.findall(r"`(docker compose [^`]+)`", PRODUCTION)
    lines = [shlex.split(line)[2:] for line in [*LINES, *spans] if line.startswith("docker compose")]
    return [words[: min((words.index(sign) for sign in "<>" if sign in words), default=None)] for words in lines]


@pytest.mark.parametrize("words", compose_lines(), ids=" ".join)
def test_every_compose_command_names_services_that_are_there(words):
    command, *rest = words
    with_value = COMPOSE[command]
    names = [
        word for before, word in zip(words, rest, strict=False) if not word.startswith("-") and before not in with_value
    ]
    if command in ("run", "exec"):
        service, *inner = names
        assert service in SERVICES
        assert inner[0] in {"imdb-pipeline", "tar", "sh", "pg_dump", "pg_restore"}
    else:
        assert set(names) <= SERVICES.keys()


def test_every_command_of_ours_that_is_shown_exists():
    shown = {name for line in LINES for name in re.findall(r"imdb-pipeline (\w+)", line)}
    assert {"status", "refresh"} <= shown <= commands().keys()


def test_the_table_has_every_service_and_its_port():
    table = dict(re.findall(r"^\| (`[\w`, -]+?) \|[^|]+\| (\w+) \|$", PRODUCTION.replace(", or ", ", "), re.MULTILINE))
    assert {name for cell in table for name in re.findall(r"`([\w-]+)`", cell)} == SERVICES.keys()
    for cell, port in table.items():
        published = SERVICES[re.findall(r"`([\w-]+)`", cell)[0]].get("ports", [])
        assert (published[0].split(":")[1] if published else "none") == port


def test_the_settings_that_are_shown_are_settings():
    for block in re.findall(r"```toml\n(.*?)```", PRODUCTION, re.DOTALL):
        assert TypeAdapter(Settings).validate_python(tomllib.loads(block)).source == "imdb"


def test_the_variables_that_are_named_are_those_of_the_example():
    named = set(re.findall(r"`([A-Z_]{6,})=?\w*`", PRODUCTION)) - {"DAGSTER_HOME", "IMDB_PIPELINE_HOME"}
    assert named <= compose_variables() | {"COMPOSE_PROFILES"}
    assert {"POSTGRES_PASSWORD", "TORCH_INDEX", "IMDB_PIPELINE_ACCEPT_LICENCE", "COMPOSE_PROFILES"} <= named


def test_files_and_extras_that_are_installed_by_hand_are_there():
    copied = [line for line in LINES if line.startswith("install --mode")]
    files = [word for line in copied for word in shlex.split(line) if word.startswith("docker/")]
    assert sorted(files) == sorted(
        f"docker/{path.relative_to(DOCKER)}"
        for path in (DOCKER / "dagster.yaml", DOCKER / "workspace.yaml", *(DOCKER / "systemd").iterdir())
    )
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for page in (PRODUCTION, FAN_OUT):
        for extras in re.findall(r"'(?:\.|imdb-pipeline)\[([\w,]+)\]'", page):
            assert set(extras.split(",")) <= known.keys()
    assert re.search(r"EXTRAS=\"([\w ]+)\"", FAN_OUT).group(1).split() == ["postgres", "k8s"]  # pyright: ignore[reportOptionalMemberAccess]


def test_the_times_that_are_promised_are_those_of_the_configuration():
    monitoring, queue = DAGSTER["run_monitoring"], DAGSTER["run_queue"]
    assert "within ten seconds" in PRODUCTION
    assert monitoring["poll_interval_seconds"] == 10
    assert "after five minutes without an answer" in PRODUCTION
    assert (
        DAGSTER["run_launcher"]["config"]
        == {"unreachable_seconds": UNREACHABLE_SECONDS}
        == {"unreachable_seconds": 300}
    )
    assert "waits five minutes for it" in PRODUCTION
    assert queue["max_user_code_failure_retries"] * queue["user_code_failure_retry_delay"] == 300
    assert "after two days (`max_runtime_seconds`)" in PRODUCTION
    assert monitoring["max_runtime_seconds"] == 2 * 86_400
    assert f"deleted {OUTPUT_DAYS}\ndays after its end" in PRODUCTION
    assert "cut at 20 MB, five files" in PRODUCTION
    assert WHOLE["x-logging"]["options"] == {"max-size": "20m", "max-file": "5"}
    assert "until three runs of the same files have failed" in PRODUCTION
    assert ATTEMPTS == 3
    assert "at the latest after 60 seconds" in PRODUCTION
    assert SERVICES["code"]["stop_grace_period"] == "60s"
    assert "Compose 2.24" in (DOCKER / "compose.yaml").read_text()
    assert "Compose 2.24" in PRODUCTION
    assert {"watchdog", "new_dumps"} <= {sensor.name for sensor in SENSORS}


def test_the_readme_of_docker_has_every_file():
    listed = {name.rstrip("/") for name in first_cells((DOCKER / "README.md").read_text())}
    assert listed == {path.name for path in DOCKER.iterdir()} - {"README.md", ".env"}


def test_the_page_on_clusters_names_the_user_of_the_image():
    assert "user 10001" in FAN_OUT
    assert "--uid 10001" in (DOCKER / "Dockerfile").read_text()
    assert DAGSTER["storage"]["postgres"]["postgres_db"]["scheme"] in FAN_OUT
