"""The leaderboard of a release, as it was published: a row per predictor with how long its fit took and on what."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imdb_pipeline.store import Store


def read_leaderboard(store: Store, release: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return one row per predictor, the best on validation first: see ``api.leaderboard``.

    Parameters
    ----------
    release
        What ``Store.current`` gave; None: the release that is current now.
    """
    rows = []
    for row in _board(store, release)["rows"]:
        info = store.released(f"{row['model']}_predictor", release).manifest["info"]
        rows.append({**row, "fit_seconds": info["fit_seconds"], "device": info["device"]})
    return rows


def too_few_movies(store: Store) -> str | None:
    """Return why the predictors of the release learnt nothing, or None where they did."""
    return _board(store)["too_few"]


def _board(store: Store, release: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return json.loads(store.released("leaderboard", release).file("leaderboard.json").read_bytes())
