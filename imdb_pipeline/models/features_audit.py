"""Whether what the trees read of a movie knows its rating: the guards of ``leaks`` on the real features."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.boosting import training_features
from imdb_pipeline.models.leaks import own_rating_leaks, reveals_ratings

if TYPE_CHECKING:
    import numpy as np

    from imdb_pipeline.models.examples import Examples

MOST = 3_000
"""Training movies looked at: the features are built anew for each change of their ratings."""


def audit_features(train: Examples, *, seed: int) -> dict[str, Any]:
    """Return which features of the trees change with a movie's own rating, and whether they give it away.

    Returns
    -------
    dict
        JSON values: ``movies``, ``features`` (counts), ``leaking``, what ``leaks.own_rating_leaks`` returned, and what
        ``leaks.reveals_ratings`` returned.
    """
    import numpy as np

    some = train.take(np.sort(np.random.default_rng(seed).permutation(len(train))[:MOST]))

    def build(ratings: np.ndarray) -> np.ndarray:
        return training_features(replace(some, ratings=ratings))[1]

    names, _ = training_features(some)
    return {
        "movies": len(some),
        "features": len(names),
        "leaking": own_rating_leaks(build, some.ratings, names, seed=seed),
        **reveals_ratings(build, some.ratings, seed=seed),
    }
