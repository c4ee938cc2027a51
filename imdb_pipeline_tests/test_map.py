"""The map: what is laid out, where it starts from, how far to trust it, and how the years drift over it."""

import json
import logging
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from imdb_pipeline.embeddings.drift import measure_drift
from imdb_pipeline.embeddings.layout import MOST_NEW, Earlier, align, displacement, lay_out, place_new
from imdb_pipeline.embeddings.neighbours import nearest
from imdb_pipeline.embeddings.trustworthiness import nearest_on_map, trustworthiness
from imdb_pipeline.embeddings.umap import STUDY, Schedule, choose, first_positions, full_schedule, optimise
from imdb_pipeline.orchestration.runs import DUMP_ASSETS, execute, prepare
from imdb_pipeline.results.report import write_report
from imdb_pipeline.settings import MapSettings, settle
from imdb_pipeline.store import Store
from imdb_pipeline_tests.conftest import DAY

SETTINGS = MapSettings(neighbours=10)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def grouped(groups=6, size=30, seed=0):
    """Vectors in groups, group after group."""
    random = np.random.default_rng(seed)
    centres = unit(random.normal(size=(groups, 16)))
    return unit(centres.repeat(size, axis=0) + 0.15 * random.normal(size=(groups * size, 16)))


def laid_out(vectors, earlier=None, seed=0, settings=SETTINGS) -> Any:
    return lay_out(vectors, *nearest(vectors), settings, earlier=earlier, seed=seed, device="cpu")


@pytest.fixture(scope="module")
def first():
    vectors = grouped()
    return vectors, laid_out(vectors)


def after(layout, day="2026-03-03"):
    return Earlier(day, layout.coordinates.copy(), layout.reference)


@pytest.mark.parametrize("n", [1, 2, 5, 16, 40])
def test_every_size_of_catalogue_gets_a_finite_map_and_then_another(n):
    vectors = unit(np.random.default_rng(n).normal(size=(n, 16)))
    layout = laid_out(vectors)
    assert layout.coordinates.shape == (n, 2)
    assert layout.coordinates.dtype == np.float32
    assert np.isfinite(layout.coordinates).all()
    assert layout.method == ("umap-learn" if n >= 16 else "two principal components")
    assert (layout.trustworthiness is None) == (n < 3)
    assert (layout.reference is None) == (n < 16)
    again = laid_out(vectors, Earlier("2026-03-03", layout.coordinates, layout.reference or 0.0))
    assert np.isfinite(again.coordinates).all()
    assert again.start == ("2026-03-03" if n >= 16 else None)


def test_the_map_is_the_same_for_the_same_seed_and_keeps_groups_together(first):
    vectors, layout = first
    assert layout.start is None
    np.testing.assert_array_equal(laid_out(vectors).coordinates, layout.coordinates)
    assert np.abs(laid_out(vectors, seed=1).coordinates - layout.coordinates).max() > 0
    points = layout.coordinates.reshape(6, 30, 2)
    means = points.mean(axis=1)
    assert np.linalg.norm(means[:, None] - means[None], axis=2).max() > 3 * (
        np.linalg.norm(points - means[:, None], axis=2).mean()
    )
    assert layout.trustworthiness > 0.9


def test_the_start_is_taken_as_it_is_neither_scaled_nor_moved(first):
    """umap-learn's own class would stretch any start into a square of ten by ten."""
    vectors, layout = first
    start = layout.coordinates * [1, 0.25] + [300, -40]
    kept = optimise(start, vectors, *nearest(vectors), SETTINGS, Schedule(2, 1e-6), seed=0, device="cpu")
    np.testing.assert_allclose(kept, start, atol=1e-3)


def test_a_map_that_starts_from_yesterdays_stays_where_it_was_and_is_trusted_as_much(first):
    vectors, layout = first
    today = vectors.copy()
    today[[3, 50]] = vectors[[4, 51]]
    refined, fresh = laid_out(today, after(layout), seed=7), laid_out(today, seed=7)
    assert refined.start == "2026-03-03"
    far = displacement(layout.coordinates, fresh.coordinates)
    assert far is not None
    assert refined.moved[1] < 0.1 < far[0]
    assert refined.trustworthiness > fresh.trustworthiness - 0.01
    np.testing.assert_array_equal(laid_out(today, after(layout), seed=7).coordinates, refined.coordinates)


def test_new_and_changed_movies_begin_among_their_neighbours(first):
    vectors, layout = first
    earlier = after(layout)
    new = np.arange(0, 180, 18)
    earlier.coordinates[new] = np.nan
    refined = laid_out(vectors, earlier)
    assert (refined.start, refined.placed) == ("2026-03-03", 10)
    assert "10 movies are new or have another document" in refined.reason
    own = refined.coordinates.reshape(6, 30, 2).mean(axis=1)[new // 30]
    others = np.linalg.norm(own[:, None] - own[None], axis=2)
    assert np.linalg.norm(refined.coordinates[new] - own, axis=1).max() < others[others > 0].max() / 3


def test_a_new_movie_whose_neighbours_are_new_is_placed_after_them_and_one_without_any_in_the_middle():
    nan = float("nan")
    places = np.array([[0, 0], [4, 0], [nan, nan], [nan, nan], [nan, nan], [nan, nan]], dtype=np.float32)
    neighbours = np.array([[1, 2], [0, 2], [0, 1], [2, 4], [5, 5], [4, 4]])
    placed = place_new(places, neighbours, np.full((6, 2), 0.5, dtype=np.float32), seed=0)
    np.testing.assert_array_equal(placed[:2], places[:2])
    np.testing.assert_allclose(placed[2:4], [[2, 0], [2, 0]], atol=0.01)
    np.testing.assert_allclose(placed[4:], [[2, 0]] * 2, atol=0.01)


def test_a_map_with_too_much_new_is_laid_out_from_scratch_and_turned_as_yesterdays_was(first, caplog):
    vectors, layout = first
    mirrored = layout.coordinates @ np.array([[0, 1], [1, 0]], dtype=np.float32) + 5
    earlier = Earlier("2026-03-03", mirrored.copy(), layout.reference)
    earlier.coordinates[: int((MOST_NEW + 0.1) * len(vectors))] = np.nan
    with caplog.at_level(logging.INFO, logger="imdb_pipeline"):
        fresh = laid_out(vectors, earlier)
    assert (fresh.start, fresh.placed) == (None, 54)
    assert fresh.reason == "30% of the movies are new or have another document, at most 20% may"
    assert f"from scratch: {fresh.reason}" in caplog.text
    np.testing.assert_allclose(fresh.coordinates, mirrored, atol=0.5)


def test_a_map_that_lost_its_trust_is_laid_out_from_scratch_unless_that_is_no_better(first):
    vectors, layout = first
    jumbled = Earlier("2026-03-03", np.random.default_rng(0).permutation(layout.coordinates), layout.reference)
    fresh = laid_out(vectors, jumbled)
    assert fresh.start is None
    assert "trustworthiness fell by 0." in fresh.reason
    assert fresh.reference == fresh.trustworthiness > 0.9
    short = replace(SETTINGS, epochs=1)
    kept = laid_out(vectors, replace(after(layout), reference=1.5), settings=short)
    assert kept.start == "2026-03-03"
    assert kept.reason.endswith("and that would be no better")
    assert kept.reference == kept.trustworthiness > 0.9


def test_aligning_undoes_a_turn_a_mirror_and_a_shift_and_leaves_the_scale_unless_asked():
    points = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    turn = np.array([[0.6, 0.8], [0.8, -0.6]], dtype=np.float32)
    onto = (points @ turn + [3, -7]).astype(np.float32)
    onto[:5] = np.nan
    np.testing.assert_allclose(align(points, onto)[5:], onto[5:], atol=1e-5)
    np.testing.assert_allclose(align(2 * points, onto, keep_spread=True)[5:], onto[5:], atol=1e-5)
    unscaled = align(2 * points, onto)[5:]
    np.testing.assert_allclose(unscaled - unscaled.mean(axis=0), 2 * (onto[5:] - onto[5:].mean(axis=0)), atol=1e-5)
    np.testing.assert_array_equal(align(points, np.full_like(points, np.nan)), points)
    assert displacement(np.full_like(points, np.nan), points) is None


@pytest.mark.extra
def test_a_month_of_days_neither_loses_trust_nor_grows_nor_shrinks():
    random = np.random.default_rng(1)
    vectors = grouped(groups=12, size=60)
    layout = laid_out(vectors)
    spread, trust = layout.coordinates.std(), layout.trustworthiness
    for day in range(30):
        changed = random.choice(len(vectors), 4, replace=False)
        vectors[changed] = unit(vectors[changed] + 0.1 * random.normal(size=(4, 16)))
        earlier = after(layout, f"2026-03-{day + 1:02}")
        earlier.coordinates[changed] = np.nan
        layout = laid_out(vectors, earlier)
        assert layout.start == f"2026-03-{day + 1:02}"
    assert layout.trustworthiness > trust - 0.01
    assert layout.coordinates.std() == pytest.approx(spread, rel=0.05)


@pytest.mark.parametrize(("n", "k"), [(120, 15), (40, 5), (7, 3)])
def test_trustworthiness_is_scikit_learns_with_cosine_distances(n, k, monkeypatch):
    from sklearn.manifold import trustworthiness as reference

    monkeypatch.setattr("imdb_pipeline.embeddings.trustworthiness._SCORES_PER_BLOCK", 7 * n)
    random = np.random.default_rng(n)
    vectors, coordinates = unit(random.normal(size=(n, 8))), random.normal(size=(n, 2)).astype(np.float32)
    coordinates[:, 0] += 2 * vectors[:, 0]
    expected = reference(vectors, coordinates, n_neighbors=k, metric="cosine")
    assert trustworthiness(vectors, coordinates, k=k) == pytest.approx(expected, abs=1e-12)


def test_trustworthiness_of_a_sample_is_seeded_and_near_that_of_all(first):
    vectors, layout = first
    sampled = [trustworthiness(vectors, layout.coordinates, sample=60, seed=seed) for seed in (0, 0, 1)]
    assert sampled[0] == sampled[1] != sampled[2]
    assert sampled[0] == pytest.approx(layout.trustworthiness, abs=0.05)


def test_movies_at_one_point_are_one_anothers_neighbours_and_never_their_own():
    coordinates = np.array([[0, 0]] * 4 + [[1, 1], [2, 2]], dtype=np.float32)
    found = nearest_on_map(coordinates, 2)
    assert not (found == np.arange(6)[:, None]).any()
    assert set(found[:4].ravel()) <= {0, 1, 2, 3}


def test_the_studys_settings_and_ours_can_be_told_from_the_defaults():
    assert (STUDY.neighbours, STUDY.min_dist, STUDY.init) == (100, 0.0, "random")
    assert full_schedule(242_552, STUDY) == Schedule(100_000)
    assert full_schedule(10_000, MapSettings()) == Schedule(500)
    assert full_schedule(10_001, MapSettings()) == Schedule(200)
    vectors = grouped()
    anywhere = first_positions(vectors, STUDY, seed=0)
    assert np.abs(anywhere).max() <= 5
    components = first_positions(vectors, MapSettings(), seed=0)
    assert (trustworthiness(vectors, anywhere) or 1) < 0.6 < (trustworthiness(vectors, components) or 0)
    short = laid_out(vectors, settings=replace(STUDY, epochs=50))
    assert short.trustworthiness > 0.85


def test_umap_learn_lays_out_where_there_is_no_gpu():
    assert choose("cpu") == "umap-learn"


def test_a_long_layout_logs_how_far_it_is_and_prints_nothing(first, caplog, monkeypatch, capfd):
    monkeypatch.setattr("imdb_pipeline.embeddings.umap._LOG_SECONDS", 0.0)
    vectors, layout = first
    with caplog.at_level(logging.INFO, logger="imdb_pipeline"):
        optimise(layout.coordinates, vectors, *nearest(vectors), SETTINGS, Schedule(20), seed=0, device="cpu")
    assert "umap-learn: 180 movies, 10 neighbours, 20 epochs" in caplog.text
    assert "20 of 20 epochs" in caplog.text
    assert capfd.readouterr() == ("", "")


def years_of(release_year, vectors, coordinates) -> Any:
    return measure_drift(np.asarray(release_year, dtype=float), vectors, nearest(vectors)[0], coordinates)


def test_years_that_tell_nothing_explain_nothing(first):
    vectors, layout = first
    drift = years_of(np.random.default_rng(3).integers(2000, 2006, len(vectors)), vectors, layout.coordinates)
    assert abs(drift.map_explained) < 0.05
    assert abs(drift.vectors_explained) < 0.05
    assert drift.year_only == 0
    assert drift.same_year_map == pytest.approx(drift.same_year_chance, abs=0.05)


def test_years_that_are_clusters_are_found_with_their_movies(first):
    vectors, layout = first
    release_year = np.repeat([2000.0, 2001, 2002, 2003, 2004, np.nan], 30)
    drift = years_of(release_year, vectors, layout.coordinates)
    assert drift.movies == 150
    assert drift.year_only > 0.9
    assert drift.map_explained > 0.8
    assert drift.same_year_chance == pytest.approx(29 / 179)
    assert drift.years["release_year"].to_list() == [2000, 2001, 2002, 2003, 2004]
    assert drift.years["movies"].to_list() == [30] * 5
    middle = layout.coordinates[:30].mean(axis=0)
    np.testing.assert_allclose(drift.years.select("x", "y").row(0), middle, rtol=1e-4)


def test_a_trend_of_known_size_is_measured_in_spreads_a_decade():
    random = np.random.default_rng(0)
    years = np.arange(1980, 2020).repeat(25)
    vectors = random.normal(size=(1000, 4)) * [1e-3, 1, 1, 1]
    vectors[:, 0] += 0.05 * (years - 1999.5)
    drift = years_of(years, vectors.astype(np.float32), vectors[:, :2].astype(np.float32))
    spread = np.sqrt((vectors - vectors.mean(axis=0)) ** 2).sum(axis=1)
    spread = np.sqrt(((vectors - vectors.mean(axis=0)) ** 2).sum(axis=1).mean())
    assert drift.trend_per_decade == pytest.approx(0.5 / spread, rel=0.1)
    assert np.corrcoef(drift.years["release_year"], drift.years["trend"])[0, 1] > 0.99


@pytest.mark.parametrize("years", [[np.nan] * 5, [2000, *[np.nan] * 4], [2000] * 5, [2000, 2001, 2002, 2003, 2004]])
def test_few_movies_or_years_have_figures_that_can_be_written_or_none(years):
    vectors = unit(np.random.default_rng(0).normal(size=(5, 8)))
    drift = years_of(years, vectors, vectors[:, :2])
    if np.isfinite(years).sum() < 2:
        assert drift is None
    else:
        assert drift.years["x"].null_count() == len(drift.years)
        assert "NaN" not in json.dumps(drift.figures())


@pytest.mark.parametrize("rows", [0, 3, 200])
def test_the_drift_is_drawn_whatever_there_is(rows):
    from imdb_pipeline.results.plots import draw_drift

    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, rows))
    points = pl.DataFrame({"x": x, "y": y, "release_year": pl.Series(np.arange(rows) % 5 + 2000, dtype=pl.Int32)})
    vectors = unit(random.normal(size=(200, 8)))
    drift = years_of(np.arange(200) % 5 + 2000, vectors, vectors[:, :2])
    assert draw_drift(points, drift.years if rows else drift.years.clear()).startswith(b"\x89PNG")


CHAIN = ("movies", "movie_documents", "movie_embeddings", "movie_neighbours", "movie_map")


def make(home, day, *assets, force=False) -> Any:
    """Make assets of a day, as `imdb-pipeline run` does, and return the map; None where nothing was to do."""
    prepared = prepare(home, settle(home), day=day, assets=list(assets), force=force)
    if not prepared.plan.todo:
        return None
    execute(prepared, force=force)
    return Store(home / "store").get("movie_map", day)


@pytest.mark.slow
@pytest.mark.extra
def test_a_day_starts_from_the_day_before_and_the_same_files_again_take_that_over(home):
    """What it started from decides the bytes but not the key: made again, each day starts from where it did."""
    store = Store(home / "store")
    before = store.get("movie_map", DAY)
    info = before.manifest["info"]
    assert info["start"] is None
    assert 0.5 < info["trustworthiness"] == info["reference"] <= 1
    same = make(home, "2026-03-05", *DUMP_ASSETS, *CHAIN)
    assert same.data_hash == before.data_hash
    assert same.manifest["info"]["adopted_from"]["day"] == DAY
    assert make(home, "2026-03-05", "movie_map", force=True).data_hash == before.data_hash
    with (home / "settings.toml").open("a") as file:
        file.write("[catalogue]\nrecent_years = 1\n")
    refined = make(home, "2026-03-06", *DUMP_ASSETS, *CHAIN)
    assert refined.data_hash != before.data_hash
    assert refined.manifest["info"]["start"] == "2026-03-05"
    assert refined.manifest["info"]["moved"][1] < 0.2
    assert refined.manifest["info"]["reference"] == info["reference"]
    assert refined.manifest["inputs"]["previous_movie_map"]["day"] == "2026-03-05"
    assert make(home, "2026-03-06", *CHAIN) is None
    assert make(home, "2026-03-06", "movie_map", force=True).data_hash == refined.data_hash
    revisions = {asset: store.get(asset, DAY) for asset in store.assets() if asset not in ("report", "release")}
    write_report(home / "report.html", day=DAY, source="sample", revisions={**revisions, "movie_map": refined})
    report = (home / "report.html").read_text()
    assert "from the map of <b>2026-03-05</b>" in report
    assert "<h3>Drift over release years</h3>" in report
    with (home / "settings.toml").open("a") as file:
        file.write("[map]\nneighbours = 20\n")
    fresh = make(home, "2026-03-06", "movie_map")
    assert fresh.manifest["info"]["start"] is None
    assert "no earlier map of this encoder under these settings" in fresh.manifest["info"]["reason"]
