"""What long fits say of how far they are."""

import logging

import numpy as np
import pytest

from imdb_pipeline.models import pace
from imdb_pipeline.models.pace import Pace


@pytest.mark.parametrize(
    ("done", "of", "seconds", "line"),
    [
        (1, 4, 90.0, "champion: 1 of 4 folds, 90 s each, about 4 min left"),
        (3, 4, 60.0, "champion: 3 of 4 folds, 20 s each, about 20 s left"),
        (4, 4, 60.0, "champion: 4 of 4 folds, 15 s each, about 0 s left"),
        (1_000, 5_000, 10.0, "champion: 1,000 of 5,000 folds, 100.0 a second, about 40 s left"),
    ],
)
def test_a_line_says_what_is_done_the_rate_and_the_time_left(done, of, seconds, line):
    told = Pace("champion", "folds", of)
    for _ in range(done):
        told.part_done()
    assert told.told(seconds) == line


def test_short_work_says_nothing(caplog):
    caplog.set_level(logging.INFO)
    told = Pace("svr", "settings", 3)
    for _ in range(3):
        told.part_done()
    assert caplog.messages == []


def test_the_trees_say_how_far_they_are_and_are_the_same_for_it(monkeypatch, caplog):
    from imdb_pipeline.models import boosting
    from imdb_pipeline_tests.long_steps import parts as small_parts

    parts = small_parts()
    options = {"seed": 0, "device": "cpu", "max_trees": 25, "seeds": 1}
    quiet = boosting.fit(parts.train, parts.validation, **options)
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(pace, "SECONDS_BETWEEN", 0.0)
    told = boosting.fit(parts.train, parts.validation, **options)
    assert any("boosting, 15 leaves: 25 of 25 trees" in message for message in caplog.messages)
    assert any("boosting: 25 of 25 trees of 1 models" in message for message in caplog.messages)
    inputs = parts.validation.inputs
    np.testing.assert_array_equal(told.predict(inputs), quiet.predict(inputs))
