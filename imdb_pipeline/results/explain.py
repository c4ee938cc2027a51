"""What each field and each person of a movie adds to its predicted rating, or takes from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imdb_pipeline.results.counterfactuals import counterfactuals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import polars as pl

    from imdb_pipeline.results.people_named import NamesHeld

WHAT_IT_SAYS = (
    "Each effect is of one change alone, so they do not add up; they are about the predictor, not about what makes "
    "a movie good."
)


def explain(
    movie: pl.DataFrame,
    predict: Callable[[pl.DataFrame, pl.Series], np.ndarray],
    *,
    catalogue: pl.DataFrame | NamesHeld | None = None,
    directors: Sequence[str] = (),
) -> dict[str, Any]:
    """Change a movie in one thing at a time and see what any predictor makes of it.

    Parameters
    ----------
    movie
        One row with the columns ``INPUT_COLUMNS``.
    predict
        Called once, with n movies (columns ``INPUT_COLUMNS``; the movie itself is the first, and all have its tconst)
        and their n documents (String, to be embedded); returns float64, shape (n,).
    catalogue, directors
        Other directors to try, by name or id, and the table ``movies`` to look them up in.

    Returns
    -------
    dict
        JSON values: tconst, title, release_year, prediction; ``fields`` (field), ``people`` (name, nconst, field),
        ``other_directors`` (name, nconst), lists of dicts that have besides ``prediction``, of the changed movie, and
        ``effect``. Of a field or a person that is how much it adds: the movie's prediction less that without it. Of
        another director it is what the change would add. The largest effects come first. ``ambiguous``, ``unknown``:
        of the directors that were asked for. ``says``: what the effects are.
    """
    import numpy as np
    import polars as pl

    from imdb_pipeline.catalogue.documents import documents_of

    changed = counterfactuals(movie, catalogue=catalogue, directors=directors)
    movies = pl.concat([movie, changed.movies])
    predictions = np.asarray(predict(movies, documents_of(movies)), dtype=np.float64)
    if predictions.shape != (len(movies),) or not np.isfinite(predictions).all():
        raise ValueError(f"predictions of shape {predictions.shape} for {len(movies)} movies, or one is not a number")
    own = float(predictions[0])
    lists: dict[str, list[dict[str, Any]]] = {"field": [], "person": [], "director": []}
    for change, prediction in zip(changed.changes, predictions[1:].tolist(), strict=True):
        effect = prediction - own if change["change"] == "director" else own - prediction
        what = {name: value for name, value in change.items() if name != "change"}
        lists[change["change"]].append({**what, "prediction": prediction, "effect": effect})
    row = movie.row(0, named=True)
    return {
        **{name: row[name] for name in ("tconst", "title", "release_year")},
        "prediction": own,
        "fields": largest_first(lists["field"]),
        "people": largest_first(lists["person"]),
        "other_directors": largest_first(lists["director"]),
        **changed.notes,
        "says": WHAT_IT_SAYS,
    }


def field_contributions(contributions: np.ndarray, fields: Sequence[str]) -> dict[str, Any]:
    """Sum the exact contributions of the trees to one prediction (Lundberg et al. 2020, doi:10.1038/s42256-019-0138-9)
    by field of the document.

    Parameters
    ----------
    contributions
        float64, shape (features + 1,): of one movie; the last is the base, the mean prediction of the trees.
    fields
        The field of each feature.

    Returns
    -------
    dict
        JSON values: ``base``, ``fields`` (field, effect; the largest first), and ``prediction``, their sum, before it
        is kept on the scale.
    """
    if len(contributions) != len(fields) + 1:
        raise ValueError(f"{len(contributions)} contributions of {len(fields)} features and a base")
    sums: dict[str, float] = {}
    for field, value in zip(fields, contributions[:-1].tolist(), strict=True):
        sums[field] = sums.get(field, 0.0) + value
    base = float(contributions[-1])
    effects = [{"field": field, "effect": effect} for field, effect in sums.items()]
    return {"base": base, "fields": largest_first(effects), "prediction": base + sum(sums.values())}


def largest_first(effects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return effects by their absolute size, the largest first; equals stay in their order."""
    return sorted(effects, key=lambda row: -abs(row["effect"]))
