"""What was predicted stays as it was written, and is judged by the rating of the day on which there was one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from imdb_pipeline.errors import PipelineError
from imdb_pipeline.models.conformal import binomial_bounds
from imdb_pipeline.models.evaluate import evaluate
from imdb_pipeline.results.ledger import Ledger, empty_ledger, read_ledger, update_ledger, write_ledger
from imdb_pipeline.results.ledger_score import score
from imdb_pipeline.results.predictions import empty_predictions

FIRST = date(2026, 3, 1)


def day_of(
    previous: Ledger | None,
    day: int,
    predicted: Mapping[str, float],
    votes: Mapping[str, int | None],
    *,
    model: str = "m1",
    ratings: dict[str, float] | None = None,
    seen: tuple[str, ...] = (),
    newest: bool = True,
    mean: float = 6.0,
) -> Ledger:
    """The ledger after day number ``day``: each movie's prediction, votes (None: no rating) and rating (or 7.5)."""
    movies = pl.DataFrame(
        {
            "tconst": list(votes),
            "average_rating": [None if votes[each] is None else (ratings or {}).get(each, 7.5) for each in votes],
            "num_votes": list(votes.values()),
        },
        schema={"tconst": pl.String, "average_rating": pl.Float64, "num_votes": pl.Int64},
    )
    predictions = (
        pl.DataFrame({"tconst": list(predicted), "prediction": list(predicted.values())}, schema_overrides=_TEXT)
        .cast({"prediction": pl.Float64})
        .with_columns(
            low=pl.col("prediction") - 1,
            high=pl.col("prediction") + 1,
            basis=pl.when(pl.col("tconst").is_in(seen)).then(pl.lit("held_out")).otherwise(pl.lit("future")),
            split=pl.lit(None, pl.String),
        )
        .join(movies, on="tconst", how="left", maintain_order="left")
        .select(empty_predictions().columns)
    )
    return update_ledger(
        previous,
        predictions,
        movies,
        day=FIRST + timedelta(days=day),
        model=model,
        training_mean=mean,
        min_votes=30,
        newest=newest,
    )


_TEXT = {"tconst": pl.String}


def entries(ledger: Ledger) -> list[tuple]:
    return [
        (row["tconst"], (row["day"] - FIRST).days, row["model"], row["prediction"])
        for row in ledger.entries.iter_rows(named=True)
    ]


def grades(ledger: Ledger) -> list[tuple]:
    return [
        (row["tconst"], (row["graded_day"] - FIRST).days, row["average_rating"], row["num_votes"])
        for row in ledger.grades.iter_rows(named=True)
    ]


def test_a_prediction_is_frozen_until_it_or_the_model_changes_and_graded_once():
    one = day_of(None, 0, {"tt1": 6.0, "tt2": 5.0}, {"tt1": None, "tt2": 12})
    assert entries(one) == [("tt1", 0, "m1", 6.0), ("tt2", 0, "m1", 5.0)]
    assert one.entries["num_votes"].to_list() == [None, 12]
    same = day_of(one, 1, {"tt1": 6.0004, "tt2": 5.0}, {"tt1": 3, "tt2": 29})
    assert entries(same) == entries(one)
    moved = day_of(same, 2, {"tt1": 6.4, "tt2": 5.0}, {"tt1": 4, "tt2": 29})
    assert entries(moved)[2:] == [("tt1", 2, "m1", 6.4)]
    other = day_of(moved, 3, {"tt1": 6.4, "tt2": 5.0}, {"tt1": 5, "tt2": 30}, model="m2", ratings={"tt2": 5.5})
    assert entries(other)[3:] == [("tt1", 3, "m2", 6.4)]
    assert grades(other) == [("tt2", 3, 5.5, 30)]
    later = day_of(other, 9, {"tt1": 6.4, "tt2": 5.0}, {"tt1": 700, "tt2": 80}, model="m2", ratings={"tt1": 8.0})
    assert entries(later) == entries(other)
    assert grades(later) == [("tt2", 3, 5.5, 30), ("tt1", 9, 8.0, 700)]


def test_a_movie_that_falls_below_the_votes_again_is_neither_predicted_nor_graded_again():
    ledger = day_of(day_of(None, 0, {"tt1": 6.0}, {"tt1": 10}), 1, {"tt1": 6.0}, {"tt1": 31})
    fallen = day_of(ledger, 2, {"tt1": 7.0}, {"tt1": 29}, model="m2")
    risen = day_of(fallen, 3, {"tt1": 7.0}, {"tt1": 35}, model="m2", ratings={"tt1": 9.0})
    assert entries(risen) == [("tt1", 0, "m1", 6.0)]
    assert grades(risen) == [("tt1", 1, 7.5, 31)]


def test_what_the_champion_saw_or_what_had_its_votes_before_is_not_graded():
    ledger = day_of(None, 0, {"tt1": 6.0, "tt2": 6.0}, {"tt1": 100, "tt2": 20}, seen=("tt2",))
    assert entries(ledger) == []
    assert grades(day_of(ledger, 1, {}, {"tt1": 100, "tt2": 40})) == []


def test_a_removed_movie_keeps_its_entry_and_is_graded_when_it_comes_back():
    ledger = day_of(None, 0, {"tt1": 6.0}, {"tt1": 10})
    gone = day_of(ledger, 1, {}, {})
    assert entries(gone) == entries(ledger)
    assert grades(day_of(gone, 200, {}, {"tt1": 50})) == [("tt1", 200, 7.5, 50)]


def test_a_second_publication_of_a_day_adds_what_is_new_and_changes_nothing():
    ledger = day_of(None, 0, {"tt1": 6.0}, {"tt1": 10, "tt2": 5})
    again = day_of(ledger, 0, {"tt1": 6.5, "tt2": 4.0}, {"tt1": 10, "tt2": 5})
    assert entries(again) == [("tt1", 0, "m1", 6.0), ("tt2", 0, "m1", 4.0)]
    assert entries(day_of(again, 0, {"tt1": 6.5, "tt2": 4.0}, {"tt1": 10, "tt2": 5})) == entries(again)
    assert entries(day_of(again, 1, {"tt1": 6.5, "tt2": 4.0}, {"tt1": 10, "tt2": 5}))[2:] == [("tt1", 1, "m1", 6.5)]
    crossed = day_of(again, 0, {"tt1": 6.0, "tt2": 4.0}, {"tt1": 33, "tt2": 5})
    assert grades(crossed) == [("tt1", 0, 7.5, 33)]


def test_a_backfill_of_an_older_day_leaves_the_ledger_as_it_is():
    ledger = day_of(None, 5, {"tt1": 6.0}, {"tt1": 10})
    assert day_of(ledger, 2, {"tt1": 4.0, "tt2": 4.0}, {"tt1": 40, "tt2": 1}, newest=False) is ledger
    assert entries(day_of(None, 2, {"tt1": 4.0}, {"tt1": 1}, newest=False)) == []
    with pytest.raises(PipelineError, match="goes to 2026-03-06: 2026-03-03 can no longer be written"):
        day_of(ledger, 2, {"tt1": 4.0}, {"tt1": 10})


def test_without_a_champion_nothing_is_predicted_but_grades_go_on():
    ledger = day_of(None, 0, {"tt1": 6.0}, {"tt1": 10})
    movies = pl.DataFrame({"tconst": ["tt1"], "average_rating": [5.0], "num_votes": [30]})
    settings = {"day": FIRST + timedelta(days=1), "model": None, "training_mean": None, "min_votes": 30, "newest": True}
    assert grades(update_ledger(ledger, empty_predictions(), movies, **settings)) == [("tt1", 1, 5.0, 30)]
    some = empty_predictions().vstack(empty_predictions().clear(1).with_columns(tconst=pl.lit("tt2")))
    with pytest.raises(ValueError, match="need the model"):
        update_ledger(ledger, some, movies, **settings)


def test_whatever_happens_nothing_written_changes_or_vanishes():
    generator = np.random.default_rng(4)
    names = [f"tt{number}" for number in range(60)]
    votes = {name: None if generator.random() < 0.4 else int(generator.integers(0, 35)) for name in names}
    predicted = {name: float(generator.uniform(4, 8)) for name in names}
    ledger, day = None, 0
    for step in range(40):
        day += int(generator.integers(0, 4))
        for name in generator.choice(names, 12):
            predicted[name] = float(generator.uniform(4, 8))
        for name in generator.choice(names, 20):
            known = votes[name] or 0
            votes[name] = max(0, known + int(generator.integers(-3, 9))) if generator.random() < 0.95 else None
        listed = {name: votes[name] for name in names if generator.random() < 0.95}
        shown = {name: predicted[name] for name in listed}
        before = ledger or empty_ledger()
        ledger = day_of(before, day, shown, listed, model=f"m{step // 9}", newest=bool(generator.random() < 0.9))
        for table in ("entries", "grades"):
            old, new = getattr(before, table), getattr(ledger, table)
            assert new.head(len(old)).equals(old)
    assert ledger is not None
    assert len(ledger.grades) > 10
    assert not ledger.entries.select("tconst", "day", "model").is_duplicated().any()
    assert ledger.grades["tconst"].is_unique().all()
    both = ledger.entries.join(ledger.grades, on="tconst")
    assert (both["day"] <= both["graded_day"]).all()
    assert (ledger.entries["num_votes"].fill_null(0) < 30).all()
    assert (ledger.grades["num_votes"] >= 30).all()


def test_the_score_is_what_one_reckons_by_hand():
    ledger = day_of(None, 0, {"tt1": 6.0, "tt2": 5.0, "tt3": 4.0}, {"tt1": None, "tt2": 5, "tt3": 1}, mean=6.0)
    ledger = day_of(ledger, 10, {"tt1": 7.0, "tt2": 5.0}, {"tt1": 0, "tt2": 5}, mean=6.0)
    ledger = day_of(ledger, 20, {"tt1": 8.0, "tt2": 5.0}, {"tt1": 9, "tt2": 5}, model="m2", mean=7.0)
    ledger = day_of(ledger, 30, {}, {"tt1": 30, "tt2": 40}, ratings={"tt1": 7.5, "tt2": 8.0})
    found = score(ledger)
    json.dumps(found, allow_nan=False)
    assert (found["entries"], found["predicted"], found["graded"]) == (6, 3, 2)
    last = found["overall"]["last"]
    # By m2: tt1 8.0 against 7.5 (inside 7 to 9), tt2 5.0 against 8.0 (not); the mean known then was 7.
    assert last["n"] == 2
    assert last["mse"] == pytest.approx((0.25 + 9) / 2)
    assert last["mae"] == pytest.approx((0.5 + 3) / 2)
    assert last["bias"] == pytest.approx((0.5 - 3) / 2)
    assert last["r2"] == pytest.approx(1 - 9.25 / (0.25 + 1))
    assert (last["inside"], last["coverage"], last["mean_width"], last["mean_days_ahead"]) == (1, 0.5, 2.0, 10)
    assert (last["coverage_low"], last["coverage_high"]) == binomial_bounds(1, 2)
    first = found["overall"]["first"]
    assert first["mse"] == pytest.approx((1.5**2 + 9) / 2)
    assert first["mean_days_ahead"] == 30
    assert [row["model"] for row in found["models"]] == ["m1", "m2"]
    m1 = found["models"][0]
    assert (m1["first_day"], m1["last_day"]) == ("2026-03-01", "2026-03-11")
    assert m1["last"]["mse"] == pytest.approx((0.25 + 9) / 2)  # tt1 by its entry of day 10
    assert m1["last"]["r2"] == pytest.approx(1 - 9.25 / (1.5**2 + 4))
    assert m1["first"]["mse"] == pytest.approx((1.5**2 + 9) / 2)
    assert {row["days"]: row["n"] for row in found["by_days_ahead"]} == {
        "0-6": 0,
        "7-29": 2,
        "30-89": 0,
        "90-364": 0,
        "365+": 0,
    }
    assert {row["votes"]: row["n"] for row in found["by_votes"]} == {"none": 0, "some": 2}
    assert found["by_days_ahead"][0]["mse"] is None


def test_the_interval_of_the_score_is_the_bootstraps():
    generator = np.random.default_rng(2)
    names = [f"tt{number}" for number in range(400)]
    ratings = generator.normal(6, 1.2, 400).clip(1, 10)
    predicted = (6 + 0.5 * (ratings - 6) + generator.normal(0, 0.6, 400)).clip(2, 9)
    votes = dict.fromkeys(names, 30)
    ledger = day_of(None, 0, dict(zip(names, predicted, strict=True)), dict.fromkeys(names, 3))
    found = score(day_of(ledger, 1, {}, votes, ratings=dict(zip(names, ratings, strict=True))))["overall"]["last"]
    expected = evaluate(predicted, ratings, np.full(400, 6.0), seed=0)
    for name in ("n", "mse", "mae", "r2"):
        assert found[name] == pytest.approx(expected[name])
    assert found["r2_low"] == pytest.approx(expected["r2_low"], abs=0.02)
    assert found["r2_high"] == pytest.approx(expected["r2_high"], abs=0.02)


def test_an_empty_ledger_has_a_score_without_figures():
    found = score(empty_ledger())
    json.dumps(found, allow_nan=False)
    assert (found["graded"], found["models"], found["overall"]["last"]["mse"]) == (0, [], None)


def test_a_ledger_reads_as_it_was_written(tmp_path):
    ledger = day_of(day_of(None, 0, {"tt1": 6.0, "tt2": 5.0}, {"tt1": None, "tt2": 9}), 1, {}, {"tt2": 30})
    write_ledger(ledger, tmp_path)
    found = read_ledger(tmp_path)
    assert found.entries.equals(ledger.entries)
    assert found.grades.equals(ledger.grades)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("entries", None, "missing file"),
        ("grades", b"", "not a whole Parquet file"),
        ("entries", b"PAR1 cut short", "not a whole Parquet file"),
        ("entries", lambda frame: frame.drop("low"), "'low' is missing"),
        ("entries", lambda frame: frame.with_columns(day=pl.lit("x")), "'day' is String, not Date"),
        ("grades", lambda frame: frame.with_columns(more=1), "'more' does not belong"),
        ("entries", lambda frame: frame.with_columns(prediction=11.0), "'prediction' is not from 1 to 10"),
        ("entries", lambda frame: frame.with_columns(model=pl.lit(None, pl.String)), "2 rows lack 'model'"),
        ("entries", lambda frame: pl.concat([frame, frame]), "more than once"),
        ("grades", lambda frame: frame.with_columns(tconst=pl.lit("tt9")), "tt9 is graded, but was never predicted"),
    ],
)
def test_a_file_that_is_no_ledgers_is_named(tmp_path, name, change, says):
    ledger = day_of(day_of(None, 0, {"tt1": 6.0, "tt2": 5.0}, {"tt1": None, "tt2": 9}), 1, {}, {"tt2": 30})
    write_ledger(ledger, tmp_path)
    path = tmp_path / f"{name}.parquet"
    if change is None:
        path.unlink()
    elif isinstance(change, bytes):
        path.write_bytes(change)
    else:
        change(pl.read_parquet(path)).write_parquet(path)
    with pytest.raises(PipelineError, match=f"{name}.parquet: .*{says}"):
        read_ledger(tmp_path)
