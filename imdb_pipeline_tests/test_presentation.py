"""What Dagster's UI shows of assets and of their materializations."""

import base64
from datetime import timedelta

import dagster as dg
import numpy as np
import polars as pl
import pytest

from imdb_pipeline.definitions import defs
from imdb_pipeline.orchestration.presentation import MOST_PICTURE_BYTES, columns, expected_again, pictures
from imdb_pipeline.orchestration.publishing import TABLES, table
from imdb_pipeline.orchestration.stages import ALL_STAGES
from imdb_pipeline.results.metric_plots import draw_calibration, draw_leaderboard
from imdb_pipeline.settings import AlertSettings, Settings, TrainingSettings
from imdb_pipeline.store import Store
from imdb_pipeline_tests.conftest import DAY

PNG = b"\x89PNG\r\n\x1a\n"
PLOTTED = {
    "movies": {"rated movies", "share rated", "credits", "rows left out"},
    "movie_documents": {"movies without a document"},
    "catalogue_changes": {"documents added", "documents changed", "share of documents changed"},
    "movie_embeddings": {"embedded", "documents a second", "tokens a second"},
    "movie_neighbours": {"median cosine of the nearest"},
    "movie_map": {"trustworthiness"},
    "rating_split": {"train movies", "validation movies", "test movies"},
    "ridge_predictor": {"validation MSE", "test MSE", "test R²", "fit seconds"},
    "leaderboard": {"validation MSE of the best", "test R² of the best", "predictors that beat the mean"},
    "champion": {"movies learnt from", "validation MSE", "test R²"},
    "rating_predictions": {"not yet rated", "interval: share inside", "interval: mean width"},
    "prediction_ledger": {"movies predicted", "movies graded"},
    "map_page": {"page bytes"},
}
PICTURES = {"movie_map": {"map", "drift"}, "leaderboard": {"R² on test"}, "rating_predictions": {"calibration on test"}}


def materialized(home, asset: str) -> dict:
    """Return the metadata of the newest materialization of the day."""
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        wanted = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[DAY])
        (record,) = instance.fetch_materializations(wanted, limit=1).records
    assert record.asset_materialization is not None
    return dict(record.asset_materialization.metadata)


@pytest.mark.parametrize("asset", list(PLOTTED))
def test_a_materialization_has_the_figures_that_are_plotted_over_the_days(held_home, asset):
    told = materialized(held_home, asset)
    numbers = {name for name, value in told.items() if isinstance(value.value, int | float)}
    assert numbers >= PLOTTED[asset] | {"dagster/row_count", "bytes", "seconds"}


@pytest.mark.parametrize("asset", list(PICTURES))
def test_the_pictures_are_small_pngs_behind_a_click(held_home, asset):
    told = materialized(held_home, asset)
    for name in PICTURES[asset]:
        text = told[name].value
        start = f"![{name}](data:image/png;base64,"
        assert text.startswith(start)
        png = base64.b64decode(text.removeprefix(start).removesuffix(")"))
        assert png.startswith(PNG)
        assert len(png) <= MOST_PICTURE_BYTES


@pytest.mark.parametrize("asset", list(TABLES))
def test_the_columns_of_a_table_are_those_of_its_file_and_are_described(held_home, asset):
    shown = materialized(held_home, asset)["dagster/column_schema"].value.columns
    frame = pl.scan_parquet(Store(held_home / "store").get(asset, DAY).file(TABLES[asset]))
    assert [(column.name, column.type) for column in shown] == [
        (name, str(kind)) for name, kind in frame.collect_schema().items()
    ]
    assert [column.name for column in shown if not column.description] == []


def test_every_asset_says_what_it_runs_on_and_when():
    tags = {spec.key.to_user_string(): spec.tags for spec in defs.resolve_all_asset_specs()}
    for asset, stage in ALL_STAGES.items():
        assert tags[asset]["device"] == ("gpu" if stage.gpu else "cpu")
    runs = {asset: tags[asset]["runs"] for asset in ("movies", "report", "ridge_predictor", "champion", "evaluation")}
    assert runs == {
        "movies": "daily",
        "report": "daily",
        "ridge_predictor": "training",
        "champion": "training",
        "evaluation": "on_demand",
    }


@pytest.mark.parametrize("source", ["sample", "/data/imdb"])
def test_a_source_that_does_not_change_by_itself_grows_no_older(source):
    assert expected_again(Settings(source=source)) is None


def test_an_asset_is_expected_again_within_the_hours_of_the_settings():
    settings = Settings(
        source="https://example.org/dumps",
        alerts=AlertSettings(stale_hours=30),
        training=TrainingSettings(every_days=7),
    )
    assert expected_again(settings) == dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=30))
    trained = expected_again(settings, trained=True)
    assert trained == dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=30 + 7 * 24))


def test_a_picture_that_is_too_large_is_left_out():
    assert list(pictures({"small": PNG, "large": PNG + bytes(MOST_PICTURE_BYTES)})) == ["small"]


def test_a_table_shows_floats_to_four_decimals_and_what_is_no_plain_value_as_text():
    shown = table([{"mse": 0.123456, "n": 3, "yes": True, "none": None, "list": [1, 2]}])
    assert shown.records[0].data == {"mse": 0.1235, "n": 3, "yes": True, "none": None, "list": "[1, 2]"}


def test_a_column_that_nothing_is_known_of_has_its_type_alone():
    assert [(column.name, column.type) for column in columns({"novel": "Int8"}).columns] == [("novel", "Int8")]


def test_the_leaderboard_is_drawn_with_a_predictor_that_is_far_below_the_mean():
    rows = [
        {"model": "ridge", "r2": 0.2, "r2_low": -0.1, "r2_high": 0.4},
        {"model": "linear", "r2": -3.3, "r2_low": -8.0, "r2_high": -1.2},
    ]
    assert draw_leaderboard(rows).startswith(PNG)


@pytest.mark.parametrize(("movies", "drawn"), [(19, False), (20, True), (500, True)])
def test_the_calibration_is_drawn_of_two_groups_of_ten_and_more(movies, drawn):
    draw = np.random.default_rng(0)
    prediction = draw.uniform(4, 8, movies)
    frame = pl.DataFrame({"split": "test", "prediction": prediction, "average_rating": prediction + 0.1})
    png = draw_calibration(frame)
    assert (png is not None) == drawn
    assert png is None or png.startswith(PNG)
