"""The notebooks run from the first cell to the last on the sample."""

from __future__ import annotations

from pathlib import Path

import pytest

import imdb_pipeline

NOTEBOOKS = sorted((Path(imdb_pipeline.__file__).parent.parent / "notebooks").glob("*.ipynb"))


def test_there_are_two_notebooks_without_results_of_anybody():
    import json

    assert len(NOTEBOOKS) == 2
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text())["cells"]
        assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells), path.name


@pytest.mark.extra
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's client, not of ours
def test_a_notebook_runs_on_the_sample(path, answering_home, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("IMDB_PIPELINE_HOME", str(answering_home))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
