"""What the map page is written from, drawn at random: any number of movies with places, neighbours and predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

_SYLLABLES = (
    *("ka", "ro", "mi", "su", "ten", "lo", "va", "ri", "no", "bel", "da", "se", "mo", "ti", "an", "gu", "ler", "fi"),
    *("os", "ny", "é", "ö", "ñ", "ça"),
)
_GENRES = (
    *("Drama", "Comedy", "Documentary", "Action", "Romance", "Thriller", "Crime", "Horror", "Adventure", "Family"),
    *("Sci-Fi", "Western"),
)
_SHARE_UNRATED, _SHARE_FUTURE = 0.04, 0.06


class Drawn(TypedDict):
    """Arguments of ``write_map_page``."""

    points: pl.DataFrame
    movies: pl.LazyFrame
    neighbours: pl.DataFrame
    predictions: pl.DataFrame


def draw_catalogue(n: int, *, seed: int = 0) -> Drawn:
    """Return n movies: titles of made-up words, clusters on the map, random neighbours from the own cluster."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(seed)
    tconst = [f"tt{number:07d}" for number in np.sort(rng.choice(9_000_000, n, replace=False)) + 1_000_000]
    words = np.array(["".join(rng.choice(_SYLLABLES, rng.integers(1, 4))).capitalize() for _ in range(5000)])
    common = (rng.pareto(1.2, (n, 4)) * 40).astype(int) % len(words)
    titles = pl.DataFrame(words[common], schema=list("abcd")).select(
        pl.concat_str(
            *(
                pl.when(pl.Series(rng.random(n) < share)).then(name)
                for name, share in zip("abcd", (1, 0.8, 0.5, 0.25), strict=True)
            ),
            separator=" ",
            ignore_nulls=True,
        )
    )
    cluster = rng.integers(0, 60, n)
    centres = rng.normal(0, 4, (60, 2))
    placed = (centres[cluster] + rng.standard_t(4, (n, 2)) * 0.6).astype(np.float32)
    rated = rng.random(n) >= _SHARE_UNRATED
    rating = np.clip(np.round(rng.normal(6.1, 1.3, n), 1), 1, 10)
    votes = (30 * (1 + rng.pareto(0.7, n))).clip(max=3_000_000).astype(np.int64)
    genres = np.array(_GENRES)[np.sort(rng.integers(0, len(_GENRES), (n, 3)), axis=1)]
    directors = rng.integers(0, max(1, n // 2), n)
    credits = pl.select(
        pl.struct(
            nconst=pl.Series([f"nm{number:07d}" for number in directors]),
            category=pl.lit("director"),
            name=pl.Series(words[directors % 5000]) + " " + pl.Series(words[directors // 7 % 5000]),
        )
    ).to_series()
    basis = np.where(
        ~rated | (rng.random(n) < _SHARE_FUTURE), "future", np.where(rng.random(n) < 0.8, "out_of_fold", "held_out")
    )
    prediction = np.clip(rating + rng.normal(0, 1, n), 1, 10)
    return {
        "points": pl.DataFrame({"tconst": tconst, "x": placed[:, 0], "y": placed[:, 1]}),
        "movies": pl.LazyFrame(
            {
                "tconst": tconst,
                "title": titles.to_series(),
                "release_year": pl.Series(2026 - (rng.gamma(1.2, 16, n).astype(int) % 130), dtype=pl.Int32),
                "genres": pl.Series(genres.tolist()).list.unique(maintain_order=True),
                "average_rating": pl.Series(rating).set(pl.Series(~rated), None),
                "num_votes": pl.Series(votes).set(pl.Series(~rated), None),
                "credits": credits.reshape((n, 1)).arr.to_list(),
            }
        ),
        "neighbours": pl.DataFrame(
            {"tconst": tconst, "neighbours": _neighbours(rng, cluster), "cosines": _cosines(rng, n)},
            schema_overrides={"neighbours": pl.List(pl.UInt32), "cosines": pl.List(pl.Float32)},
        ),
        "predictions": pl.DataFrame(
            {
                "tconst": tconst,
                "prediction": prediction,
                "low": (prediction - 1.6).clip(1),
                "high": (prediction + 1.6).clip(max=10),
                "basis": basis,
            }
        ),
    }


def _neighbours(rng: np.random.Generator, cluster: np.ndarray) -> pl.Series:
    import numpy as np
    import polars as pl

    order = np.argsort(cluster, kind="stable")
    steps = np.cumsum(rng.integers(1, 30, (len(cluster), 6)), axis=1)
    near = np.empty((len(cluster), 6), np.uint32)
    near[order] = order[(np.arange(len(cluster))[:, None] + steps) % len(cluster)]
    return pl.Series(near).arr.to_list()


def _cosines(rng: np.random.Generator, n: int) -> pl.Series:
    import numpy as np
    import polars as pl

    return pl.Series(-np.sort(-rng.beta(9, 1, (n, 6)), axis=1).astype(np.float32)).arr.to_list()
