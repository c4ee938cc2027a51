"""The report in a browser, opened from disk: no request, no error, tables that sort and fold, both themes, paper."""

from __future__ import annotations

import pytest

from imdb_pipeline.store import Store
from imdb_pipeline_tests.browser import Page, opened_page

pytestmark = [pytest.mark.slow, pytest.mark.extra]

BOARD = "#models table.sorts"
CELLS = f"[...document.querySelectorAll('{BOARD}')[0].tBodies[0].rows].map(row => row.cells[%d].textContent)"
CONTRAST = """(() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parts(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  const texts = "p, li, a, th, td, dt, dd, b, caption, figcaption, summary, button, svg text, .soft";
  for (const element of document.querySelectorAll(texts)) {
    if (!element.textContent.trim()) continue;
    const style = getComputedStyle(element);
    const ink = light(parts(element.closest("svg") ? style.fill : style.color)), paper = light(ground(element));
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    if (ratio < 4.5) poor.push([element.tagName, element.className.toString(), ratio.toFixed(2)]);
  }
  return poor.slice(0, 5);
})()"""
CUT_OFF = """[...document.querySelectorAll(".scroll")].filter((each) => each.scrollWidth > each.clientWidth + 1)
  .map((each) => each.textContent.trim().slice(0, 60))"""


@pytest.fixture(scope="module")
def address(held_home) -> str:
    return Store(held_home / "store").released("report").file("report.html").as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with opened_page(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture
def page(browser, address):
    browser.look()
    browser.requests.clear()
    browser.complaints.clear()
    browser.open(address)
    return browser


def asked_for(page: Page) -> list[str]:
    return [request for request in page.requests if not request.startswith("data:")]


def test_it_opens_without_a_request_or_a_complaint_and_all_pictures_are_there(page, address):
    page.wait_until("[...document.images].every(image => image.complete && image.naturalWidth)")
    assert asked_for(page) == [address]
    assert page.complaints == []
    assert page.evaluate("document.querySelectorAll('svg.chart').length") > 5
    assert page.evaluate("document.querySelector('script').textContent.length") > 100


def test_a_script_that_came_in_with_the_data_would_not_run(page):
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    )
    assert page.evaluate("window.ran") is None
    assert any("Content Security Policy" in complaint for complaint in page.complaints)


def test_tables_sort_by_number_with_the_mouse_and_with_the_keyboard(page):
    names = page.evaluate(CELLS % 0)
    heads = f"{BOARD} thead th"
    sort_of = f"document.querySelectorAll('{heads}')[%d].getAttribute('aria-sort')"
    assert page.evaluate(sort_of % 2) is None
    page.click(f"{heads}:nth-child(3) button")
    errors = [float(cell) for cell in page.evaluate(CELLS % 2)]
    assert errors == sorted(errors, reverse=True)
    assert page.evaluate(sort_of % 2) == "descending"
    page.evaluate(f"document.querySelector('{heads}:nth-child(3) button').focus()")
    page.press("Enter")
    errors = [float(cell) for cell in page.evaluate(CELLS % 2)]
    assert errors == sorted(errors)
    assert page.evaluate(sort_of % 2) == "ascending"
    page.evaluate(f"document.querySelector('{heads}:nth-child(1) button').focus()")
    page.press(" ")
    assert page.evaluate(CELLS % 0) == sorted(names)
    assert page.evaluate(sort_of % 0) == "ascending"
    assert page.evaluate(sort_of % 2) is None


def test_long_tables_fold_and_unfold(page):
    shown = "[...document.querySelector('#surprises table').tBodies[0].rows].filter(row => row.offsetHeight).length"
    assert page.evaluate(shown) == 10
    page.click("#surprises .more")
    assert page.evaluate(shown) == 25
    assert page.evaluate("document.querySelector('#surprises .more').getAttribute('aria-expanded')") == "true"


def test_without_scripts_every_row_is_there_and_nothing_looks_clickable_that_is_not(page, address):
    page.look(scripts=False)
    page.open(address)
    page.look()  # what follows asks the page by script, which runs none of its own any more
    assert page.evaluate("document.querySelectorAll('th button, .more').length") == 0
    shown = "[...document.querySelector('#surprises table').tBodies[0].rows].filter(row => row.offsetHeight).length"
    assert page.evaluate(shown) == 25


@pytest.mark.parametrize("dark", [False, True])
def test_both_themes_can_be_read(page, address, dark):
    page.look(dark=dark)
    page.open(address)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
    assert (ground < 60) is dark
    assert page.evaluate(CONTRAST) == []
    source = page.evaluate("document.querySelector('.map img').currentSrc.slice(-400)")
    themes = "[document.querySelector('.map source').srcset, document.querySelector('.map img').src]"
    dark_source, light_source = page.evaluate(f"{themes}.map(address => address.slice(-400))")
    assert source == (dark_source if dark else light_source)


def test_on_paper_there_is_no_navigation_and_nothing_is_cut_off(page, address):
    page.look(printed=True, dark=True, width=690)
    page.open(address)
    assert page.evaluate("document.querySelector('nav').offsetHeight") == 0
    assert page.evaluate(CUT_OFF) == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    cite = page.evaluate("getComputedStyle(document.querySelector('a.cite'), '::after').content")
    assert "minimaxir.com" in cite


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_itself_never_scrolls_sideways(page, address, width):
    page.look(width=width)
    page.open(address)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
