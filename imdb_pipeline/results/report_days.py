"""The report's section on the days held: counts, champion, figures, and the ratings that moved over all of them."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any

from imdb_pipeline.champions import CHAMPION, METRICS
from imdb_pipeline.results.charts import curves

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imdb_pipeline.store import Revision, Store

HISTORY = (
    "movies",
    "movie_documents",
    "catalogue_changes",
    "champion",
    "rating_predictions",
    "prediction_ledger",
)
"""What the section reads of each day."""
MOST_DAYS = 30
_MOVERS = 10
_COMPARED = ("tconst", "title", "release_year", "average_rating", "num_votes")


def earlier_days(store: Store, day: str) -> dict[str, dict[str, Revision]]:
    """Return the revisions of ``HISTORY`` by day and asset of the last days before ``day``, oldest first.

    Each is the newest at or before its day, as its release had it; a day without movies or predictions is left out.
    """
    held = sorted(set(store.days("movies")) & set(store.days("rating_predictions")))
    found = {}
    for earlier in [each for each in held if each < day][-(MOST_DAYS - 1) :]:
        revisions = {asset: store.at_or_before(asset, earlier) for asset in HISTORY}
        found[earlier] = {asset: revision for asset, revision in revisions.items() if revision is not None}
    return found


def days_section(days: Mapping[str, Mapping[str, Revision]], *, min_votes: int) -> dict[str, Any] | None:
    """Return what the section shows; None where there is one day alone.

    Parameters
    ----------
    days
        The revisions of ``HISTORY`` by day and asset, oldest first; the last is the report's own. What expired, or was
        not made on a day, leaves a gap.
    min_votes
        Votes that a movie has on both ends to be among the movers.

    Returns
    -------
    dict
        ``rows``: one a day; ``charts``: those of which two days or more have a figure, with ``title``, ``svg``, and
        the names of its ``lines``; ``champions``: since when each served; ``movers``.
    """
    if len(days) < 2:
        return None
    rows = [_row(day, revisions) for day, revisions in days.items()]
    return {
        "first": rows[0]["day"],
        "rows": rows,
        "champions": _champions(rows),
        "charts": [chart for chart in (_chart(rows, *each) for each in _CHARTS) if chart],
        "movers": _movers(days, min_votes),
    }


_CHARTS = (
    ("Movies in the catalogue", "movies", {"movies": "movies"}),
    ("Documents embedded", "documents", {"documents": "documents"}),
    ("What a day changed", "movies", {"ratings_changed": "ratings", "changed": "documents"}),
    ("R² on test of the champion", "R²", {"r2": "by id", "time_r2": "by time"}),
    ("Test movies inside their 90 % interval", "%", {"coverage": "inside"}),
    ("Movies graded in the ledger", "movies", {"graded": "graded"}),
)
"""Title, label of the axis, and the columns of the rows that are drawn with their names."""


def _row(day: str, revisions: Mapping[str, Revision]) -> dict[str, Any]:
    """Return the figures of a day; None where a file expired or was not made."""
    changes = _read(revisions, "catalogue_changes", "summary.json", day).get("counts", {})
    champion = _read(revisions, "champion", CHAMPION)
    metrics = _read(revisions, "champion", METRICS)
    coverage = _read(revisions, "rating_predictions", "coverage.json").get("overall", {}).get("coverage")
    compared = changes.get("previous_day") is not None
    return {
        "day": day,
        "movies": _rows(revisions, "movies"),
        "documents": _rows(revisions, "movie_documents"),
        **{
            name: changes.get(name) if compared else None for name in ("added", "removed", "changed", "ratings_changed")
        },
        "champion": champion.get("id"),
        "trained": champion.get("trained"),
        "r2": metrics.get("metrics", {}).get("test", {}).get("r2"),
        "time_r2": ((metrics.get("by_time") or {}).get("metrics", {}).get("test", {})).get("r2"),
        "coverage": None if coverage is None else 100 * coverage,
        "graded": _read(revisions, "prediction_ledger", "score.json").get("graded"),
    }


def _champions(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return each spell of a champion: ``champion``, ``first``, ``last`` (days held), ``days``, ``r2``."""
    spells: list[dict[str, Any]] = []
    for row in rows:
        if spells and spells[-1]["champion"] == row["champion"]:
            spells[-1] |= {"last": row["day"], "days": spells[-1]["days"] + 1}
        elif row["champion"] is not None:
            spells.append({"champion": row["champion"], "first": row["day"], "last": row["day"], "days": 1, **_r2(row)})
    return spells


def _r2(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("r2", "time_r2")}


def _chart(
    rows: Sequence[Mapping[str, Any]], title: str, label: str, columns: Mapping[str, str]
) -> dict[str, Any] | None:
    """Return a chart of columns by day; None where fewer than two days have a figure."""
    places = [float(date.fromisoformat(row["day"]).toordinal()) for row in rows]
    series = {
        name: [(place, float(row[column])) for place, row in zip(places, rows, strict=True) if row[column] is not None]
        for column, name in columns.items()
    }
    series = {name: points for name, points in series.items() if len(points) > 1}
    if not series:
        return None
    marked = [(place, row["day"][5:]) for place, row in zip(places, rows, strict=True)]
    span = (places[0], places[-1])
    drawn = curves(
        list(series.values()), "", label, title, x=span, x_ticks=_spaced(marked, span), height=190, bottom=26
    )
    return {"title": title, "lines": list(series) if len(series) > 1 else [], "svg": drawn}


def _spaced(marked: list[tuple[float, str]], span: tuple[float, float]) -> list[tuple[float, str]]:
    """Return the first and the last of these, and of the others those that leave room for a date between them."""
    least = (span[1] - span[0]) / 6
    chosen = marked[:1]
    for place, text in marked[1:-1]:
        if place - chosen[-1][0] >= least and span[1] - place >= least:
            chosen.append((place, text))
    return [*chosen, *marked[-1:]]


def _movers(days: Mapping[str, Mapping[str, Revision]], min_votes: int) -> dict[str, Any] | None:
    """Return the largest moves of a rating between the first and the last day, of three or more; None without any."""
    import polars as pl

    def readable(revision: Revision) -> bool:
        try:
            return set(_COMPARED) <= set(pl.read_parquet_schema(revision.file("movies.parquet")))
        except (OSError, pl.exceptions.PolarsError):  # damaged since
            return False

    held = [
        (day, revisions["movies"])
        for day, revisions in days.items()
        if "movies" in revisions and not revisions["movies"].expired and readable(revisions["movies"])
    ]
    if len(held) < 3:
        return None

    def read(revision: Revision) -> pl.DataFrame:
        return pl.read_parquet(revision.file("movies.parquet"), columns=list(_COMPARED))

    (first_day, first), (_, last) = held[0], held[-1]
    enough = pl.col("num_votes") >= min_votes
    before = read(first).filter(enough).select("tconst", before="average_rating", votes_before="num_votes")
    moved = (
        read(last)
        .filter(enough)
        .join(before, on="tconst")
        .with_columns(move=(pl.col("average_rating") - pl.col("before")).round(2))
        .filter(pl.col("move") != 0)
        .sort(pl.col("move").abs(), "num_votes", "tconst", descending=[True, True, False])
    )
    if moved.is_empty():
        return None
    top = moved.head(_MOVERS)
    ratings = [
        dict(
            read(revision)
            .filter(pl.col("tconst").is_in(top["tconst"].implode()))
            .select("tconst", "average_rating")
            .iter_rows()
        )
        for _, revision in held
    ]
    paths = {tconst: [each.get(tconst) for each in ratings] for tconst in top["tconst"]}
    return {
        "first": first_day,
        "days": len(held),
        "moved": len(moved),
        "rows": [{**row, "path": _path(paths[row["tconst"]])} for row in top.to_dicts()],
    }


def _path(ratings: Sequence[float | None]) -> str:
    """Return the points of a small line through a movie's ratings, day by day, in a box of 100 by 20."""
    known = [rating for rating in ratings if rating is not None]
    low, high = min(known), max(known)
    points = [
        f"{4 + 92 * place / (len(ratings) - 1):.1f},{17 - 14 * ((rating - low) / ((high - low) or 1)):.1f}"
        for place, rating in enumerate(ratings)
        if rating is not None
    ]
    return " ".join(points)


def _read(revisions: Mapping[str, Revision], asset: str, name: str, day: str | None = None) -> dict[str, Any]:
    """Return a JSON file of an asset, of that very day where one is given; empty where it is not there any more, or is
    no JSON object any more."""
    revision = revisions.get(asset)
    if revision is None or revision.expired or name not in revision.manifest["files"]:
        return {}
    if day is not None and revision.day != day:
        return {}
    try:
        content = json.loads(revision.file(name).read_bytes())
    except (OSError, ValueError):  # damaged since: a gap in the days, not the end of today's report
        return {}
    return content if isinstance(content, dict) else {}


def _rows(revisions: Mapping[str, Revision], asset: str) -> int | None:
    return revisions[asset].manifest["rows"] if asset in revisions else None
