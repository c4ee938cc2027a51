"""The parts of the report: charts, the raster of the map, the lists of movies, the days, its policy and its links."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
import zlib
from datetime import date, timedelta
from html import unescape

import numpy as np
import polars as pl
import pytest

from imdb_pipeline.results.charts import Chart, curves, histogram, tick_text, ticks
from imdb_pipeline.results.map_raster import Frame, draw_points
from imdb_pipeline.results.report import write_report
from imdb_pipeline.results.report_catalogue import genres, ratings, years
from imdb_pipeline.results.report_days import HISTORY, days_section, earlier_days
from imdb_pipeline.results.report_learnt import by_field
from imdb_pipeline.results.report_making import LINKED
from imdb_pipeline.results.report_maps import panel_years
from imdb_pipeline.results.report_notable import FEWEST, coming, surprises
from imdb_pipeline.results.report_study import side_by_side
from imdb_pipeline.store import Store
from imdb_pipeline_tests.conftest import DAY
from imdb_pipeline_tests.published_by_hand import publish_by_hand

EVIL = "\x1b[31m\u202e<script>\x00\"'&\n"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (-0.2, 0.4, [-0.2, 0, 0.2, 0.4]), (3, 3, [3]), (0, 0, [0])],
)
def test_ticks_are_round_numbers_within_the_axis(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)
    assert [tick_text(value) for value in (0.30000000004, -1.5, 12_000, 0.0)] == ["0.3", "−1.5", "12,000", "0"]


def test_a_chart_of_one_value_or_one_point_can_be_drawn_and_escapes_its_texts():
    for chart in (
        curves([[(1.0, 2.0)]], EVIL, EVIL, EVIL),
        curves([[(1.0, 0.0), (2.0, 0.0)]], EVIL, "", EVIL, from_zero=True),
        histogram([(0.5, 1.5, 3)], EVIL, EVIL, EVIL),
        Chart((0, 0), (5, 5)).grid(EVIL, x_ticks=[(0, EVIL)]).svg(EVIL),
    ):
        assert "<script" not in chart
        assert "&lt;script&gt;" in chart
        assert not re.search(r"nan|inf", chart.lower())


def pixels(address: str) -> np.ndarray:
    """Return the colour indices of a PNG of ours."""
    png = base64.b64decode(address.split(",")[1])
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    start = png.index(b"IDAT")
    (length,) = struct.unpack(">I", png[start - 4 : start])
    rows = np.frombuffer(zlib.decompress(png[start + 4 : start + 4 + length]), np.uint8)
    return rows.reshape(height, width + 1)[:, 1:]


def test_movies_are_where_the_map_has_them_the_unrated_below_and_both_themes_show_the_same():
    x, y = np.array([0.0, 10.0, 5.0]), np.array([0.0, 10.0, 5.0])
    picture = draw_points(x, y, np.array([1.0, 9.0, np.nan]), Frame(-5, 15, -5, 15), width=200, low=1, high=9)
    shown = pixels(picture.light)
    assert shown.shape == (200, 200)
    assert (shown == pixels(picture.dark)).all()
    assert picture.light != picture.dark
    low, high, unrated = shown[150, 50], shown[50, 150], shown[100, 100]
    assert 0 < low < high < unrated
    assert shown[10, 10] == 0


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_map_of_hardly_any_movies_can_be_drawn(count):
    x = np.arange(count, dtype=np.float64)
    frame = Frame.around(x, x * 0, shape=0.75)
    assert pixels(draw_points(x, x * 0, x, frame, width=80, low=5, high=5).light).shape == (60, 80)


def test_release_years_with_movies_enough_have_a_panel_where_there_are_two():
    many = [year for year in range(1990, 2010) for _ in range(20)]
    assert panel_years(pl.Series([*many, 2020, None])) == list(range(1998, 2010))
    assert panel_years(pl.Series([2001] * 50 + [2002] * 3)) == []


def predicted(count: int, votes: int, **columns) -> pl.DataFrame:
    error = pl.int_range(count, eager=True) / count
    return pl.DataFrame(
        {
            "tconst": [f"tt{votes}_{row}" for row in range(count)],
            "prediction": [6.0] * count,
            "low": [5.5] * count,
            "high": [6.5] * count,
            "basis": ["held_out"] * count,
            "average_rating": 6.0 + error,
            "num_votes": [votes] * count,
        }
    ).with_columns(**{name: pl.lit(value) for name, value in columns.items()})


def test_surprises_have_votes_enough_and_a_prediction_of_a_model_that_had_not_seen_them():
    popular = predicted(FEWEST, 1_000)
    titled = pl.concat(
        [
            popular,
            predicted(50, 40, average_rating=1.0),
            predicted(FEWEST, 90_000, average_rating=9.9, basis="few_votes"),
            predicted(FEWEST, 90_000, average_rating=9.9, basis="future"),
        ]
    )
    found = surprises(titled, min_votes=30)
    assert found is not None
    assert (found["votes"], found["movies"], found["by_basis"]) == (1_000, FEWEST, {"held_out": FEWEST})
    assert found["higher"][0]["tconst"] == f"tt1000_{FEWEST - 1}"
    assert found["lower"] == []
    assert found["beyond"] == pytest.approx(popular.filter(pl.col("average_rating") > 6.5).height / FEWEST)
    few = surprises(predicted(5, 40), min_votes=30)
    assert few is not None
    assert (few["votes"], few["movies"]) == (30, 5)
    assert surprises(titled.clear(), min_votes=30) is None
    assert coming(titled) is None


def test_the_catalogues_figures_are_of_what_is_known():
    movies = pl.DataFrame({"genres": [["A", "B"], ["A"], None], "average_rating": [6.0, None, 7.0]})
    rows = genres(movies, movies.filter(pl.col("average_rating").is_not_null()))
    assert [(row["genre"], row["movies"], row["rated"], row["mean"]) for row in rows] == [
        ("A", 2, 1, None),
        ("B", 1, 1, None),
    ]
    spread = ratings(pl.Series([4.0, 6.0, 6.0]))
    assert spread is not None
    assert (spread["n"], spread["median"]) == (3, 6.0)
    assert "6: 2" in spread["chart"]
    assert ratings(pl.Series([], dtype=pl.Float64)) is None
    assert years(pl.Series([None, None], dtype=pl.Int32)) is None
    known = years(pl.Series([1999, 2001, 2001, None]))
    assert known is not None
    assert (known["first"], known["last"], known["most"], known["unknown"]) == (1999, 2001, 2001, 1)


def test_what_the_features_of_a_field_add_is_summed_before_its_sign_is_dropped():
    contributions = np.array([[1.0, -1.0, 0.5], [1.0, 1.0, -0.5]])
    assert by_field(contributions, ["title", "title", "genres"]) == [
        {"name": "the title: its words and its form", "points": 1.0},
        {"name": "genres", "points": 0.5},
    ]


def test_the_study_stands_beside_the_predictors_of_the_same_kind():
    row = {"model": "transformer", "test_mse": 1.1, "r2": 0.3, "r2_low": 0.2, "r2_high": 0.4, "validation_mse": 1.0}
    rows = side_by_side([row, {**row, "model": "boosting", "time_r2": 0.1, "time_test_mse": 1.3}], [])
    by_name = {each["predictor"]: each for each in rows}
    assert by_name["transformer, best epoch"]["study"]["r2"] == 0.373
    assert by_name["transformer, best epoch"]["by_id"]["mse"] == 1.1
    assert by_name["transformer, last epoch"]["by_id"] is None
    assert by_name["boosting"]["study"] is None
    assert by_name["boosting"]["by_time"]["mse"] == 1.3
    assert all(each["again"] is None for each in rows)


def days_of(tmp_path, count: int) -> dict:
    """Return so many days of movies, whose first moves every day, with a champion that changes on the third."""
    found = {}
    for number in range(count):
        home = tmp_path / f"day{number}"
        movies = pl.DataFrame(
            {
                "tconst": ["tt1", "tt2", "tt3"],
                "title": [EVIL, "still", "few"],
                "release_year": [2001, 2002, 2003],
                "average_rating": [5.0 + number, 6.0, 9.0 - number],
                "num_votes": [100 + number, 100, 3],
            }
        )
        champion = {"model": "svr", "id": f"svr-{number // 2}", "trained": DAY}
        judged = {"metrics": {"test": {"r2": 0.3 + 0.1 * (number // 2)}}, "by_time": None}
        found[str(date.fromisoformat(DAY) + timedelta(days=number))] = {
            "movies": publish_by_hand(home, "movies", {"movies.parquet": movies}, rows=3 + number),
            "champion": publish_by_hand(home, "champion", {"champion.json": champion, "metrics.json": judged}),
        }
    return found


def test_several_days_show_what_moved_and_which_champion_served(tmp_path):
    found = days_section(days_of(tmp_path, 4), min_votes=30)
    assert found is not None
    assert [chart["title"] for chart in found["charts"]] == ["Movies in the catalogue", "R² on test of the champion"]
    spells = [(spell["champion"], spell["days"], round(spell["r2"], 1)) for spell in found["champions"]]
    assert spells == [("svr-0", 2, 0.3), ("svr-1", 2, 0.4)]
    (mover,) = found["movers"]["rows"]
    assert (mover["tconst"], mover["before"], mover["average_rating"], mover["move"]) == ("tt1", 5.0, 8.0, 3.0)
    assert mover["path"].count(",") == 4
    assert found["rows"][0]["coverage"] is None


def test_one_day_is_no_history_and_two_have_no_movers_of_their_own(tmp_path):
    days = days_of(tmp_path, 2)
    assert days_section({DAY: days[DAY]}, min_votes=30) is None
    two = days_section(days, min_votes=30)
    assert two is not None
    assert two["movers"] is None


def test_days_whose_movies_expired_keep_their_counts(tmp_path):
    days = days_of(tmp_path, 4)
    first = days[DAY]["movies"]
    Store(first.folder.parents[2]).expire(first)
    found = days_section(days, min_votes=30)
    assert found is not None
    assert [row["movies"] for row in found["rows"]] == [3, 4, 5, 6]
    assert found["movers"]["rows"][0]["before"] == 6.0


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b'{"counts"')])
def test_a_file_of_an_earlier_day_that_is_damaged_is_a_gap_and_not_the_end_of_the_report(tmp_path, damage):
    days = days_of(tmp_path, 5)
    first, second = list(days)[:2]
    damage(days[first]["champion"].file("champion.json"))
    damage(days[second]["champion"].file("metrics.json"))
    damage(days[first]["movies"].file("movies.parquet"))
    found = days_section(days, min_votes=30)
    assert found is not None
    assert [row["movies"] for row in found["rows"]] == [3, 4, 5, 6, 7]
    assert found["movers"]["days"] == 4
    assert found["movers"]["rows"][0]["before"] == 6.0


@pytest.fixture(scope="module")
def report(held_home) -> str:
    return Store(held_home / "store").released("report").file("report.html").read_text()


def test_the_policy_names_the_one_style_sheet_and_the_one_script_and_nothing_else_may_run(report):
    policy = unescape(re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', report)[0])
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", report, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not re.search(r"<[^>]+ (?:style|on\w+)=", report)


def test_every_table_has_a_caption_and_every_column_and_row_a_scope(report):
    tables = re.findall(r"<table.*?</table>", report, re.DOTALL)
    assert len(tables) > 10
    for table in tables:
        assert "<caption" in table
        assert "<th>" not in table
        assert '<th scope="row"' in table


def test_the_sample_is_said_to_be_synthetic_and_links_to_no_movie(report):
    assert "<b>Synthetic data.</b>" in report
    assert "imdb.com" not in report


def test_the_links_to_the_other_pages_lead_there_in_the_store(held_home, report):
    store = Store(held_home / "store")
    path = store.released("report").file("report.html")
    links = set(re.findall(r'href="(\.\./[^"]+)"', report))
    pages = {store.released(asset).file(name) for asset, name in LINKED.items()}
    assert {(path.parent / link).resolve() for link in links} == pages


def test_what_the_trees_learnt_stands_in_the_report(report):
    section = report.split('<section id="learnt">')[1].split("</section>")[0]
    assert "exact contributions (TreeSHAP)" in section
    assert '<th scope="row" class="wide">genres</th>' in section


def test_titles_that_a_terminal_or_a_page_would_obey_are_harmless(home, tmp_path):
    store = Store(home / "store")
    revisions = {asset: store.get(asset, DAY) for asset in store.assets() if asset not in ("report", "release")}
    path = revisions["movies"].file("movies.parquet")
    frame = pl.read_parquet(path).with_columns(title=pl.lit(EVIL))
    path.unlink()
    frame.write_parquet(path)
    write_report(tmp_path / "report.html", day=DAY, source="/dumps", revisions=revisions)
    html = (tmp_path / "report.html").read_text()
    body = html.split("<body>")[1].split("<script>")[0]
    assert "�[31m�&lt;script&gt;�&#34;&#39;&amp;�" in body
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", body)
    assert "<script" not in body


@pytest.mark.slow
@pytest.mark.extra
def test_the_next_days_report_shows_the_days_and_is_not_made_twice(home):
    from imdb_pipeline.orchestration.runs import execute, prepare
    from imdb_pipeline.settings import settle

    store = Store(home / "store")
    later = "2026-03-05"
    execute(prepare(home, settle(home), day=later), force=False)
    assert list(earlier_days(store, later)) == [DAY]
    assert set(earlier_days(store, later)[DAY]) == set(HISTORY)
    assert prepare(home, settle(home), day=later).plan.todo == []
    held = store.get("report", later).file("report.html").read_text()
    assert '<section id="days">' in held
