"""What is known of people comes from their other movies: never from a movie's own rating, however many steps away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from imdb_pipeline.errors import PipelineError
from imdb_pipeline.models import boosting
from imdb_pipeline.models.credits import credits_of, known_people
from imdb_pipeline.models.encodings import Encodings
from imdb_pipeline.models.examples import INPUT_COLUMNS, Examples, Inputs, Rated
from imdb_pipeline.models.features import Features
from imdb_pipeline.models.feed import _folds
from imdb_pipeline.models.incidence import Incidence, numbers_of
from imdb_pipeline.models.search import Axis

CREDITS = pl.List(pl.Struct({"nconst": pl.String, "category": pl.String, "name": pl.String}))
CATEGORIES = ("director", "writer", "producer", "actor", "actress", "composer")


def movies(*credits, first=0, years=None):
    """Movies with nothing but an id, a year and credits: (nconst, category) in billing order."""
    count = len(credits)
    return pl.DataFrame(
        {
            "tconst": [f"tt{first + row:07d}" for row in range(count)],
            "title": [f"Movie {row}" for row in range(count)],
            "original_title": [f"Movie {row}" for row in range(count)],
            "title_type": ["movie"] * count,
            "is_adult": [False] * count,
            "release_year": years or [2000 + row % 20 for row in range(count)],
            "runtime_minutes": [90] * count,
            "genres": [["Drama"]] * count,
            "credits": [
                [{"nconst": person, "category": category, "name": "Laura Bailey"} for person, category in listed]
                for listed in credits
            ],
        },
        schema_overrides={"release_year": pl.Int32, "runtime_minutes": pl.Int32, "credits": CREDITS},
    ).select(INPUT_COLUMNS)


def rated(frame, ratings, votes=100):
    return Rated(frame, np.asarray(ratings, dtype=np.float32), np.full(len(frame), votes))


class Known:
    """Encodings beside the features that they go with."""

    def __init__(self, *some, by_year=False, partition=0):
        self.by_year = by_year
        self.features = Features.learn(some[0].movies)
        self.encodings = Encodings.learn(self.features, *some, by_year=by_year, partition=partition)
        self.names = self.encodings.names

    def matrix(self, frame):
        return self.encodings.matrix(frame, self.features.matrix(frame))


def crowd(count, seed, first=0):
    """Movies of few people, so that paths of several steps lead from everyone to everyone."""
    generator = np.random.default_rng(seed)
    quality = np.random.default_rng(99).normal(0, 1.2, 60)
    listed, ratings = [], []
    for _ in range(count):
        people = generator.integers(0, 60, 5)
        listed.append([(f"nm{who:07d}", CATEGORIES[generator.integers(0, 6)]) for who in people])
        ratings.append(6 + quality[people].mean() * 1.5 + generator.normal(0, 0.3))
    return rated(movies(*listed, first=first), np.clip(ratings, 1, 10))


def column(people, frame, name):
    return people.matrix(frame)[:, people.names.index(name)]


@pytest.fixture(scope="module")
def known():
    return crowd(200, 1), replace(crowd(60, 2, first=1000), votes=np.full(60, 8))


@pytest.fixture(scope="module", params=[False, True], ids=["folds by id", "folds by year"])
def learned(known, request):
    return Known(*known, by_year=request.param)


def fold_of(learned, frame, row):
    """The rows of ``frame`` that are in the same fold as one of them."""
    feed = learned.encodings.feed
    folds = feed.folds_of(feed.places_of(frame))
    return np.flatnonzero(folds == folds[row])


def test_the_ratings_of_a_fold_change_no_feature_of_its_movies_but_those_of_others(known, learned):
    train, few = known
    rows = fold_of(learned, train.movies, 3)
    ratings = train.ratings.copy()
    ratings[rows] = 11 - ratings[rows]
    before = learned.matrix(train.movies)
    after = Known(replace(train, ratings=ratings), few, by_year=learned.by_year).matrix(train.movies)
    np.testing.assert_array_equal(after[rows], before[rows])
    changed = np.flatnonzero((after != before).any(axis=1) & ~np.isnan(before).all(axis=1))
    assert len(rows) > 5
    assert len(changed) > 100


def test_neither_do_those_of_movies_with_few_votes_which_feed_the_others(known, learned):
    train, few = known
    rows = fold_of(learned, few.movies, 7)
    ratings = few.ratings.copy()
    ratings[rows] = 11 - ratings[rows]
    changed = Known(train, replace(few, ratings=ratings), by_year=learned.by_year)
    assert (learned.matrix(train.movies) != changed.matrix(train.movies)).any()
    np.testing.assert_array_equal(changed.matrix(few.movies[rows]), learned.matrix(few.movies[rows]))


def test_another_partition_changes_what_known_movies_are_told_and_nothing_that_new_ones_are(known, learned):
    other = Known(*known, by_year=learned.by_year, partition=1)
    new = crowd(40, 9, first=7000).movies
    np.testing.assert_array_equal(other.matrix(new), learned.matrix(new))
    same = np.array_equal(other.matrix(known[0].movies), learned.matrix(known[0].movies), equal_nan=True)
    assert same == learned.by_year


def test_votes_weigh_a_rating_but_not_that_of_their_own_movie(known, learned):
    train, few = known
    votes = train.votes.copy()
    votes[5] = 1_000_000
    people, other = learned, Known(replace(train, votes=votes), few, by_year=learned.by_year)
    np.testing.assert_array_equal(other.matrix(train.movies[5:6]), people.matrix(train.movies[5:6]))
    assert (other.matrix(train.movies) != people.matrix(train.movies)).any()


def test_an_encoding_is_the_shrunken_mean_of_the_other_movies():
    good, bad = [("nm1", "director")], [("nm2", "director")]
    people = Known(rated(movies(good, good, bad, bad), [8, 8, 4, 4], votes=20))
    new = movies(good, bad, [("nm3", "director")], [], first=50)
    # Two ratings two above the mean, each of half a weight, and two of shrinkage.
    np.testing.assert_allclose(column(people, new, "director_mean")[:3], [2 / 3, -2 / 3, 0], atol=1e-6)
    assert np.isnan(column(people, new, "director_mean")[3])
    np.testing.assert_array_equal(column(people, new, "director_known_movies")[:3], [2, 2, 0])


def test_unknown_people_and_none_at_all_give_the_prior(learned):
    people = learned
    new = movies([("nm9", "director"), ("nm8", "actor")], first=5000)
    values = people.matrix(new)[0]
    named = dict(zip(people.names, values, strict=True))
    assert np.isnan(named.pop("anyone_others_expected"))
    found = [value for name, value in named.items() if name.startswith(("director", "cast", "anyone"))]
    np.testing.assert_array_equal(found, np.zeros(len(found)))


def test_fifteen_people_of_one_name_stay_fifteen():
    listed = [[(f"nm{who}", "actor")] for who in range(15)]
    frame = movies(*listed)
    assert len(known_people(frame)) == 15
    people = Known(rated(frame, np.linspace(2, 9, 15)))
    assert len(set(column(people, movies(*listed, first=100), "cast_mean").tolist())) == 15


def test_billing_order_matters_for_the_cast():
    star, extra = ("nm1", "actress"), ("nm2", "actor")
    people = Known(rated(movies([star], [star], [extra], [extra]), [9, 9, 3, 3]))
    new = movies([star, extra], [extra, star], first=50)
    for name in ("cast_billed", "cast_first"):
        first, second = column(people, new, name)
        assert first > second
    first, second = column(people, new, "cast_mean")
    assert first == second


def test_a_person_credited_twice_in_a_role_counts_once():
    once = [("nm1", "actor"), ("nm2", "actress")]
    credits = credits_of(movies([*once, ("nm1", "actress")], once), known_people(movies(once)))
    assert credits["cast"].keys.tolist() == [0, 1, 0, 1]
    assert credits["anyone"].starts.tolist() == [0, 2, 4]


def test_collaborators_of_collaborators_tell_something():
    """nm1 made a good film with nm2; nm3 knows nm2 alone, nm5 knows nobody of them."""
    listed = (
        [[("nm1", "director")]] * 6
        + [[("nm1", "director"), ("nm2", "writer")]]
        + [[("nm2", "writer"), ("nm3", "writer")]]
    )
    listed += [[("nm4", "director")]] * 6 + [[("nm4", "director"), ("nm5", "writer")]]
    ratings = [9] * 6 + [6] * 2 + [3] * 6 + [6]
    people = Known(rated(movies(*listed), ratings))
    new = movies([("nm3", "director")], [("nm5", "director")], first=500)
    good, bad = column(people, new, "anyone_step_3_mean")
    assert good > 0 > bad


def test_a_reader_of_rows_gets_each_rows_people():
    credits = Incidence(np.array([0, 2, 2, 3]), np.array([1, 0, 2], dtype=np.int32), 3)
    values = np.array([5.0, 1.0, 3.0, 0.0], dtype=np.float32)
    np.testing.assert_array_equal(credits.most(values), np.array([5, np.nan, 3], dtype=np.float32))
    np.testing.assert_array_equal(credits.least(values), np.array([1, np.nan, 3], dtype=np.float32))
    np.testing.assert_array_equal(credits.first(values), np.array([1, np.nan, 3], dtype=np.float32))
    np.testing.assert_array_equal(credits.take(np.array([2, 0])).mean(values), np.array([3, 3], dtype=np.float32))


def examples(part, few=None):
    vectors = np.ones((len(part), 2), dtype=np.float32)
    return Examples(Inputs(part.movies, vectors), part.ratings, part.votes, few)


@pytest.fixture(scope="module")
def fitted(known):
    train, few = known
    validation = crowd(100, 3, first=3000)
    quick = {"leaves": Axis.fixed(7), "max_trees": 100, "seeds": 2}
    return boosting.fit(examples(train, few), examples(validation), seed=1, device="cpu", **quick)


@pytest.mark.parametrize(
    ("highest", "chosen", "tried", "on_edge"),
    [(48, 8, [2, 4, 8], []), (4, 4, [2, 4], ["leaves", "trees"]), (2, 2, [2], ["trees"])],
)
def test_leaves_are_searched_for_while_rows_allow_more_and_an_edge_is_named(known, highest, chosen, tried, on_edge):
    leaves = Axis(start=(2,), factor=2, lowest=2, highest=highest)
    quick = {"leaves": leaves, "max_trees": 100, "seeds": 1}
    model = boosting.fit(examples(*known), examples(crowd(100, 3, first=3000)), seed=1, device="cpu", **quick)
    assert (model.settings["leaves"], model.settings["on_edge"]) == (chosen, on_edge)
    assert [row["leaves"] for row in model.curve][: len(tried)] == tried
    errors = [row["validation_mse"] for row in model.curve[: len(tried)]]
    assert errors.index(min(errors)) == tried.index(chosen)


def test_trees_learn_from_people_and_contributions_sum_to_the_prediction(fitted):
    test = crowd(100, 4, first=4000)
    inputs = examples(test).inputs
    predictions, parts = fitted.predict(inputs), fitted.contributions(inputs)
    assert 1 - np.mean((predictions - test.ratings) ** 2) / test.ratings.var() > 0.3
    assert parts.shape == (100, len(fitted.names) + 1)
    np.testing.assert_allclose(parts.sum(axis=1), predictions, atol=1e-9)
    assert len(fitted.fields) == len(fitted.names)
    assert {"title", "genres", "directors", "writers", "producers", "actors", "principals"} <= set(fitted.fields)


def test_a_saved_model_encodes_known_and_new_movies_the_same(fitted, known, tmp_path):
    fitted.save(tmp_path)
    loaded = boosting.BoostingModel.load(tmp_path)
    for part in (known[0], known[1], crowd(20, 5, first=6000)):
        inputs = examples(part).inputs
        np.testing.assert_array_equal(loaded.predict(inputs), fitted.predict(inputs))
        np.testing.assert_array_equal(loaded.contributions(inputs), fitted.contributions(inputs))
    (tmp_path / "people.parquet").write_bytes(b"PAR1")
    with pytest.raises(PipelineError, match=r"people\.parquet"):
        boosting.BoostingModel.load(tmp_path)


def test_a_model_fitted_anew_keeps_the_settings_and_gives_the_same_bytes(fitted, known, tmp_path):
    rows = examples(crowd(120, 6, first=8000))
    for name in ("a", "b"):
        again = boosting.refit(fitted, rows, seed=3, device="cpu")
        again.save(tmp_path / name)
    kept = ("leaves", "trees", "seeds")
    assert [again.settings[name] for name in kept] == [fitted.settings[name] for name in kept]
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_column_under_audit_is_a_feature_and_such_a_model_is_not_saved(known, tmp_path):
    train, validation, test = known[0], crowd(100, 3, first=3000), crowd(100, 4, first=4000)
    every = pl.concat(
        [pl.DataFrame({"tconst": part.movies["tconst"], "leak": part.ratings}) for part in (train, validation, test)]
    )
    quick = {"leaves": Axis.fixed(7), "max_trees": 100, "seeds": 1, "extra": every}
    model = boosting.fit(examples(train), examples(validation), seed=1, device="cpu", **quick)
    assert 1 - np.mean((model.predict(examples(test).inputs) - test.ratings) ** 2) / test.ratings.var() > 0.6
    assert model.fields[-1] == "leak"
    with pytest.raises(ValueError, match="audit"):
        model.save(tmp_path)


def test_years_to_come_are_mimicked_where_validation_is_later_than_training(known):
    early, late = (known[0].movies.with_columns(release_year=pl.lit(year, dtype=pl.Int32)) for year in (2001, 2009))
    later = replace(crowd(100, 3, first=3000), movies=late[:100].with_columns(tconst="x" + pl.col("tconst")))
    train = examples(
        replace(
            known[0], movies=early.with_columns(release_year=pl.col("tconst").str.slice(-1).cast(pl.Int32) % 7 + 2000)
        )
    )
    model = boosting.fit(train, examples(later), seed=1, device="cpu", leaves=Axis.fixed(7), max_trees=25, seeds=1)
    assert model.settings["folds"] == "years"
    feed = model.encodings.feed.movies
    assert feed.group_by("release_year").agg(pl.col("fold").n_unique())["fold"].to_list() == [1] * 7
    assert feed["fold"].n_unique() == 7
    assert boosting.refit(model, train, seed=2, device="cpu").settings["folds"] == "years"


def test_few_keys_and_many_are_found_alike():
    known = pl.Series([f"nm{number:04d}" for number in range(0, 2000, 2)])
    keys = pl.Series(["nm0004", "nm0005", "nm1998", "nm1999", "a", "zz", "nm0000"])
    expected = [2, 1000, 999, 1000, 1000, 1000, 0]
    assert numbers_of(keys, known).tolist() == expected
    assert numbers_of(pl.concat([keys] * 10), known).tolist() == expected * 10


@pytest.mark.parametrize("years", [[2016], [2012, 2013, 2014, 2015, 2016]])
def test_movies_of_few_years_are_in_folds_by_id(years):
    movies = pl.DataFrame(
        {
            "tconst": [f"tt{row:07}" for row in range(400)],
            "release_year": [years[0] if len(years) == 1 or row < len(years) else years[-1] for row in range(400)],
        }
    )
    assert _folds(movies, by_year=True).equals(_folds(movies, by_year=False))
