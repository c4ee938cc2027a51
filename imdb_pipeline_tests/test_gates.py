"""What gates refuse, let through with a warning, or let through on somebody's word; on a small catalogue."""

import gzip
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from imdb_pipeline.definitions import defs
from imdb_pipeline.dumps.sample import write_sample
from imdb_pipeline.orchestration.instance import open_instance
from imdb_pipeline.quarantine import refusals
from imdb_pipeline.settings import load_settings
from imdb_pipeline.store import Store
from imdb_pipeline_tests.commands import run_command

pytestmark = pytest.mark.slow

FIRST, SECOND = "2026-03-04", "2026-03-05"
DUMPS = ("title_basics_dump", "title_ratings_dump", "title_principals_dump", "name_basics_dump")
TO_DOCUMENTS = (*DUMPS, "movies", "movie_documents")


def materialize(home: Path, day: str, *assets: str) -> dg.ExecuteInProcessResult:
    with open_instance(home) as instance:
        return defs.resolve_job_def("everything").execute_in_process(
            instance=instance,
            partition_key=day,
            asset_selection=[dg.AssetKey(asset) for asset in assets],
            run_config={"resources": {"home": {"config": {"path": str(home)}}}},
            raise_on_error=False,
        )


@pytest.fixture(scope="module")
def first_day(tmp_path_factory):
    home = tmp_path_factory.mktemp("gates") / "home"
    write_sample(home / "dumps", movies=60)
    (home / "settings.toml").write_text('source = "dumps"\n')
    assert materialize(home, FIRST, *TO_DOCUMENTS).success
    return home


@pytest.fixture
def home(first_day, tmp_path):
    return shutil.copytree(first_day, tmp_path / "home")


def edit(home: Path, file: str, change: Callable[[list[str]], list[str]]) -> None:
    """Rewrite a dump of the source: ``change`` gets its rows and returns those to write."""
    path = home / "dumps" / f"{file}.tsv.gz"
    header, *rows = gzip.decompress(path.read_bytes()).decode().rstrip("\n").split("\n")
    path.write_bytes(gzip.compress(("\n".join([header, *change(rows)]) + "\n").encode(), 1, mtime=0))


def cells(row: str, **changed: str) -> str:
    """Return a row with cells replaced, by ``c`` and their index."""
    parts = row.split("\t")
    for name, value in changed.items():
        parts[int(name[1:])] = value
    return "\t".join(parts)


def is_movie(row: str) -> bool:
    return row.split("\t")[1] in ("movie", "tvMovie")


def grown(rows: list[str]) -> list[str]:
    return rows + [re.sub(r"^(..)", rf"\g<1>9{number % 10}", row) for number, row in enumerate(rows[: len(rows) // 12])]


def twice_a_movie(rows: list[str]) -> list[str]:
    first = next(row for row in rows if is_movie(row))
    return [*rows, first]


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, dg.AssetCheckEvaluation]]:
    found: dict[str, dict[str, dg.AssetCheckEvaluation]] = {}
    for check in result.get_asset_check_evaluations():
        found.setdefault(check.asset_key.to_user_string(), {})[check.check_name] = check
    return found


REFUSED_FILES = [
    ("title.principals", lambda rows: rows[: int(len(rows) * 0.96)], "row_count", "rows .* (-4.0%); at most"),
    ("title.basics", grown, "row_count", "at most .* more"),
    ("title.ratings", lambda rows: [cells(rows[0], c1="11.5"), *rows[1:]], "title_ratings_table", "11.5"),
    ("name.basics", lambda rows: [], "whole_gzip", "no row after the header"),
]


@pytest.mark.parametrize(("file", "change", "gate", "says"), REFUSED_FILES, ids=["lost", "grown", "range", "empty"])
def test_one_bad_file_refuses_all_four_and_is_kept_aside_with_the_reason(home, file, change, gate, says):
    edit(home, file, change)
    result = materialize(home, SECOND, *DUMPS)
    assert not result.success
    store, asset = Store(home / "store"), file.replace(".", "_") + "_dump"
    assert [store.days(dump) for dump in DUMPS] == [[FIRST]] * 4
    checks = checks_of(result)
    assert not checks[asset][gate].passed
    assert re.search(says.replace("(", r"\(").replace(")", r"\)"), str(checks[asset][gate].description))
    for dump in DUMPS:
        assert checks[dump]["snapshot_accepted"].passed == (dump == asset), dump
    (told,) = refusals(home)
    assert (told["day"], told["reason"]) == (SECOND, checks[asset][gate].description)
    kept = {path.name for path in Path(told["folder"]).iterdir()}
    assert {f"{file}.tsv.gz", "reason.json"} <= kept
    assert len(kept) == 5
    refused = run_command("fetch", "--home", home, "--day", SECOND)
    assert refused.status == 1
    assert str(checks[asset][gate].description) in refused.err
    assert ("--override" in refused.err) == (gate == "row_count")


def rename_movies(rows: list[str]) -> list[str]:
    return [cells(row, c2=f"Another {row[:9]}") if is_movie(row) else row for row in rows]


def forget_runtimes(rows: list[str]) -> list[str]:
    movies = 0
    kept = []
    for row in rows:
        movies += is_movie(row)
        kept.append(cells(row, c7=r"\N") if is_movie(row) and movies % 2 else row)
    return kept


REFUSED_MOVIES = [
    ("title.basics", twice_a_movie, "unique_keys", "stands 2 times"),
    ("title.basics", rename_movies, "changed_movies", r"movies changed since 2026-03-04 \(100.0%\)"),
    ("title.basics", forget_runtimes, "null_rates", "movies without runtime_minutes"),
    (
        "title.basics",
        lambda rows: [cells(row, c1="film") if row.split("\t")[1] == "movie" else row for row in rows],
        "counts",
        "movies .* fewer",
    ),
    (
        "title.basics",
        lambda rows: [cells(row, c7="Drama") if is_movie(row) else row for row in rows],
        "readable_rows",
        "first line .*: .*runtimeMinutes",
    ),
    (
        "title.basics",
        lambda rows: [
            cells(row, c5="9999") if number == 0 else row for number, row in enumerate(sorted(rows, key=is_movie)[::-1])
        ],
        "movies_table",
        "column release_year: 9999",
    ),
    (
        "name.basics",
        lambda rows: [re.sub(r"^nm", "nm99", row) for row in rows],
        "known_people",
        "credits of movies whose person is missing",
    ),
    (
        "title.ratings",
        lambda rows: [re.sub(r"^tt", "tt99", row) if number % 2 else row for number, row in enumerate(rows)],
        "known_titles",
        "ratings whose title is missing",
    ),
]


@pytest.mark.parametrize(("file", "change", "gate", "says"), REFUSED_MOVIES, ids=[each[2] for each in REFUSED_MOVIES])
def test_movies_that_cannot_be_right_are_refused_and_what_is_downstream_runs_on_nothing(home, file, change, gate, says):
    edit(home, file, change)
    result = materialize(home, SECOND, *TO_DOCUMENTS)
    assert not result.success
    check = checks_of(result)["movies"][gate]
    assert not check.passed
    assert re.search(says, str(check.description))
    store = Store(home / "store")
    assert store.days("movies") == store.days("movie_documents") == [FIRST]
    (told,) = refusals(home)
    assert told["asset"] == "movies"
    assert len(list(Path(told["folder"]).glob("*.tsv.gz"))) == 4
    if gate not in ("changed_movies", "null_rates", "counts"):
        assert "sample rows" in check.metadata
    alone = materialize(home, SECOND, "movie_documents")
    assert not alone.success
    failure = alone.failure_data_for_node("movie_documents")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert f"movies of {SECOND} is not published" in str(failure.user_failure_data.description)


def test_what_is_new_or_left_out_is_a_warning(home):
    def a_new_category(rows: list[str]) -> list[str]:
        return [cells(row, c3="stunts") if number % 100 == 0 else row for number, row in enumerate(rows)]

    edit(home, "title.principals", a_new_category)
    edit(home, "title.basics", lambda rows: [*rows, "tt9999999\tmovie\tCut Off"])
    result = materialize(home, SECOND, *TO_DOCUMENTS)
    assert result.success
    checks = checks_of(result)["movies"]
    warned = {name for name, check in checks.items() if not check.passed}
    assert warned == {"categories", "rejected_rows"}
    assert {checks[name].severity for name in warned} == {dg.AssetCheckSeverity.WARN}
    assert "new: stunts" in str(checks["categories"].description)
    assert "1 rows left out" in str(checks["rejected_rows"].description)
    assert refusals(home) == []


def test_an_override_lets_one_snapshot_through_and_stays_on_record(home):
    edit(home, "title.principals", lambda rows: rows[: int(len(rows) * 0.96)])
    run = ["fetch", "--home", home, "--day", SECOND]
    gate = "title_principals_dump/row_count"
    assert run_command(*run).status == 1
    for wrong, says in (
        (["--override", gate], "--because"),
        (["--override", "title_principals_dump/whole_gzip", "--because", "x"], "no gate that can be overridden"),
        (["--because", "x"], "--because needs --override"),
    ):
        refused = run_command(*run, *wrong)
        assert refused.status == 1
        assert says in refused.err
    done = run_command(*run, "--override", gate, "--because", "IMDb dropped the podcasts")
    assert done.status == 0, done.err
    checks = Store(home / "store").get("title_principals_dump", SECOND).manifest["info"]["checks"]
    (recorded,) = [check for check in checks if check["name"] == "row_count"]
    assert (recorded["passed"], recorded["overridden"]) == (False, "IMDb dropped the podcasts")
    assert refusals(home) == []
    edit(home, "title.principals", lambda rows: rows[: int(len(rows) * 0.9)])
    assert run_command("fetch", "--home", home, "--day", "2026-03-06").status == 1


def test_a_longer_gap_lets_more_through(home):
    edit(home, "title.principals", lambda rows: rows[: int(len(rows) * 0.96)])
    assert run_command("fetch", "--home", home, "--day", "2026-03-07").status == 0


def test_a_loss_that_was_refused_does_not_become_right_by_waiting(home):
    edit(home, "title.principals", lambda rows: rows[: int(len(rows) * 0.96)])
    for day in (SECOND, "2026-03-06", "2026-03-07"):
        assert run_command("fetch", "--home", home, "--day", day).status == 1


def test_a_gap_of_months_is_no_licence(home):
    edit(home, "title.principals", lambda rows: rows[: len(rows) // 2])
    assert run_command("fetch", "--home", home, "--day", "2026-06-07").status == 1


def test_thresholds_are_settings(home):
    edit(home, "title.principals", lambda rows: rows[: int(len(rows) * 0.96)])
    with (home / "settings.toml").open("a") as file:
        file.write("[gates]\nmax_row_loss = 0.1\n")
    assert load_settings(home).gates.max_row_loss == 0.1
    assert run_command("fetch", "--home", home, "--day", SECOND).status == 0


def test_the_same_bytes_again_are_said_to_be_unchanged(home):
    edit(home, "title.ratings", lambda rows: rows[::-1])
    assert materialize(home, SECOND, *DUMPS).success
    checks = {
        asset: {each["name"]: each for each in Store(home / "store").get(asset, SECOND).manifest["info"]["checks"]}
        for asset in DUMPS
    }
    assert checks["title_ratings_dump"]["new_content"]["passed"]
    for asset in DUMPS:
        if asset != "title_ratings_dump":
            assert f"unchanged since {FIRST}" in checks[asset]["new_content"]["message"]


def test_dumps_of_two_publications_are_not_mixed(home):
    edit(home, "title.ratings", lambda rows: rows[::-1])
    assert materialize(home, FIRST, "title_ratings_dump").success
    mixed = materialize(home, FIRST, "movies")
    failure = mixed.failure_data_for_node("movies")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "are of different publications" in str(failure.user_failure_data.description)
    assert materialize(home, FIRST, *TO_DOCUMENTS).success


def test_the_reason_can_be_read_without_any_tool(home):
    edit(home, "title.principals", lambda rows: rows[: int(len(rows) * 0.96)])
    materialize(home, SECOND, *DUMPS)
    (told,) = refusals(home)
    reason = json.loads((Path(told["folder"]) / "reason.json").read_text())
    assert reason["day"] == SECOND
    assert "title.principals.tsv.gz: rows" in reason["reason"]
    assert set(reason["gates"]) == set(DUMPS)
