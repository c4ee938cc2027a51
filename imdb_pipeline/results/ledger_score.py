"""How the predictions in the ledger turned out: by model and overall, and by how many days ahead they were made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from imdb_pipeline.results.ledger import Ledger

HORIZONS = (("0-6", 0, 6), ("7-29", 7, 29), ("30-89", 30, 89), ("90-364", 90, 364), ("365+", 365, None))
"""Days from the prediction to the grade: name, fewest, most (None: no end)."""

_MIN_MOVIES = 30
_NORMAL = 1.96


def score(ledger: Ledger) -> dict[str, Any]:
    """Return how the graded predictions did against the rating on the day of grading.

    Returns
    -------
    dict
        JSON values. ``entries``, ``predicted`` (movies), ``graded`` (movies): counts. ``overall``: each graded movie
        once, by the last entry before its grade, of whichever model made it; ``models``: a list of the same with
        ``model``, ``first_day`` and ``last_day`` (of its graded entries), oldest first, each movie by that model's last
        entry. Both hold the figures below as ``last``, and for each movie's first entry instead as ``first``.
        ``by_days_ahead`` (with ``days``) and ``by_votes`` (with ``votes``: whether the movie had any when it was
        predicted) split the entries of ``overall``'s ``last``.

        The figures: ``n``, ``mse``, ``mae``, ``bias`` (mean of prediction less rating), ``r2`` (1 - MSE / MSE of the
        training means that stand with the entries), ``r2_low``, ``r2_high`` (its 95 % interval over movies by the delta
        method for a ratio of means; None below 30 movies), ``inside``, ``coverage``, ``coverage_low``,
        ``coverage_high`` (of the 90 % intervals, with 95 % binomial bounds), ``mean_width``, ``mean_days_ahead``; all
        but the counts None where n is 0.
    """
    import polars as pl

    graded = ledger.entries.rename({"num_votes": "votes_then"}).join(
        ledger.grades.select("tconst", "graded_day", "average_rating"), on="tconst", maintain_order="left"
    )
    graded = graded.filter(pl.col("day") <= pl.col("graded_day")).with_columns(
        days_ahead=(pl.col("graded_day") - pl.col("day")).dt.total_days()
    )
    last = graded.unique("tconst", keep="last", maintain_order=True)
    models = []
    for (name,), rows in graded.group_by("model", maintain_order=True):
        days = {"first_day": str(rows["day"].min()), "last_day": str(rows["day"].max())}
        models.append({"model": name, **days, **_first_and_last(rows)})
    ahead, votes = pl.col("days_ahead"), pl.col("votes_then")
    return {
        "entries": len(ledger.entries),
        "predicted": ledger.entries["tconst"].n_unique(),
        "graded": len(ledger.grades),
        "overall": _first_and_last(graded),
        "models": models,
        "by_days_ahead": [
            {"days": name, **_figures(last.filter(ahead >= fewest, pl.lit(True) if most is None else ahead <= most))}
            for name, fewest, most in HORIZONS
        ],
        "by_votes": [
            {"votes": "none", **_figures(last.filter(votes.is_null() | (votes == 0)))},
            {"votes": "some", **_figures(last.filter(votes > 0))},
        ],
    }


def _first_and_last(rows: pl.DataFrame) -> dict[str, Any]:
    """Return the figures of each movie's last entry and of its first; entries are in the order of their days."""
    return {
        keep: _figures(rows.unique("tconst", keep=keep, maintain_order=True))  # pyright: ignore[reportArgumentType]
        for keep in ("last", "first")
    }


def _figures(rows: pl.DataFrame) -> dict[str, Any]:
    import polars as pl

    from imdb_pipeline.models.conformal import covered

    error, mean_error = (pl.col(name) - pl.col("average_rating") for name in ("prediction", "training_mean"))
    figures = rows.select(
        mse=(error**2).mean(),
        mae=error.abs().mean(),
        bias=error.mean(),
        mean_mse=(mean_error**2).mean(),
        mean_days_ahead=pl.col("days_ahead").mean(),
    ).row(0, named=True)
    r2: dict[str, float | None] = {"r2": None, "r2_low": None, "r2_high": None}
    mean_mse = figures.pop("mean_mse")
    if mean_mse:
        ratio = figures["mse"] / mean_mse
        r2["r2"] = 1 - ratio
        if len(rows) >= _MIN_MOVIES:
            spread = rows.select((error**2 - ratio * mean_error**2).std()).item() / mean_mse / len(rows) ** 0.5
            r2 |= {"r2_low": 1 - ratio - _NORMAL * spread, "r2_high": 1 - ratio + _NORMAL * spread}
    return {**covered(rows), **figures, **r2}
