"""The report's lists of movies: rated far from what was predicted, and the highest predictions of those to come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

TOP = 25
"""Movies in a list; the page folds what is beyond the first ten."""
VOTES = (10_000, 1_000, 100)
"""The most votes that may be asked of a movie in the lists."""
FEWEST = 400
"""So many movies must have that many votes, or fewer votes are asked."""
_UNSEEN = ("held_out", "out_of_fold")


def surprises(titled: pl.DataFrame, *, min_votes: int) -> dict[str, Any] | None:
    """Return the movies whose rating is farthest from a prediction by a model that had not seen it; None without any.

    Parameters
    ----------
    titled
        Columns of ``predictions_table``, with title and release_year.
    min_votes
        Votes that are enough to learn from: all movies that were predicted unseen have them.

    Returns
    -------
    dict
        ``votes`` that were asked for, ``movies`` that had them, ``by_basis`` (movies of each basis), ``mae``,
        ``beyond`` (share of them outside their interval); ``higher`` and ``lower``: rated above and below the
        prediction, each with ``error``, rating less prediction, and ``outside``.
    """
    import polars as pl

    unseen = titled.filter(pl.col("basis").is_in(_UNSEEN), pl.col("average_rating").is_not_null())
    if unseen.is_empty():
        return None
    votes = next((least for least in VOTES if len(unseen.filter(pl.col("num_votes") >= least)) >= FEWEST), min_votes)
    rating, error = pl.col("average_rating"), pl.col("average_rating") - pl.col("prediction")
    judged = unseen.filter(pl.col("num_votes") >= votes).with_columns(
        error=error, outside=(rating < pl.col("low")) | (rating > pl.col("high"))
    )
    if judged.is_empty():
        return None
    return {
        "votes": votes,
        "movies": len(judged),
        "by_basis": dict(judged["basis"].value_counts(sort=True).iter_rows()),
        "mae": judged["error"].abs().mean(),
        "beyond": judged["outside"].mean(),
        "higher": judged.filter(pl.col("error") > 0)
        .sort("error", "tconst", descending=[True, False])
        .head(TOP)
        .to_dicts(),
        "lower": judged.filter(pl.col("error") < 0).sort("error", "tconst").head(TOP).to_dicts(),
    }


def coming(titled: pl.DataFrame) -> dict[str, Any] | None:
    """Return ``movies``, how many have a prediction and no rating, and the ``rows`` with the highest; None if none."""
    import polars as pl

    unrated = titled.filter(pl.col("num_votes").is_null())
    if unrated.is_empty():
        return None
    rows = unrated.sort("prediction", "tconst", descending=[True, False]).head(TOP)
    return {"movies": len(unrated), "rows": rows.to_dicts()}
