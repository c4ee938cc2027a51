"""The model card holds the same figures in both forms, leaves out what is not there, and runs nothing."""

from __future__ import annotations

import re
from datetime import date
from html import unescape

import polars as pl
import pytest

from imdb_pipeline.models.conformal import coverage
from imdb_pipeline.models.evaluate import calibration
from imdb_pipeline.models.groups import by_group
from imdb_pipeline.results.ledger import Ledger, empty_ledger
from imdb_pipeline.results.ledger_score import score
from imdb_pipeline.results.model_card import card_sections, write_model_card

EVIL = "<script>alert('x')</script> | **b** `c` [d](javascript:e) # &\n\x1b[2J"


def metrics(r2: float | None) -> dict:
    interval = {"r2_low": None, "r2_high": None} if r2 is None else {"r2_low": r2 - 0.031, "r2_high": r2 + 0.029}
    return {"n": 12345, "mse": 1.0625, "mae": 0.8125, "r2": r2, **interval, "beats_mean": True}


def facts() -> dict:
    predictions = pl.DataFrame(
        {
            "low": [5.0, 5.0, 5.0],
            "high": [7.0, 8.0, 7.5],
            "split": ["test"] * 3,
            "average_rating": [6.0, 8.0, 4.0],
            "num_votes": [30, 99, 100],
        }
    )
    judged = pl.DataFrame(
        {
            "rating": [6.0, 8.0, 4.0],
            "prediction": [5.5, 5.5, 5.5],
            "num_votes": [30, 99, 100],
            "release_year": [2017, 2017, None],
            "genres": [[EVIL], None, ["Drama"]],
            "people_seen": [True, False, None],
        }
    )
    judged = pl.concat([judged] * 10)  # groups of fewer than ten movies are not shown
    empty = empty_ledger()
    entry = {"tconst": "tt1", "day": date(2026, 1, 1), "model": EVIL, "prediction": 6.4, "low": 5.0, "high": 8.0}
    entries = pl.DataFrame([{**entry, "training_mean": 6.0, "num_votes": None}], schema=empty.entries.schema)
    grade = {"tconst": "tt1", "graded_day": date(2026, 2, 1), "average_rating": 7.9, "num_votes": 31}
    return {
        "day": "2026-03-04",
        "source": EVIL,
        "imdb": True,
        "min_votes": 30,
        "champion": {"model": "blend", "method": EVIL, "id": "of a day", "settings": {"l2_penalty": 1e-5, "x": [1, 2]}},
        "counts": {"movies": 44289},
        "splits": {"by id": {"train": 21087, "test": 2585}},
        "metrics": {
            "by id": {"validation": metrics(0.4219), "test": metrics(-0.0123)},
            "by time": {"test": metrics(None)},
        },
        "groups": by_group(judged, seed=0),
        "calibration": calibration(judged["prediction"].to_numpy(), judged["rating"].to_numpy(), seed=0),
        "intervals": {"method": "conformal", "reason": EVIL, "n_out_of_fold": 999, "n_validation": 2676},
        "coverage": coverage(predictions),
        "ledger": score(Ledger(entries, pl.DataFrame([grade], schema=empty.grades.schema))),
        "limits": [EVIL],
        "made": {"seed": 7, "device": EVIL, "seconds": 12.5, "commit": None},
    }


@pytest.fixture
def forms(tmp_path):
    def write(given: dict) -> tuple[str, str]:
        write_model_card(tmp_path, given)
        return tuple((tmp_path / f"model_card.{form}").read_text(encoding="utf-8") for form in ("html", "md"))

    return write


def test_both_forms_hold_the_same_words_and_figures(forms):
    html, markdown = forms(facts())
    body = unescape(re.sub(r"<[^>]+>", " ", html.split("<body>")[1]))
    plain = re.sub(r"^\|[-: |]+\|$", "", unescape(re.sub(r"\\(.)", r"\1", markdown)), flags=re.MULTILINE)
    plain = re.sub(r"^(#+|-) |\|", " ", plain, flags=re.MULTILINE)
    assert body.replace("|", " ").split() == plain.split()
    for figure in (
        "0.422 [0.391, 0.451]",
        "−0.012 [−0.043, 0.017]",
        "12,345",
        "1.062",
        "21,087",
        "1.0e-05",
        "−1.500",
        "999 out-of-fold errors",
        "0.667 [0.094, 0.992]",
        "2017",
        "1 of them graded since",
    ):
        assert figure in body, figure


def test_markup_and_signs_in_names_come_out_harmless(forms):
    html, markdown = forms(facts())
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "http-equiv" in html
    assert not re.search(r"<(script|img|link|iframe)|src=|href=|url\(", html)
    assert "<" not in markdown
    assert re.search(r"(?<!\\)[`*\[]", markdown) is None
    for text in (html, markdown):
        assert all(line.isprintable() for line in text.splitlines())
    for line in markdown.splitlines():
        if line.startswith("|"):
            table_bars = len(re.findall(r"(?<!\\)\|", line))
            assert 3 <= table_bars <= 9
    assert re.search(r"^#+ ", markdown, re.MULTILINE)
    assert not re.search(r"^# &", markdown, re.MULTILINE)


def test_what_is_not_there_is_left_out(forms):
    given = {"champion": {"model": None, "reason": "too few movies"}}
    html, markdown = forms(given)
    assert [section.heading for section in card_sections(given)] == ["The champion", "Protocol"]
    assert "There is no champion: too few movies." in html
    assert "There is no champion: too few movies." in markdown
    assert "IMDb's datasets" not in html
    for missing in ("None", "Data of", "<table"):
        assert missing not in html
    without = card_sections({**facts(), "ledger": score(empty_ledger()), "imdb": False})
    assert "Predictions made before there was a rating" not in [section.heading for section in without]
    assert "Licence of the data" not in [section.heading for section in without]


def test_imdbs_data_come_with_their_licence_and_the_courtesy_line(forms):
    for text in forms(facts()):
        assert "personal and non-commercial use" in text
        assert "Information courtesy of IMDb (https://www.imdb.com). Used with permission." in text


def test_the_card_is_light_and_dark(forms):
    html, _ = forms(facts())
    assert "color-scheme: light dark" in html
    assert "prefers-color-scheme: dark" in html
