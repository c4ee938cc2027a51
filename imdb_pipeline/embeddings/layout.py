"""The map of a day: from yesterday's layout where there is one, so that it does not jump, else from scratch.

How UMAP is run belongs to ``umap``, and what a map is worth to ``trustworthiness``.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from imdb_pipeline.embeddings.trustworthiness import trustworthiness
from imdb_pipeline.embeddings.umap import (
    Schedule,
    choose,
    first_positions,
    full_schedule,
    optimise,
    principal_components,
)

if TYPE_CHECKING:
    import numpy as np

    from imdb_pipeline.settings import MapSettings

log = logging.getLogger(__name__)

REFINEMENT = Schedule(epochs=15, learning_rate=0.01)
"""Of a layout that starts from an earlier one; benchmarks/RESULTS.md has what else was tried."""
SETTLING = Schedule(epochs=30, learning_rate=0.02)
"""After UMAP's own schedule."""
MOST_NEW = 0.2
"""Share of new and changed movies above which a map is laid out from scratch."""
MOST_LOST = 0.02
"""Trustworthiness that a map may lack against the layout from scratch that it comes from."""
_FEWEST = 16
"""Fewer movies than this are laid out by their two main components: UMAP has no graph to speak of."""
_NOISE = 1e-3
_PLACED_BY = 15


@dataclass(frozen=True)
class Earlier:
    """An earlier day's map, in the rows of today.

    Attributes
    ----------
    day
        YYYY-MM-DD.
    coordinates
        float32, shape (n, 2); NaN for movies that it does not have, or had with another document.
    reference
        Trustworthiness of the layout from scratch that it comes from.
    """

    day: str
    coordinates: np.ndarray
    reference: float


@dataclass(frozen=True)
class Layout:
    """A map and how it came about.

    Attributes
    ----------
    coordinates
        float32, shape (n, 2).
    method
        What laid it out.
    start
        The day that it starts from; None: from scratch.
    reason
        Why it starts there.
    placed
        Movies that began among their neighbours: new ones, and those with another document.
    trustworthiness
        See the module of that name; None for fewer than three movies.
    reference
        The same of the layout from scratch that it comes from; None where no day can start from it.
    moved
        Median and 95th percentile of how far the movies of both maps moved, in units of the map's spread (the root
        mean square distance from its middle); None without an earlier map.
    """

    coordinates: np.ndarray
    method: str
    start: str | None
    reason: str
    placed: int
    trustworthiness: float | None
    reference: float | None
    moved: tuple[float, float] | None


def lay_out(
    embeddings: np.ndarray,
    neighbour_rows: np.ndarray,
    cosines: np.ndarray,
    settings: MapSettings,
    *,
    earlier: Earlier | None = None,
    seed: int,
    device: str,
) -> Layout:
    """Lay the movies out in two dimensions.

    An earlier map is refined: what it has stays where it is but for a short optimisation, and what is new begins among
    its neighbours. Where too much is new, or the result is not as trustworthy as it should be, the map is laid out from
    scratch and turned as the earlier one was, unless that would be no better.

    Parameters
    ----------
    embeddings
        float32, shape (n, dimension), unit rows.
    neighbour_rows, cosines
        Of ``neighbours.nearest``.
    earlier
        A map of the same encoder under the same settings.
    seed
        On a CPU the same seed and earlier map give the same coordinates.
    """
    import numpy as np

    n = len(embeddings)
    new = n if earlier is None else int(np.isnan(earlier.coordinates).any(axis=1).sum())

    def layout(coordinates: np.ndarray, start: str | None, reason: str) -> Layout:
        trust = trustworthiness(embeddings, coordinates, seed=seed, device=device)
        reference = earlier.reference if earlier is not None and start is not None else trust
        moved = None if earlier is None else displacement(earlier.coordinates, coordinates)
        return Layout(coordinates, choose(device), start, reason, new, trust, reference, moved)

    if n < _FEWEST:
        components = layout(principal_components(embeddings), None, f"fewer than {_FEWEST} movies")
        return replace(components, method="two principal components", reference=None)
    arguments = (embeddings, neighbour_rows, cosines, settings)
    refined = None
    if earlier is None:
        reason = "there is no earlier map of this encoder under these settings"
    elif new > MOST_NEW * n:
        reason = f"{new / n:.0%} of the movies are new or have another document, at most {MOST_NEW:.0%} may"
    else:
        start = place_new(earlier.coordinates, neighbour_rows, cosines, seed=seed)
        coordinates = optimise(start, *arguments, REFINEMENT, seed=seed, device=device)
        coordinates = align(coordinates, earlier.coordinates, keep_spread=True)
        refined = layout(coordinates, earlier.day, f"{new} movies are new or have another document")
        lost = earlier.reference - (refined.trustworthiness or 0.0)
        if lost <= MOST_LOST:
            return refined
        reason = f"trustworthiness fell by {lost:.3f} since the last layout from scratch"
    log.info("from scratch: %s", reason)
    coordinates = first_positions(embeddings, settings, seed=seed)
    coordinates = optimise(coordinates, *arguments, full_schedule(n, settings), seed=seed, device=device)
    if not settings.epochs:
        # It is more trustworthy for it, and the next day has less left to move.
        coordinates = optimise(coordinates, *arguments, SETTLING, seed=seed, device=device)
    if earlier is not None:
        coordinates = align(coordinates, earlier.coordinates)
    fresh = layout(coordinates, None, reason)
    if refined is not None and (fresh.trustworthiness or 0.0) <= (refined.trustworthiness or 0.0):
        # The vectors have become harder to lay out; from now on the map is held against what it is today.
        return replace(refined, reference=refined.trustworthiness, reason=f"{reason}, and that would be no better")
    return fresh


def place_new(coordinates: np.ndarray, neighbour_rows: np.ndarray, cosines: np.ndarray, *, seed: int) -> np.ndarray:
    """Put movies without a place at the weighted mean of their placed neighbours, then those that lack even these.

    Parameters
    ----------
    coordinates
        float32, shape (n, 2); NaN for movies without a place, at least one has one.
    """
    import numpy as np

    placed = coordinates.astype(np.float32)
    near = neighbour_rows[:, :_PLACED_BY]
    distances = 1 - cosines[:, :_PLACED_BY].astype(np.float64)
    distances -= distances[:, :1]
    weights = np.exp(-distances / (distances.mean(axis=1, keepdims=True) + 1e-9))
    missing = np.flatnonzero(np.isnan(placed).any(axis=1))
    random = np.random.default_rng(seed)
    while len(missing):
        known = weights[missing] * ~np.isnan(placed[near[missing], 0])
        total = known.sum(axis=1)
        ready = total > 0
        if not ready.any():
            placed[missing] = np.nanmean(placed, axis=0) + random.normal(0, _NOISE, (len(missing), 2))
            break
        around = np.nan_to_num(placed[near[missing[ready]]])
        means = (around * known[ready, :, None]).sum(axis=1) / total[ready, None]
        placed[missing[ready]] = means + random.normal(0, _NOISE, means.shape)
        missing = missing[~ready]
    return placed


def align(coordinates: np.ndarray, onto: np.ndarray, *, keep_spread: bool = False) -> np.ndarray:
    """Turn, mirror and move a map so that it lies as well as it can on another (orthogonal Procrustes).

    Parameters
    ----------
    coordinates
        float32, shape (n, 2).
    onto
        The same shape; rows with NaN do not count.
    keep_spread
        Give it the spread of the other, too: refined day after day, a map would grow by a tenth of a percent or more a
        day. A layout from scratch has its own, which balances UMAP's forces.
    """
    import numpy as np

    both = ~np.isnan(onto).any(axis=1)
    if not both.any():
        return coordinates
    middle, target = coordinates[both].mean(axis=0), onto[both].mean(axis=0)
    own, other = coordinates[both] - middle, onto[both] - target
    left, _, right = np.linalg.svd(own.T @ other)
    scale = np.linalg.norm(other) / (np.linalg.norm(own) or 1.0) if keep_spread else 1.0
    return (scale * (coordinates - middle) @ (left @ right) + target).astype(np.float32)


def displacement(before: np.ndarray, after: np.ndarray) -> tuple[float, float] | None:
    """Return median and 95th percentile of how far movies moved, in units of the spread of ``after``.

    None where no movie is on both; rows with NaN do not count.
    """
    import numpy as np

    both = ~np.isnan(before).any(axis=1)
    spread = np.sqrt(((after - after.mean(axis=0)) ** 2).sum(axis=1).mean())
    if not both.any() or not spread:
        return None
    median, most = np.quantile(np.linalg.norm(after[both] - before[both], axis=1) / spread, [0.5, 0.95])
    return float(median), float(most)
