"""What the code location is: the lineage, what each asset declares, and what importing it costs."""

import ast
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

import imdb_pipeline
from imdb_pipeline.definitions import defs
from imdb_pipeline.orchestration.stages import STAGES

PACKAGE = Path(imdb_pipeline.__file__).parent
HEAVY = ("torch", "transformers", "sklearn", "umap", "lightgbm", "matplotlib", "polars", "pandera", "scipy", "numba")
PREDICTORS = ["mean", "linear", "ridge", "knn", "svr", "mlp", "transformer", "finetuned", "boosting"]
ON_DEMAND = {"evaluation", "study_reproduction"}

LINEAGE = {
    "title_basics_dump": [],
    "title_ratings_dump": [],
    "title_principals_dump": [],
    "name_basics_dump": [],
    "movies": ["name_basics_dump", "title_basics_dump", "title_principals_dump", "title_ratings_dump"],
    "movie_documents": ["movies"],
    "catalogue_changes": ["movie_documents", "movies"],
    "movie_embeddings": ["movie_documents"],
    "movie_neighbours": ["movie_embeddings", "movies"],
    "movie_map": ["movie_embeddings", "movie_neighbours", "movies"],
    "rating_split": ["movies"],
    **{f"{name}_predictor": ["movie_embeddings", "movies", "rating_split"] for name in PREDICTORS},
    **{
        f"{name}_predictor": ["movie_documents", "movie_embeddings", "movies", "rating_split"]
        for name in ("transformer", "finetuned")
    },
    "blend_predictor": sorted(f"{name}_predictor" for name in PREDICTORS),
    "leaderboard": sorted(f"{name}_predictor" for name in [*PREDICTORS, "blend"]),
    "champion": ["leaderboard"],
    "evaluation": sorted([*(f"{name}_predictor" for name in [*PREDICTORS, "blend"]), "name_basics_dump"]),
    "study_reproduction": ["movie_documents", "movie_embeddings", "movie_neighbours", "movies", "rating_split"],
    "rating_predictions": ["champion", "movie_embeddings"],
    "prediction_ledger": ["rating_predictions"],
    "model_card": ["prediction_ledger"],
    "report": sorted(["catalogue_changes", "leaderboard", "model_card", "movie_map", *ON_DEMAND]),
    "map_page": ["movie_map", "rating_predictions"],
    "release": ["map_page", "report"],
}
GROUPS = {
    "dumps": ["name_basics_dump", "title_basics_dump", "title_principals_dump", "title_ratings_dump"],
    "catalogue": ["catalogue_changes", "movie_documents", "movies"],
    "embeddings": ["movie_embeddings", "movie_map", "movie_neighbours"],
    "models": sorted(
        [
            "rating_split",
            "leaderboard",
            "champion",
            *(f"{name}_predictor" for name in [*PREDICTORS, "blend"]),
            *ON_DEMAND,
        ]
    ),
    "results": ["map_page", "model_card", "prediction_ledger", "rating_predictions", "release", "report"],
}
WHOLE = {"whole_gzip", "row_count", "new_content", "snapshot_accepted"}
CHECKS = {
    "movies": {
        "readable_rows",
        "rejected_rows",
        "movies_table",
        "unique_keys",
        "known_people",
        "known_titles",
        "counts",
        "null_rates",
        "changed_movies",
        "title_types",
        "categories",
    },
    "movie_documents": {"documents_table"},
    "movie_embeddings": {"every_document_embedded"},
    **{f"{name}_predictor": {"beats_the_mean"} for name in [*PREDICTORS, "blend"] if name != "mean"},
    "rating_predictions": {"coverage"},
    "map_page": {"page_size"},
    **dict.fromkeys(GROUPS["dumps"], WHOLE),
    "title_ratings_dump": {*WHOLE, "title_ratings_table"},
}


def specs() -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def test_the_lineage_is_this():
    found = {name: sorted(dep.asset_key.to_user_string() for dep in spec.deps) for name, spec in specs().items()}
    assert found == LINEAGE


def test_an_edge_that_is_not_shown_is_upstream_of_one_that_is():
    shown = {name: [dep.asset_key.to_user_string() for dep in spec.deps] for name, spec in specs().items()}

    def above(name: str) -> set[str]:
        return set(shown[name]).union(*(above(source) for source in shown[name]))

    for name, stage in STAGES.items():
        assert set(stage.inputs) <= above(name), name


def test_the_groups_and_checks_are_these():
    found: dict[str, list[str]] = {}
    for name, spec in sorted(specs().items()):
        found.setdefault(str(spec.group_name), []).append(name)
    assert found == GROUPS
    assert {name: set(stage.checks) for name, stage in STAGES.items() if stage.checks} == CHECKS


def test_every_gate_schedule_and_sensor_is_documented():
    page = (PACKAGE.parent / "docs" / "unattended.md").read_text()
    gates = {gate for asset in (*GROUPS["dumps"], "movies") for gate in CHECKS[asset]}
    automations = {each.name for each in (*(defs.schedules or ()), *(defs.sensors or ()))}
    assert len(automations) == 7
    assert [name for name in sorted(gates | automations) if f"`{name}`" not in page] == []


@pytest.mark.parametrize("asset", list(LINEAGE))
def test_every_asset_says_what_it_is(asset):
    spec = specs()[asset]
    assert spec.description
    assert len(spec.description) > 30
    assert spec.owners
    assert spec.kinds
    assert spec.code_version
    assert isinstance(spec.partitions_def, dg.DailyPartitionsDefinition)


def test_the_partitions_are_utc_days_from_a_fixed_one_to_today():
    from datetime import UTC, datetime

    days = next(iter(specs().values())).partitions_def
    assert isinstance(days, dg.DailyPartitionsDefinition)
    keys = days.get_partition_keys(current_time=datetime(2026, 3, 4, 0, 30, tzinfo=UTC))
    assert (keys[0], keys[-1]) == ("2020-01-01", "2026-03-04")
    assert days.timezone == "UTC"


def test_the_jobs_cover_all_of_it_a_day_and_training():
    jobs = {
        name: {key.to_user_string() for key in defs.resolve_job_def(name).asset_layer.executable_asset_keys}
        for name in ("everything", "daily", "training", "study", "evaluate", "everything_and_study")
    }
    trained = set(GROUPS["models"]) - ON_DEMAND
    assert jobs["everything"] == set(STAGES)
    assert jobs["daily"] == set(STAGES) - trained
    assert jobs["training"] == trained | set(GROUPS["results"])
    assert jobs["study"] == {"study_reproduction", "report", "release"}
    assert jobs["evaluate"] == {"evaluation", "report", "release"}
    assert jobs["everything_and_study"] == {*STAGES, "study_reproduction"}


def test_gpu_assets_share_one_pool():
    pooled = {
        asset.key.to_user_string()
        for asset in defs.resolve_asset_graph().assets_defs
        if asset.is_executable and "gpu" in {op.pool for op in asset.node_def.iterate_op_defs()}  # pyright: ignore[reportAttributeAccessIssue]
    }
    assert pooled == {
        "movie_embeddings",
        "movie_neighbours",
        "movie_map",
        *(f"{name}_predictor" for name in ("knn", "svr", "mlp", "transformer", "finetuned")),
        "champion",
        *ON_DEMAND,
    }


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_loading_the_definitions_imports_nothing_heavy():
    code = f"import sys, imdb_pipeline.definitions; print([name for name in {HEAVY} if name in sys.modules])"
    assert run_python(code).strip() == "[]"


def test_the_package_the_api_and_the_command_load_without_dagster():
    code = "import sys, imdb_pipeline, imdb_pipeline.api, imdb_pipeline.cli; print('dagster' in sys.modules)"
    assert run_python(code).strip() == "False"


def test_only_orchestration_and_definitions_import_dagster():
    importing = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0].startswith("dagster") for name in names):
                importing.add(path.relative_to(PACKAGE).parts[0])
    assert importing == {"orchestration", "definitions.py"}


def test_nothing_is_ever_unpickled():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            assert not {"pickle", "joblib", "dill", "cloudpickle"} & {name.split(".")[0] for name in names}, path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "load":
                owner = node.func.value
                assert not (isinstance(owner, ast.Name) and owner.id in ("torch", "np", "numpy")), path


@pytest.mark.slow
def test_dg_and_the_workspace_file_load_the_same_code_location():
    import yaml

    root = PACKAGE.parent
    target = yaml.safe_load((root / "workspace.yaml").read_text())["load_from"][0]["python_module"]
    assert target == {"module_name": "imdb_pipeline.definitions", "location_name": "imdb_pipeline"}
    dg_command = Path(sys.executable).with_name("dg")
    listed = subprocess.run(
        [dg_command, "list", "defs", "--json"], cwd=root, capture_output=True, text=True, check=False
    )
    assert listed.returncode == 0, listed.stderr
    assert all(f'"{asset}"' in listed.stdout for asset in STAGES)
