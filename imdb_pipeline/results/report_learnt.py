"""The report's section on what the champion learnt: what its trees add to a prediction, by field and by feature."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imdb_pipeline.champions import CHAMPION, MODEL, UNSEEN
from imdb_pipeline.results.charts import Chart

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from markupsafe import Markup

    from imdb_pipeline.store import Revision

MOVIES = 300
"""Test movies that the contributions are averaged over: exact contributions cost about 6 ms a movie."""
_FEATURES = 20
_FEWEST = 10
"""Of them with a genre, for that genre's mean."""
_FIELDS = {
    "credits": "all its people together",
    "title": "the title: its words and its form",
    "title_type": "film or television film",
    "is_adult": "being an adult title",
    "runtime_minutes": "runtime",
    "release_year": "release year",
}


def learnt_section(champion: Revision, movies: pl.DataFrame) -> dict[str, Any] | None:
    """Return what the section shows; None where the champion has no trees, or no test movie is left.

    The model file is read as the champion's predictions do; its bytes must have been compared with the manifest.

    Parameters
    ----------
    champion
        The published champion.
    movies
        As ``build_movies`` gives them.

    Returns
    -------
    dict
        ``member`` whose trees they are, ``weight`` of it in a blend or None, ``movies`` that were averaged over;
        ``fields`` and ``features``: name and mean absolute contribution in rating points, largest first; ``genres``:
        the chart of the mean contribution of each genre to the movies that have it, or None.
    """
    import numpy as np
    import polars as pl

    from imdb_pipeline.models.examples import INPUT_COLUMNS, Inputs
    from imdb_pipeline.models.fitting import load_predictor

    chosen = json.loads(champion.file(CHAMPION).read_bytes())
    if chosen["model"] is None or f"{MODEL}/settings.json" not in champion.manifest["files"]:
        return None
    test = pl.read_parquet(champion.file(UNSEEN), columns=["tconst", "split"]).filter(split="test")
    judged = movies.join(test, on="tconst", how="semi").sort(pl.col("tconst").hash(seed=0)).head(MOVIES)
    if judged.is_empty():
        return None
    model = load_predictor(chosen["model"], champion.folder / MODEL, device="cpu")
    members: dict[str, Any] = {chosen["model"]: model, **getattr(model, "members", {})}
    name = next((name for name, member in members.items() if hasattr(member, "contributions")), None)
    if name is None:
        return None
    trees = members[name]
    inputs = Inputs(judged.select(INPUT_COLUMNS), np.zeros((len(judged), 1), np.float32), None)
    contributions = trees.contributions(inputs)[:, :-1]
    return {
        "member": name,
        "weight": model.settings.get("weights", {}).get(name) if name != chosen["model"] else None,
        "movies": len(judged),
        "fields": by_field(contributions, trees.fields),
        "features": _by_feature(contributions, trees.names, trees.fields),
        "genres": _genre_chart(contributions, trees.names, judged["genres"]),
    }


def by_field(contributions: np.ndarray, fields: list[str]) -> list[dict[str, Any]]:
    """Return ``name`` of each of the document's fields and ``points``, its mean absolute contribution, largest first.

    Parameters
    ----------
    contributions
        float64, shape (n, features): what each feature adds to each of n predictions.
    fields
        The field of each feature. What the features of a field add to a movie is summed before its sign is dropped.
    """
    import numpy as np

    of = np.array(fields)
    found = {field: float(np.abs(contributions[:, of == field].sum(axis=1)).mean()) for field in dict.fromkeys(fields)}
    rows = [{"name": _FIELDS.get(field, field.replace("_", " ")), "points": points} for field, points in found.items()]
    return sorted((row for row in rows if row["points"] >= 0.0005), key=lambda row: -row["points"])


def _by_feature(contributions: np.ndarray, names: list[str], fields: list[str]) -> list[dict[str, Any]]:
    import numpy as np

    size = np.abs(contributions).mean(axis=0)
    return [
        {"name": names[place], "field": fields[place].replace("_", " "), "points": float(size[place])}
        for place in np.argsort(-size)[:_FEATURES].tolist()
        if size[place] > 0
    ]


def _genre_chart(contributions: np.ndarray, names: list[str], genres: pl.Series) -> Markup | None:
    """Draw what having each genre adds on average, the most first; None where no genre has movies enough."""
    import polars as pl

    rows = []
    for place, name in enumerate(names):
        genre = name.removeprefix("genre_")
        having = genres.list.contains(pl.lit(genre)).fill_null(False).to_numpy() if genre != name else None
        if having is not None and having.sum() >= _FEWEST:
            rows.append((genre, float(contributions[having, place].mean())))
    rows.sort(key=lambda row: -row[1])
    if not rows:
        return None
    ends = [0.0, *(value for _, value in rows)]
    low, high = min(ends), max(ends)
    room = 0.24 * (high - low) or 0.1
    chart = Chart((low - room, high + room), (0, len(rows)), height=19 * len(rows) + 56, left=96)
    chart.grid("added to the prediction, rating points", y_ticks=[])
    for number, (genre, value) in enumerate(rows):
        y, end = chart.place_y(len(rows) - number - 0.5), chart.place_x(value)
        style, side, anchor = ("s1", 5, "start") if value >= 0 else ("s2", -5, "end")
        chart.text(chart.left - 6, y + 4, genre, "end")
        chart.rule(chart.place_x(0), y, end, y, f"thick {style}")
        chart.text(end + side, y + 4, f"{value:+.2f}".replace("-", "−"), anchor)
    chart.rule(chart.place_x(0), chart.place_y(len(rows)), chart.place_x(0), chart.place_y(0), "axis")
    return chart.svg("What each genre adds to the prediction on average")
