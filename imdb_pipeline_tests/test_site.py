"""The documentation as a site: every page is in it, what it names is there, its Python runs, and it fetches nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import imdb_pipeline
from imdb_pipeline import api
from imdb_pipeline.orchestration.stages import ALL_STAGES, STAGES
from imdb_pipeline_tests.test_documentation import first_cells

ROOT = Path(imdb_pipeline.__file__).parent.parent
DOCS = ROOT / "docs"


def listed(nav: list) -> list[str]:
    """The pages of the site's navigation."""
    return [
        page
        for entry in nav
        for value in entry.values()
        for page in (listed(value) if isinstance(value, list) else [value])
    ]


def test_every_page_is_in_the_navigation():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert sorted(listed(nav)) == sorted(path.name for path in DOCS.glob("*.md"))


def test_every_asset_is_described_in_its_group():
    from imdb_pipeline.definitions import defs

    page = (DOCS / "assets.md").read_text()
    groups: dict[str, list[str]] = {}
    for spec in defs.resolve_all_asset_specs():
        groups.setdefault(str(spec.group_name), []).append(spec.key.to_user_string())
    for group, assets in groups.items():
        rows = re.findall(r"^\| `(\w+)` \|", page.split(f"\n## {group}\n")[1].split("\n## ")[0], re.MULTILINE)
        assert sorted(rows) == sorted(assets), group
    assert [
        name for name in ALL_STAGES if name not in STAGES and f"`{name}`" not in page.split("## On demand")[1]
    ] == []


def test_the_python_of_the_page_runs_and_every_function_is_in_its_table(answering_home):
    page = (DOCS / "python.md").read_text()
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert code is not None
    namespace: dict = {}
    exec(code.group(1).replace('"HOME"', repr(str(answering_home))), namespace)
    assert len(namespace["new"]) == 1
    assert len(namespace["near"]) == 15
    assert namespace["why"].height > 3
    assert set(first_cells(page)) == set(api.__all__)


@pytest.mark.extra
def test_the_site_is_built_without_a_complaint_and_fetches_nothing_from_elsewhere(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    pages = list((tmp_path / "site").glob("*.html"))
    assert len(pages) > len(list(DOCS.glob("*.md"))) - 1
    for page in pages:
        text = page.read_text()
        fetched = re.findall(r'<(?:script|img|iframe)[^>]+src="(https?:[^"]+)"', text)
        fetched += re.findall(r'<link[^>]+rel="(?:stylesheet|preconnect)"[^>]+href="(https?:[^"]+)"', text)
        assert fetched == [], page.name
        for image in re.findall(r'<img[^>]+src="([^":]+)"', text):
            assert (page.parent / image).is_file(), image
