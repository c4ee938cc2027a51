"""What the pages under docs/ say is there: commands, options, links, predictors, jobs, a movie in a file, answers."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import imdb_pipeline
from imdb_pipeline.models.conformal import Intervals
from imdb_pipeline.models.fitting import PREDICTORS
from imdb_pipeline.models.mean import MeanModel
from imdb_pipeline.results.answers import Served, explain_movie, predict_new
from imdb_pipeline.results.new_movie import FIELDS, NewMovie, new_movie

PACKAGE = Path(imdb_pipeline.__file__).parent
ROOT = PACKAGE.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
EVALUATION, PREDICTING, ARCHITECTURE = (
    (ROOT / "docs" / f"{name}.md").read_text() for name in ("evaluation", "predicting", "architecture")
)


def commands() -> dict[str, set[str]]:
    """The options of each command of ``imdb-pipeline``."""
    import typer

    from imdb_pipeline.cli import app

    group = typer.main.get_command(app)
    return {
        name: {option for parameter in command.params for option in parameter.opts} | {"--help"}
        for name, command in group.commands.items()  # pyright: ignore[reportAttributeAccessIssue]
    }


def written_commands(page: Path) -> list[str]:
    """What stands after ``imdb-pipeline`` in a page's indented lines and code spans."""
    text = page.read_text()
    lines = [line.strip() for line in text.splitlines() if line.startswith("    imdb-pipeline ")]
    spans = re.findall(r"`(imdb-pipeline\s[^`]+)`", text)
    return [found.removeprefix("imdb-pipeline").strip() for found in [*lines, *spans]]


def section(page: str, heading: str) -> str:
    return page.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def first_cells(text: str) -> list[str]:
    """The names in the first column of the tables in a text."""
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_names_exists_with_its_options(page):
    known = commands()
    for written in written_commands(page):
        command, *words = shlex.split(written)
        if command == "COMMAND" or command.startswith("--"):
            continue
        assert command in known, written
        options = {word for word in words if word.startswith("--")}
        assert options <= known[command], written


def test_the_readme_has_every_command_in_its_table():
    assert set(first_cells((ROOT / "README.md").read_text())) == set(commands())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page):
    for link in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / link).is_file(), link


def test_every_predictor_is_described_with_its_file():
    listed = re.findall(r"^\| `(\w+)` \| `(models/\w+\.py)` \|", EVALUATION, re.MULTILINE)
    assert dict(listed) == {
        name: predictor.module.removeprefix("imdb_pipeline.").replace(".", "/") + ".py"
        for name, predictor in PREDICTORS.items()
    }


def test_every_job_is_described_and_every_module_named_is_there():
    from imdb_pipeline.orchestration.automation import JOBS

    assert set(first_cells(section(ARCHITECTURE, "Jobs"))) == {job.name for job in JOBS}
    modules = first_cells(section(ARCHITECTURE, "Predictors"))
    assert [name for name in modules if not (PACKAGE / "models" / name).is_file()] == []


def test_every_basis_of_a_prediction_is_described():
    from imdb_pipeline.results.predictions import BASES

    assert {*BASES.values(), "future", "few_votes"} <= set(
        first_cells(section(EVALUATION, "Predictions and intervals"))
    )


@pytest.fixture
def described() -> NewMovie:
    """The movie that the page shows, where the catalogue holds somebody else."""
    example = re.search(r"```json\n(.*?)```", PREDICTING, re.DOTALL)
    assert example is not None
    credit = pl.Struct({"nconst": pl.String, "category": pl.String, "name": pl.String})
    row = {"genres": ["Drama"], "credits": [{"nconst": "nm0000001", "category": "director", "name": "Ann Lee"}]}
    movies = pl.DataFrame([row], schema={"genres": pl.List(pl.String), "credits": pl.List(credit)})
    return new_movie(json.loads(example.group(1)), movies, source="the page")


def test_the_movie_that_the_page_describes_is_accepted_with_every_field(described):
    assert described.notes["missing"] == []
    assert list(json.loads(described.document)) == list(FIELDS)
    assert described.notes["unknown_genres"] == ["Mystery"]
    unknown = {each["person"] for each in described.notes["unknown"]}
    assert "nm0000001" not in unknown
    assert {"Ada Example", "nm0000002", "Eve Fictional", "nm0000003"} <= unknown


def test_every_field_of_an_answer_is_described(described):
    model = MeanModel(np.array([6.0]), {"method": "mean of the training ratings"}, [])
    served = Served("mean", model, Intervals(None, None, {"quantile": 1.5}), None)
    of_the_catalogue = {"tconst", "split", "average_rating", "num_votes"}
    predicted = {*predict_new(described, served), "model_id", *of_the_catalogue}
    assert set(first_cells(section(PREDICTING, "What `predict` answers"))) == predicted
    explained = {*explain_movie(described.movie, served, learned=False), "model_id", "contributions"}
    assert set(first_cells(section(PREDICTING, "What `explain` answers"))) == explained
