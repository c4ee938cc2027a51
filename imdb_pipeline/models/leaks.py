"""Guards against features that know what they must not: a movie's own rating.

They take whatever builds features, so they tell nothing of how: they change what goes in and look at what comes out.
What a forbidden column would be worth to a predictor is in ``audit``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.evaluate import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

TOLERANCE = 1e-5
"""What rounding may change in a feature: a sum less one of its terms is not to the last bit the sum without it."""

CHANCE = 0.01
"""R² up to which a fit on shuffled ratings says nothing: intervals are of the movies, not of how they were shuffled."""

TREES = {
    "objective": "regression",
    "learning_rate": 0.1,
    "num_leaves": 31,
    "min_data_in_leaf": 5,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
MAX_TREES = 500
PATIENCE = 25


def own_rating_leaks(
    build: Callable[[np.ndarray], np.ndarray],
    ratings: np.ndarray,
    names: Sequence[str],
    *,
    seed: int,
    groups: int = 8,
    singles: int = 40,
) -> list[str]:
    """Return the features that change in a movie's own row when nothing but its rating changes.

    First all movies' ratings are changed, a group at a time: a column in which no row of the changed group changed
    reads no own rating anywhere. Where one did, it may be because of another movie of the group, so up to ``singles``
    of those movies are changed one at a time, some for each suspected column.

    It sees a feature that depends on the own rating: the plain mean of a director's movies, a mean over all movies, a
    prediction of a model that was fitted on the row. It cannot see a feature that gives the own rating away by leaving
    it out: the mean of a director's *other* movies does not depend on it, and yet the director's total less that mean
    is it. ``reveals_ratings`` sees that.

    Parameters
    ----------
    build
        Takes ratings, float32, shape (n,), of training movies, and returns the features that they are trained with:
        shape (n, columns). The same ratings give the same features.
    ratings
        float32, shape (n,).
    names
        Of the columns.

    Returns
    -------
    list of str
        Sorted by column; empty where there is none.

    Raises
    ------
    ValueError
        Where two builds of the same ratings differ, or the columns are not as many as the names.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    before = build(ratings)
    if before.shape != (len(ratings), len(names)):
        raise ValueError(f"features of shape {before.shape}: expected {(len(ratings), len(names))}")
    if _changed(before, build(ratings.copy())).any():
        raise ValueError("the same ratings gave other features: fix the seed, or nothing can be said of a change")

    def changed_rows(rows: np.ndarray) -> np.ndarray:
        other = ratings.copy()
        # Far from where they were, on either side, and no two movies by the same amount.
        shift = generator.uniform(2, 4, len(rows)).astype(ratings.dtype)
        other[rows] += np.where(ratings[rows] > 5.5, -shift, shift)
        return _changed(before[rows], build(other)[rows])

    suspected = np.zeros(before.shape, dtype=bool)
    for rows in np.array_split(generator.permutation(len(ratings)), min(groups, len(ratings))):
        suspected[rows] = changed_rows(rows)
    leaking = np.zeros(len(names), dtype=bool)
    columns = np.flatnonzero(suspected.any(axis=0))
    for place in range(singles):
        open_columns = [column for column in columns if not leaking[column] and suspected[:, column].any()]
        if not open_columns:
            break
        column = open_columns[place % len(open_columns)]
        row = generator.choice(np.flatnonzero(suspected[:, column]), size=1)
        leaking |= changed_rows(row)[0]
        suspected[row] = False
    return [name for name, leaks in zip(names, leaking.tolist(), strict=True) if leaks]


def reveals_ratings(build: Callable[[np.ndarray], np.ndarray], ratings: np.ndarray, *, seed: int) -> dict[str, Any]:
    """Say whether features give their rows' ratings away where there is nothing to learn: the ratings are shuffled.

    The features are built from the shuffled ratings of all movies; trees are then fitted on a third of them, stopped
    by another and judged on the last, whose rows they have not seen. Honest features tell them nothing: R² is about 0.
    Above it, the features of a row hold its own rating, plainly or so that trees can work it out from what others of
    the same director, say, have in theirs.

    Parameters
    ----------
    build, ratings
        As in ``own_rating_leaks``.

    Returns
    -------
    dict
        What ``evaluate`` returned, and ``reveals``: whether the interval of R² is above ``CHANCE``.
    """
    import lightgbm
    import numpy as np

    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(ratings)
    features = build(shuffled)
    learned, stopped, judged = np.array_split(generator.permutation(len(ratings)), 3)
    train = lightgbm.Dataset(features[learned], shuffled[learned])
    trees = lightgbm.train(
        {**TREES, "seed": seed},
        train,
        num_boost_round=MAX_TREES,
        valid_sets=[train.create_valid(features[stopped], shuffled[stopped])],
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )
    predicted = np.asarray(trees.predict(features[judged]))
    mean = np.full(len(judged), shuffled[learned].mean(dtype=np.float64))
    metrics = evaluate(predicted, shuffled[judged], mean, seed=seed)
    return metrics | {"reveals": metrics["r2_low"] is not None and metrics["r2_low"] > CHANCE}


def _changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Say cell by cell what differs by more than rounding."""
    import numpy as np

    return ~np.asarray(np.isclose(before, after, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))
