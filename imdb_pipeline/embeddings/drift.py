"""Drift over release years: how far documents, and the map, tell when a movie is from, rather than what it is like.

What it looks like belongs to ``results.plots``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imdb_pipeline.embeddings.trustworthiness import nearest_on_map

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

NEIGHBOURS = 15
YEAR_ONLY = 0.8
"""A movie is in a year-only cluster when at least this share of its nearest on the map is of its own release year."""
FEWEST = 20
"""A year with fewer movies has no point on the trend; its mean says little."""


@dataclass(frozen=True)
class Drift:
    """How the release year shows in the vectors and on the map.

    Attributes
    ----------
    movies
        Those with a release year; the others count only as somebody's neighbours.
    vectors_explained, map_explained
        Share of the variance that lies between release years (epsilon squared: less what as many groups drawn by chance
        would explain). None where there are not two years and a movie more.
    same_year_vectors, same_year_map
        Mean share, among a movie's nearest, of movies of its own release year.
    same_year_chance
        The same for neighbours drawn by chance.
    year_only
        Share of the movies that are in a year-only cluster on the map.
    trend_per_decade
        How far the vectors move in ten years along their trend, in units of the vectors' spread (the root mean square
        distance from their mean); by least squares. None where ``vectors_explained`` is.
    years
        One row per release year, in order: release_year (Int32), movies, same_year_vectors, same_year_map,
        same_year_chance, year_only (its movies' shares), x, y (mean on the map), trend (mean of the vectors along the
        trend, in the same units, from their overall mean). x, y and trend are null for years of fewer than ``FEWEST``
        movies.
    """

    movies: int
    vectors_explained: float | None
    map_explained: float | None
    same_year_vectors: float
    same_year_map: float
    same_year_chance: float
    year_only: float
    trend_per_decade: float | None
    years: pl.DataFrame

    def figures(self) -> dict[str, float | None]:
        """Return all but the years, rounded: what a report shows."""
        values = {name: value for name, value in vars(self).items() if name != "years"}
        return {name: value if value is None else round(value, 4) for name, value in values.items()}


def measure_drift(
    release_year: np.ndarray, embeddings: np.ndarray, neighbour_rows: np.ndarray, coordinates: np.ndarray
) -> Drift | None:
    """Measure the drift over release years; None where no two movies have one.

    The trend is the direction in which the vectors' covariance with the release year is largest.

    Parameters
    ----------
    release_year
        float64, shape (n,); NaN where it is not known.
    embeddings
        float32, shape (n, dimension), unit rows.
    neighbour_rows
        int64, shape (n, k): of ``neighbours.nearest``.
    coordinates
        float32, shape (n, 2).
    """
    import numpy as np
    import polars as pl

    known = np.flatnonzero(~np.isnan(release_year))
    if len(known) < 2:
        return None
    k = min(NEIGHBOURS, len(release_year) - 1)
    own = release_year[known, None]
    on_map = (release_year[nearest_on_map(coordinates, k, known)] == own).mean(axis=1)
    among_vectors = (release_year[neighbour_rows[known, :k]] == own).mean(axis=1)
    year_only = (on_map >= YEAR_ONLY).astype(np.float64)
    years, group, counts = np.unique(release_year[known], return_inverse=True, return_counts=True)
    centred = embeddings[known] - embeddings[known].mean(axis=0)
    points = coordinates[known] - coordinates[known].mean(axis=0)
    elapsed = (release_year[known] - release_year[known].mean()).astype(np.float32)
    direction = elapsed @ centred
    length = float(np.linalg.norm(direction))
    spread = (_sum_of_squares(centred) / len(centred)) ** 0.5
    explained = _explained(centred, group, counts)
    along = centred @ (direction / (length or 1.0)) / (spread or 1.0)
    enough = counts >= FEWEST
    chance = (counts - 1) / (len(release_year) - 1)

    def means(values: np.ndarray) -> np.ndarray:
        return np.bincount(group, weights=values) / counts

    def of_large_years(values: np.ndarray) -> pl.Series:
        return pl.Series(np.where(enough, means(values), np.nan)).fill_nan(None)

    return Drift(
        movies=len(known),
        vectors_explained=explained,
        map_explained=_explained(points, group, counts),
        same_year_vectors=float(among_vectors.mean()),
        same_year_map=float(on_map.mean()),
        same_year_chance=float((counts * chance).sum() / len(known)),
        year_only=float(year_only.mean()),
        trend_per_decade=None if explained is None else 10 * float((elapsed @ along) / (elapsed @ elapsed)),
        years=pl.DataFrame(
            {
                "release_year": years.astype(np.int32),
                "movies": counts,
                "same_year_vectors": means(among_vectors),
                "same_year_map": means(on_map),
                "same_year_chance": chance,
                "year_only": means(year_only),
                "x": of_large_years(coordinates[known, 0]),
                "y": of_large_years(coordinates[known, 1]),
                "trend": of_large_years(along),
            }
        ),
    )


def _explained(centred: np.ndarray, group: np.ndarray, counts: np.ndarray) -> float | None:
    """Return epsilon squared (Kelley 1935) of groups: the share of the sum of squares between them, less chance's."""
    import numpy as np

    n, groups = len(centred), len(counts)
    total = _sum_of_squares(centred)
    if groups < 2 or n <= groups or not total:
        return None
    sums = np.stack([np.bincount(group, weights=column) for column in centred.T])
    within = total - float((sums**2 / counts).sum())
    return 1 - (within / (n - groups)) / (total / (n - 1))


def _sum_of_squares(values: np.ndarray) -> float:
    import numpy as np

    return float(np.einsum("ij,ij->", values, values, dtype=np.float64))
