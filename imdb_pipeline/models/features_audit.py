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
        JSON values: ``movies``, ``features`` (counts); for encodings in folds by id (``by_id``), as in the split by id,
        and by year (``by_year``), ``leaking``, what ``leaks.own_rating_leaks`` returned, and what
        ``leaks.reveals_ratings`` returned; ``passed``, whether nothing leaks or is revealed in either.
    """
    import numpy as np

    some = train.take(np.sort(np.random.default_rng(seed).permutation(len(train))[:MOST]))
    names, _ = training_features(some)
    found: dict[str, Any] = {}
    for folds, by_year in (("by_id", False), ("by_year", True)):

        def build(ratings: np.ndarray, by_year: bool = by_year) -> np.ndarray:
            return training_features(replace(some, ratings=ratings), by_year=by_year)[1]

        leaking = own_rating_leaks(build, some.ratings, names, seed=seed)
        found[folds] = {"leaking": leaking, **reveals_ratings(build, some.ratings, seed=seed)}
    passed = not any(each["leaking"] or each["reveals"] for each in found.values())
    return {"movies": len(some), "features": len(names), **found, "passed": passed}
