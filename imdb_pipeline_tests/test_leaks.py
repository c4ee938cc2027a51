"""The guards catch encoders that leak a movie's own rating, and let honest ones pass."""

from __future__ import annotations

import numpy as np
import pytest

from imdb_pipeline.models.leaks import own_rating_leaks, reveals_ratings

MOVIES, DIRECTORS = 1_000, 25
NAMES = ["runtime", "director", "encoded"]


def of_people(encode):
    """Features of movies with one director each: the runtime, who directs, and what the encoder makes of it."""
    generator = np.random.default_rng(0)
    runtime = generator.normal(100, 20, MOVIES)

    def build(ratings: np.ndarray) -> np.ndarray:
        return np.column_stack([runtime, directors, encode(ratings.astype(np.float64))])

    return build


directors = np.random.default_rng(1).integers(DIRECTORS, size=MOVIES)
works_with = np.random.default_rng(2).permutation(DIRECTORS)
folds = np.arange(MOVIES) % 5


def sums(ratings: np.ndarray, rows: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
    total = np.bincount(directors[rows], weights=ratings[rows], minlength=DIRECTORS)
    return total, np.bincount(directors[rows], minlength=DIRECTORS)


def leave_none_out(ratings):
    total, count = sums(ratings)
    return (total / count)[directors]


def leave_one_out(ratings):
    total, count = sums(ratings)
    return (total[directors] - ratings) / (count[directors] - 1)


def two_steps_back_to_oneself(ratings):
    # The mean over the partner's movies and over those of the partner's partner, who may be the movie's own director.
    total, count = sums(ratings)
    means = total / count
    partner = works_with[directors]
    return means[partner] + 0.3 * means[np.argsort(works_with)[partner]]


def shrunk_to_the_mean_of_all(ratings):
    total, count = sums(ratings)
    return (total[directors] - ratings + 10 * ratings.mean()) / (count[directors] + 9)


def others_folds(ratings):
    encoded = np.empty(MOVIES)
    for fold in range(5):
        total, count = sums(ratings, folds != fold)
        here = folds == fold
        encoded[here] = (total[directors[here]] + 6 * 10) / (count[directors[here]] + 10)
    return encoded


def other_data(ratings):
    return np.random.default_rng(3).normal(6, 1, DIRECTORS)[directors]


@pytest.fixture(scope="module")
def ratings():
    talent = np.random.default_rng(4).normal(0, 0.8, DIRECTORS)
    return (6 + talent[directors] + np.random.default_rng(5).normal(0, 1, MOVIES)).clip(1, 10).astype(np.float32)


@pytest.mark.parametrize("encode", [leave_none_out, two_steps_back_to_oneself, shrunk_to_the_mean_of_all])
def test_an_encoder_that_reads_the_own_rating_is_named(encode, ratings):
    assert own_rating_leaks(of_people(encode), ratings, NAMES, seed=0) == ["encoded"]


@pytest.mark.parametrize("encode", [leave_one_out, others_folds, other_data])
def test_an_encoder_that_does_not_read_it_passes(encode, ratings):
    assert own_rating_leaks(of_people(encode), ratings, NAMES, seed=0) == []


def test_a_leak_in_a_few_movies_of_many_suspects_is_found(ratings):
    def encode(ratings):
        # All rows change with others of their group, one in five with its own rating as well.
        return np.where(folds == 0, leave_none_out(ratings), leave_one_out(ratings))

    assert own_rating_leaks(of_people(encode), ratings, NAMES, seed=0) == ["encoded"]


def of_a_pair(ratings):
    pairs = np.arange(MOVIES) // 2
    return (np.bincount(pairs, weights=ratings) / 2)[pairs]


@pytest.mark.parametrize("encode", [of_a_pair, leave_one_out, shrunk_to_the_mean_of_all])
def test_shuffled_ratings_show_what_gives_the_own_rating_away(encode, ratings):
    # Leaving one out reads no own rating, so the guard above cannot see it: but who directs tells the total of his
    # movies, and the total less the others' mean is the movie's own rating.
    shown = reveals_ratings(of_people(encode), ratings, seed=0)
    assert shown["reveals"] is True
    assert shown["r2"] > 0.3


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_ratings_show_nothing_of_honest_features(seed, ratings):
    shown = reveals_ratings(of_people(other_data), ratings, seed=seed)
    assert shown["reveals"] is False
    assert shown["r2"] < 0.01


def test_features_that_differ_by_chance_are_refused(ratings):
    generator = np.random.default_rng()
    with pytest.raises(ValueError, match="the same ratings gave other features"):
        own_rating_leaks(lambda ratings: generator.normal(size=(MOVIES, 3)), ratings, NAMES, seed=0)
    with pytest.raises(ValueError, match="features of shape"):
        own_rating_leaks(of_people(other_data), ratings, NAMES[:2], seed=0)
