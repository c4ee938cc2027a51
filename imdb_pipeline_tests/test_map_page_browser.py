"""The page of the map in headless Chromium, opened from disk, its network watched; WebGL is drawn by software here."""

import json
import re
from pathlib import Path

import polars as pl
import pytest

from imdb_pipeline.results.map_page import FILE, MAX_BYTES, write_map_page
from imdb_pipeline_tests.browser import Page, opened_page
from imdb_pipeline_tests.drawn_map import Drawn, draw_catalogue

pytestmark = [pytest.mark.slow, pytest.mark.extra]

MOVIES = 1500
BEST_KNOWN = "Amélie's Café: Ænima"
HARMFUL = "<img src=x onerror='hurt=1'></script><script>hurt=1</script> \u202eround"
READY = "document.documentElement.dataset.ready"
CODES = {"ArrowDown": 40, "ArrowUp": 38, "ArrowRight": 39, "ArrowLeft": 37, "Home": 36}


def catalogue() -> Drawn:
    """Return movies of which the best known and the next best have titles of their own."""
    drawn = draw_catalogue(MOVIES)
    rank = pl.col("num_votes").fill_null(-1).rank("ordinal", descending=True)
    title = pl.when(rank == 1).then(pl.lit(BEST_KNOWN)).when(rank == 2).then(pl.lit(HARMFUL)).otherwise("title")
    return {**drawn, "movies": drawn["movies"].collect().with_columns(title=title).lazy()}


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return catalogue()


@pytest.fixture(scope="module")
def path(tmp_path_factory, drawn) -> Path:
    path = tmp_path_factory.mktemp("map") / FILE
    write_map_page(path, day="2026-03-04", source="folder", **drawn)
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with opened_page(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser, path):
    """The page as opened anew, without motion."""
    open_page(browser, path)
    return browser


def open_page(page: Page, path: Path) -> None:
    page.requests.clear()
    page.complaints.clear()
    page.look(width=1200, height=800)
    still = {"name": "prefers-reduced-motion", "value": "reduce"}
    page.send("Emulation.setEmulatedMedia", features=[still])
    page.open("about:blank")  # so that an address that differs in its end alone is loaded again
    page.open(path.as_uri())
    page.wait_until(READY)


def complaints(page: Page) -> list[str]:
    """What the browser complained of, but for the cost of reading a canvas back, as these tests do."""
    return [line for line in page.complaints if not re.search("GL Driver Message.*ReadPixels|Canvas2D.*readback", line)]


def text(page: Page, selector: str) -> str:
    return page.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")


def press(page: Page, key: str) -> None:
    if key not in CODES:
        page.press(key)
        return
    for kind in ("rawKeyDown", "keyUp"):
        page.send("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=CODES[key])


def search(page: Page, words: str) -> list[str]:
    """Type into the search from nothing, and return the titles that are listed."""
    page.evaluate("document.getElementById('search').focus(); document.getElementById('search').select()")
    page.type_text(words)
    return page.evaluate("[...document.querySelectorAll('#found li bdi')].map(each => each.textContent)")


def drawn_colours(page: Page) -> int:
    """Return how many different colours the canvas of the points has, once what was asked for is drawn."""
    return page.evaluate(
        """new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => {
          const canvas = document.getElementById('points');
          const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
          done(new Set(new Uint32Array(pixels.buffer)).size);
        })))"""
    )


def middle(page: Page) -> tuple[float, float]:
    x, y = page.evaluate(
        "(({x, y, width, height}) => [x + width / 2, y + height / 2])"
        "(document.getElementById('points').getBoundingClientRect())"
    )
    return x, y


def test_it_draws_the_map_and_asks_nothing_of_the_network(page):
    assert page.evaluate("document.documentElement.dataset.map") == "drawn"
    assert drawn_colours(page) > 50
    assert [each for each in page.requests if not re.match(r"about:|file:|data:image/png", each)] == []
    assert complaints(page) == []
    assert text(page, "#left") == f"{MOVIES:,} movies"
    assert page.evaluate("document.getElementById('notice').hidden")


def test_a_title_is_found_by_keyboard_without_its_accents_and_shown_and_left_by_escape(page):
    assert search(page, "amelies cafe aenima")[0] == BEST_KNOWN
    press(page, "Escape")
    assert page.evaluate("document.getElementById('found').hidden")
    assert search(page, "AMELIE")[0] == BEST_KNOWN
    press(page, "ArrowDown")
    assert page.evaluate("document.querySelector('#found [aria-selected=true] bdi').textContent") == BEST_KNOWN
    assert page.evaluate("document.getElementById('search').getAttribute('aria-activedescendant')") == "found-0"
    press(page, "Enter")
    assert text(page, "#movie h2").startswith(BEST_KNOWN)
    assert page.evaluate("document.activeElement.id") == "movie-title"
    press(page, "Tab")
    assert page.evaluate("document.activeElement.className") == "near"
    press(page, "Escape")
    assert page.evaluate("document.activeElement.id") == "search"
    assert "search for a title" in text(page, "#movie")
    assert search(page, "no such title at all") == []
    assert "No movie of this map" in text(page, "#searched")


def test_the_details_are_those_of_the_movie_and_its_neighbours_lead_on(page, drawn):
    (movie,) = drawn["movies"].filter(title=BEST_KNOWN).collect().to_dicts()
    (predicted,) = drawn["predictions"].filter(tconst=movie["tconst"]).to_dicts()
    place = drawn["points"]["tconst"].to_list().index(movie["tconst"])
    near = [drawn["points"]["tconst"][other] for other in drawn["neighbours"]["neighbours"][place][:5]]
    assert search(page, movie["tconst"]) == [BEST_KNOWN]
    press(page, "Enter")
    details = text(page, "#movie")
    for expected in (
        str(movie["release_year"]),
        ", ".join(movie["genres"]),
        movie["credits"][0]["name"],
        f"{movie['average_rating']:.1f} of {movie['num_votes']:,} votes",
        f"{predicted['prediction']:.1f}, 90 % interval {predicted['low']:.1f} to {predicted['high']:.1f}",
    ):
        assert expected in details
    link = page.evaluate("(({href, rel, target}) => [href, rel, target])(document.querySelector('#movie a'))")
    assert link == [f"https://www.imdb.com/title/{movie['tconst']}/", "noopener noreferrer", "_blank"]
    assert page.evaluate("location.hash") == f"#{movie['tconst']}"
    page.click("#movie ol li:nth-child(2) button")
    page.wait_until(f"location.hash === '#{near[1]}'")
    other = drawn["movies"].filter(tconst=near[1]).collect()["title"][0]
    assert text(page, "#movie h2").startswith(other)
    assert all(not each.startswith("http") for each in page.requests)


def test_the_map_moves_to_what_is_found_and_a_click_and_the_mouse_find_it_there(page):
    search(page, BEST_KNOWN)
    press(page, "Enter")
    drawn_colours(page)
    page.click("#close")
    assert "search for a title" in text(page, "#movie")
    page.move_mouse(*middle(page))
    page.wait_until("!document.getElementById('tip').hidden")
    hovered = text(page, "#tip bdi")
    page.click("#points")
    page.wait_until("document.getElementById('movie-title')")
    assert text(page, "#movie h2 bdi") == hovered == BEST_KNOWN


def test_filters_leave_what_they_say_and_show_all_takes_them_back(page, drawn):
    movies = drawn["movies"].collect()
    page.evaluate("document.getElementById('from').focus()")
    page.type_text("2010")
    page.evaluate("document.getElementById('to').focus()")
    page.type_text("2019")
    dated = movies.filter(pl.col("release_year").is_between(2010, 2019))
    page.wait_until(f"document.getElementById('left').textContent === '{len(dated):,} of {MOVIES:,} movies'")
    page.evaluate("document.getElementById('votes').focus()")
    for _ in range(4):
        press(page, "ArrowRight")
    left = dated.filter(pl.col("num_votes") >= 300)
    page.wait_until(f"document.getElementById('left').textContent === '{len(left):,} of {MOVIES:,} movies'")
    assert page.evaluate("document.getElementById('votes').getAttribute('aria-valuetext')") == "300 or more"
    few = drawn_colours(page)
    page.click("#reset")
    page.wait_until(f"document.getElementById('left').textContent === '{MOVIES:,} movies'")
    assert drawn_colours(page) > few


def test_colours_change_with_their_legend_and_errors_are_those_of_unseen_movies_alone(page, drawn):
    rows = drawn["predictions"].join(drawn["movies"].collect(), on="tconst")
    unseen = rows.filter(pl.col("average_rating").is_not_null(), pl.col("basis") != "future")
    assert page.evaluate("[...document.getElementById('colour').options].map(each => each.value)") == [
        "rating",
        "prediction",
        "error",
        "year",
        "genre",
    ]
    for name, told in {
        "rating": f"not rated {rows['average_rating'].null_count()}",
        "prediction": "predicted rating",
        "error": f"not rated, or the model knew the rating {MOVIES - len(unseen):,}",
        "year": "release year",
        "genre": "other genres",
    }.items():
        page.evaluate(
            f"(select => {{ select.value = '{name}'; select.dispatchEvent(new Event('change')); }})"
            "(document.getElementById('colour'))"
        )
        page.wait_until("performance.getEntriesByName('colour').length")
        assert told in " ".join(text(page, "#legend").split()), name
        assert drawn_colours(page) > 8
    assert complaints(page) == []


def test_the_map_is_moved_by_keys_and_buttons(page):
    page.evaluate("document.getElementById('points').focus()")
    looks = [page.evaluate("document.getElementById('over').toDataURL()")]
    for key in ("ArrowRight", "ArrowUp", "Home"):
        press(page, key)
        drawn_colours(page)
        looks.append(page.evaluate("document.getElementById('over').toDataURL()"))
    page.click("#in")
    drawn_colours(page)
    looks.append(page.evaluate("document.getElementById('over').toDataURL()"))
    assert len(set(looks)) == len(looks) - 1
    assert looks[0] == looks[3]


def test_fingers_pan_and_zoom(page):
    x, y = middle(page)
    views = [page.evaluate("document.getElementById('over').toDataURL()")]
    for fingers in ([[(0, 0)], [(60, 30)]], [[(-20, 0), (20, 0)], [(-80, 0), (80, 0)]]):
        for kind, at in zip(("touchStart", "touchMove"), fingers, strict=True):
            points = [{"x": x + dx, "y": y + dy, "id": number} for number, (dx, dy) in enumerate(at)]
            page.send("Input.dispatchTouchEvent", type=kind, touchPoints=points)
        page.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        drawn_colours(page)
        views.append(page.evaluate("document.getElementById('over').toDataURL()"))
    assert len(set(views)) == 3
    assert "search for a title" in text(page, "#movie")


def test_a_title_that_means_harm_is_text_wherever_it_is_shown(page):
    assert search(page, "onerror") == [HARMFUL.replace("\u202e", "")]
    press(page, "Enter")
    assert text(page, "#movie h2").startswith("<img src=x")
    assert page.evaluate("document.querySelectorAll('#movie img, #found img').length") == 0
    assert page.evaluate("typeof hurt") == "undefined"
    assert complaints(page) == []


def test_it_follows_the_system_into_the_dark_and_onto_a_small_screen(page):
    page.look(dark=True, width=380, height=700)
    page.wait_until("getComputedStyle(document.body).backgroundColor === 'rgb(27, 27, 31)'")
    assert drawn_colours(page) > 20
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.evaluate("document.getElementById('points').clientHeight") > 300
    assert complaints(page) == []


def test_without_a_champion_or_of_a_sample_it_offers_neither_predictions_nor_a_link(browser, drawn, tmp_path):
    nothing = {**drawn, "predictions": drawn["predictions"].clear()}
    write_map_page(tmp_path / FILE, day="2026-03-04", source="sample", **nothing)
    open_page(browser, tmp_path / FILE)
    names = "[...document.getElementById('colour').options].map(each => each.value)"
    assert browser.evaluate(names) == ["rating", "year", "genre"]
    search(browser, BEST_KNOWN)
    press(browser, "Enter")
    assert "Prediction" not in text(browser, "#movie")
    assert browser.evaluate("document.querySelectorAll('a').length") == 0
    assert complaints(browser) == []


def test_data_that_cannot_be_read_leave_the_picture_and_say_so(browser, path, tmp_path):
    html = path.read_text()
    start = html.index('id="data">') + len('id="data">')
    (tmp_path / FILE).write_text(html[: start + 4000] + "A" * 400 + html[start + 4400 :])
    open_page(browser, tmp_path / FILE)
    assert "The map could not be drawn" in text(browser, "#notice")
    assert browser.evaluate("document.getElementById('picture').getBoundingClientRect().height") > 300


def test_without_scripts_there_is_the_picture(browser, path):
    browser.look(scripts=False)
    try:
        browser.open("about:blank")
        browser.open(path.as_uri())
        shown = browser.send("DOM.getDocument", depth=-1)
        assert "Without JavaScript" in json.dumps(shown)
        tree = json.dumps(browser.send("Accessibility.getFullAXTree"))
        assert "Map of the movies, coloured by rating" in tree
    finally:
        browser.look()


def test_without_webgl_it_says_so_and_the_picture_search_and_details_are_there(path, tmp_path):
    with opened_page(tmp_path / "profile", "--disable-3d-apis") as page:
        open_page(page, path)
        assert page.evaluate("document.documentElement.dataset.map") == "picture"
        assert "has no WebGL" in text(page, "#notice")
        assert page.evaluate("document.getElementById('picture').getBoundingClientRect().height") > 300
        assert search(page, "amelie")[0] == BEST_KNOWN
        press(page, "Enter")
        assert text(page, "#movie h2").startswith(BEST_KNOWN)
        page.click("#movie ol button")
        page.wait_until(f"!document.getElementById('movie-title').innerText.startsWith({json.dumps(BEST_KNOWN)})")
        assert complaints(page) == []


def test_240_thousand_movies_load_and_are_searched_and_filtered(browser, tmp_path):
    drawn = draw_catalogue(240_000)
    counts = write_map_page(tmp_path / FILE, day="2026-03-04", source="folder", **drawn)
    assert counts["movies"] == 240_000
    assert (tmp_path / FILE).stat().st_size == counts["bytes"] < MAX_BYTES
    open_page(browser, tmp_path / FILE)
    assert browser.evaluate("document.documentElement.dataset.map") == "drawn"
    (best,) = drawn["movies"].sort("num_votes", descending=True, nulls_last=True).head(1).collect().to_dicts()
    assert search(browser, best["title"])
    browser.evaluate("document.getElementById('from').focus()")
    browser.type_text("2020")
    left = drawn["movies"].filter(pl.col("release_year") >= 2020).select(pl.len()).collect().item()
    browser.wait_until(f"document.getElementById('left').textContent === '{left:,} of 240,000 movies'")
    assert drawn_colours(browser) > 100
    assert complaints(browser) == []
