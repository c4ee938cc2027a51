"""The page of the map as it is written: what it holds, what it may load, and titles that mean harm."""

import base64
import gzip
import hashlib
import json
import re
import tomllib
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import imdb_pipeline
from imdb_pipeline import api
from imdb_pipeline.results.map_page import FILE, MAX_BYTES, write_map_page
from imdb_pipeline.results.report import COURTESY
from imdb_pipeline.store import Store
from imdb_pipeline_tests.commands import run_command
from imdb_pipeline_tests.drawn_map import draw_catalogue

RESULTS = Path(imdb_pipeline.__file__).parent / "results"
SOURCES, TEMPLATES = RESULTS / "map_page_js", RESULTS / "templates"
EVIL = [
    "</script><script>alert(1)</script>",
    "<!-- <img src=x onerror=alert(1)>",
    "\"quotes' & `ticks` ${1}",
    "two\nlines\r\nand\x00controls\u2028\u2029",
    "turned \u202eround and \u2066not back",
]


def write(path: Path, n: int = 40, *, source: str = "folder", **changed: object) -> str:
    """Return the HTML of a page of n movies."""
    write_map_page(path, day="2026-03-04", source=source, **{**draw_catalogue(n), **changed})  # pyright: ignore[reportArgumentType]
    return path.read_text()


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    return write(tmp_path_factory.mktemp("page") / FILE)


def unpacked(html: str) -> tuple[dict, dict]:
    """Return the header of a page's data, and its columns: arrays, and lists of lines."""
    text = re.search(r'<script type="application/octet-stream" id="data">([^<]*)</script>', html)
    assert text is not None
    raw = gzip.decompress(base64.b64decode(text.group(1), validate=True))
    start = 4 + int.from_bytes(raw[:4], "little")
    header = json.loads(raw[4:start])
    columns = {}
    for name, told in header["columns"].items():
        part = raw[start + told["offset"] :][: told["bytes"]]
        if told["type"] == "text":
            columns[name] = part.decode().split("\n")
        else:
            dtype = np.dtype(told["type"])
            planes = np.frombuffer(part, np.uint8).reshape(dtype.itemsize, -1)
            columns[name] = np.ascontiguousarray(planes.T).view(dtype).ravel()
    return header, columns


def test_the_page_holds_what_is_known_of_every_movie(tmp_path):
    drawn = draw_catalogue(300)
    header, columns = unpacked(write(tmp_path / FILE, 300))
    ids = [f"tt{number}" for number in columns["ids"]]
    assert sorted(ids) == drawn["points"]["tconst"].to_list()
    assert (np.diff(columns["votes"].astype(np.int64)) >= 0).all()
    known = {row["tconst"]: row for row in drawn["movies"].collect().to_dicts()}
    predicted = {row["tconst"]: row for row in drawn["predictions"].to_dicts()}
    near = dict(zip(drawn["neighbours"]["tconst"], drawn["neighbours"]["neighbours"].to_list(), strict=True))
    cosines = dict(zip(drawn["neighbours"]["tconst"], drawn["neighbours"]["cosines"].to_list(), strict=True))
    directed = iter(columns["directed"])
    for row, tconst in enumerate(ids):
        movie, prediction = known[tconst], predicted[tconst]
        assert columns["titles"][row] == movie["title"]
        assert columns["year"][row] == movie["release_year"]
        assert header["genreLists"][columns["genres"][row]] == movie["genres"]
        assert (columns["votes"][row] or None) == movie["num_votes"]
        assert columns["rating"][row] == round(10 * (movie["average_rating"] or 0))
        assert header["bases"][columns["basis"][row] - 1] == prediction["basis"]
        for name in ("prediction", "low", "high"):
            assert columns[name][row] == round(100 * prediction[name])
        people = [columns["people"][next(directed)] for _ in range(columns["directors"][row])]
        assert people == [credit["name"] for credit in movie["credits"]]
        others = columns["neighbours"].reshape(-1, 5)[row]
        assert [ids[other] for other in others] == [drawn["points"]["tconst"][other] for other in near[tconst][:5]]
        assert columns["cosines"].reshape(-1, 5)[row] == pytest.approx(np.multiply(cosines[tconst][:5], 1000), abs=0.51)


def test_places_keep_their_proportions_and_nearly_all_lie_between_minus_one_and_one(tmp_path):
    drawn = draw_catalogue(400)
    points = drawn["points"].with_columns(y=pl.col("y") / 3)
    points[7, "x"] = 1e6
    header, columns = unpacked(write(tmp_path / FILE, 400, points=points))
    order = [points["tconst"].to_list().index(f"tt{number}") for number in columns["ids"]]
    x, y = points["x"].to_numpy()[order], points["y"].to_numpy()[order]
    near = x < 1e5
    slopes = [np.polyfit(was[near], now[near], 1)[0] for was, now in ((x, columns["x"]), (y, columns["y"]))]
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-3)
    assert (np.abs(columns["x"]) <= 1).mean() > 0.95
    assert np.abs(columns["x"]).max() <= 4
    assert header["half"][0] == 1 > header["half"][1]


def test_titles_that_mean_harm_are_data_and_one_line_each(tmp_path):
    movies = draw_catalogue(40)["movies"].collect()
    titles = [*EVIL, *movies["title"][len(EVIL) :]]
    html = write(tmp_path / FILE, movies=movies.with_columns(title=pl.Series(titles)).lazy())
    assert html.count("<script") == html.count("</script") == 2
    assert "alert(1)" not in html
    header, columns = unpacked(html)
    assert len(columns["titles"]) == header["rows"] == 40
    assert {*EVIL[:3], "two lines and controls ", "turned round and not back"} <= set(columns["titles"])


def test_names_that_mean_harm_and_people_without_one_are_shown_as_text(tmp_path):
    person = pl.struct(nconst=pl.lit("nm1"), category=pl.lit("director"), name=pl.lit(EVIL[0]))
    nameless = pl.struct(nconst=pl.lit("nm2"), category=pl.lit("director"), name=pl.lit(None, pl.String))
    writer = pl.struct(nconst=pl.lit("nm3"), category=pl.lit("writer"), name=pl.lit("Not Shown"))
    movies = draw_catalogue(40)["movies"].with_columns(credits=pl.concat_list(person, writer, nameless, person))
    html = write(tmp_path / FILE, movies=movies, source=EVIL[1])
    _, columns = unpacked(html)
    assert columns["people"] == [EVIL[0], "nm2"]
    assert columns["directors"].tolist() == [2] * 40
    assert "<img src=x" not in html
    assert "&lt;!-- &lt;img" in html


def test_the_policy_lets_the_pages_own_script_and_style_run_and_nothing_else(page):
    html = page
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.group(1).replace("&#39;", "'").split(";"))
    script = html.rsplit("<script>", 1)[1].split("</script>")[0]
    style = html.split("<style>")[1].split("</style>")[0]
    own = [
        "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'" for text in (script, style)
    ]
    assert rules == {
        "default-src": "'none'",
        "script-src": f"{own[0]} 'unsafe-eval'",
        "style-src": own[1],
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_nothing_is_loaded_from_elsewhere_and_only_the_link_to_imdb_leads_away(page):
    html = page
    script = html.rsplit("<script>", 1)[1].split("</script>")[0]
    code = script.split("*/", 1)[1]
    assert set(re.findall(r"https?://[^\s\"'`)]+", html.replace(script, ""))) == {"https://www.imdb.com"}
    assert {address.split("${")[0] for address in re.findall(r"https?://[^\s\"'`)]+", code)} == {
        "https://www.imdb.com/title/",
        "http://www.w3.org/2000/svg",  # the name of SVG
        "http://get.webgl.org",  # in the text of an error
    }
    assert re.findall(r"\s(?:src|href)=\"(?!data:image/png)", html.replace(script, "")) == []
    assert re.findall(r"url\(|@import", html.replace(script, "")) == []
    for call in (
        "fetch(",
        "XMLHttpRequest",
        "sendBeacon",
        "WebSocket(",
        "innerHTML",
        "insertAdjacentHTML",
        "document.write",
    ):
        assert call not in code, call


def test_without_a_champion_the_page_says_nothing_of_predictions(tmp_path):
    html = write(tmp_path / FILE, predictions=draw_catalogue(40)["predictions"].clear())
    header, columns = unpacked(html)
    assert not {"prediction", "low", "high", "basis"} & set(columns)
    assert header["bases"] == []
    assert "predicted" not in html.split("<footer>")[1].split("</footer>")[0]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_handful_of_movies_or_none_makes_a_page(tmp_path, n):
    drawn = draw_catalogue(40)
    kept = drawn["points"].head(n)
    nearest = pl.col("neighbours").list.eval(pl.element().filter(pl.element() < n)).list.head(max(0, n - 1))
    neighbours = (
        drawn["neighbours"]
        .head(n)
        .with_columns(
            neighbours=nearest
            if n == 0
            else pl.Series([[each for each in range(n) if each != row] for row in range(n)], dtype=pl.List(pl.UInt32)),
            cosines=pl.Series([[0.5] * (n - 1)] * n, dtype=pl.List(pl.Float32)),
        )
    )
    header, columns = unpacked(write(tmp_path / FILE, points=kept, neighbours=neighbours))
    assert header["rows"] == n
    assert len(columns["neighbours"]) == n * max(0, n - 1)


def test_a_map_and_neighbours_of_other_movies_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not of the same movies in the same order"):
        write(tmp_path / FILE, neighbours=draw_catalogue(40)["neighbours"].reverse())
    assert not (tmp_path / FILE).exists()


def test_the_same_data_make_the_same_bytes(page, tmp_path):
    assert write(tmp_path / FILE) == page


def test_the_script_is_made_from_its_sources_and_carries_the_licences_of_all_that_is_in_it():
    script = (TEMPLATES / "map_page.min.js").read_text()
    package = json.loads((SOURCES / "package.json").read_text())
    made = hashlib.sha256()
    for path in sorted(
        [*SOURCES.glob("*.js"), *SOURCES.glob("*.mjs"), SOURCES / "package.json"], key=lambda path: path.name
    ):
        made.update(path.read_bytes())
    assert f"sources with sha256 {made.hexdigest()}" in script, "`make map-js` makes it again"
    versions = package["dependencies"] | package["devDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions.values())
    notices = script.split("*/", 1)[0]
    for name in [*package["dependencies"], "kdbush", "simplify-js"]:
        assert f"\n{name} {versions[name]}\n" in notices
    assert notices.count("Copyright") >= len(package["dependencies"])


def test_what_the_page_is_made_of_is_shipped_with_the_package():
    project = tomllib.loads((RESULTS.parents[1] / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["imdb_pipeline"]
    shipped = {path for pattern in patterns for path in RESULTS.parent.glob(pattern)}
    assert {TEMPLATES / f"map_page.{ending}" for ending in ("html.j2", "css", "min.js")} <= shipped


def test_a_run_publishes_the_page_of_its_release_and_the_command_prints_where_it_is(held_home):
    path = Path(run_command("map", "--home", held_home).out.strip())
    assert path == Store(held_home / "store").released("map_page").file(FILE)
    html = path.read_text()
    header, columns = unpacked(html)
    assert {f"tt{number}" for number in columns["ids"]} == set(api.load_map(held_home)["tconst"])
    assert header["bases"]
    assert date.fromisoformat(re.search(r"<title>[^<]*(\d{4}-\d\d-\d\d)</title>", html).group(1))  # pyright: ignore[reportOptionalMemberAccess]
    assert COURTESY not in html  # a sample is nobody's data
    assert path.stat().st_size < MAX_BYTES
    assert f"map: {path}" in (held_home.parent / "first_run.txt").read_text()
