"""What several commands print: tables, titles, JSON, the end of a run."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from imdb_pipeline.results.plain_text import titled

if TYPE_CHECKING:
    from pathlib import Path

    from imdb_pipeline.store import Store


def show_results(folder: Path, day: str) -> None:
    from imdb_pipeline import api
    from imdb_pipeline.champions import CHAMPION, METRICS
    from imdb_pipeline.standings import read_leaderboard, too_few_movies
    from imdb_pipeline.store import Store

    store = Store(folder / "store")
    current = store.current()
    if current is not None and current["day"] != day:
        print(f"the release stays at {current['day']}, which is newer than {day}; what follows is of it")
    rows = read_leaderboard(store)
    if rows:
        show_leaderboard(store, rows)
    embedded = api.load_map(folder).select("tconst")
    movies = api.load_movies(folder).join(embedded, on="tconst", how="semi")
    known = movies.sort("num_votes", "tconst", descending=[True, False], nulls_last=True).row(0, named=True)
    print(f"\nnearest to {titled(known)}:")
    for row in api.similar(known["tconst"], k=3, home=folder).to_dicts():
        print(f"  {row['cosine']:.3f}  {titled(row)}")
    print(f"\nreport: {store.released('report').file('report.html')}")
    print(f"map: {store.released('map_page').file('map.html')}")
    print(f"model card: {store.released('model_card').file('model_card.html')}")
    if not rows:
        print(too_few_movies(store))
        return
    champion = store.released("champion")
    chosen = json.loads(champion.file(CHAMPION).read_bytes())
    if chosen["model"] is None:
        print(f"no champion, so no predictions: {chosen['reason']}")
        return
    test = json.loads(champion.file(METRICS).read_bytes())["metrics"]["test"]
    if test["r2_low"] is not None and test["r2_low"] <= 0:
        print(
            f"on {test['n']:,} movies of test the champion, {chosen['model']}, is not shown to be better than the "
            f"mean: R² {test['r2']:.3f}, {test['r2_low']:.3f} to {test['r2_high']:.3f}"
        )


def show_leaderboard(store: Store, rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from imdb_pipeline.standings import too_few_movies

    if not rows:
        print(too_few_movies(store))
        return
    table = Table(title=f"leaderboard ({rows[0]['n_train']:,} training movies; validation chooses, test reports)")
    for name in (
        "model",
        "validation MSE",
        "test MSE",
        "test R²",
        "95 % interval",
        "R² by time",
        "beats mean (val.)",
        "seconds",
    ):
        table.add_column(name, justify="left" if name == "model" else "right")
    for row in rows:
        table.add_row(
            row["model"],
            f"{row['validation_mse']:.3f}",
            f"{row['test_mse']:.3f}",
            "-" if row["r2"] is None else f"{row['r2']:.3f}",
            "-" if row["r2"] is None else f"{row['r2_low']:.3f} to {row['r2_high']:.3f}",
            "-" if row["time_r2"] is None else f"{row['time_r2']:.3f}",
            "-" if row["model"] == "mean" else "yes" if row["beats_mean"] else "no",
            f"{row['fit_seconds']:.1f}",
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if all(row["time_r2"] is None for row in rows):
        print("no split by time: of the last two complete years, or of the one before, there are too few movies")


def show_champions(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="champions")
    for name in ("day", "champion", "validation MSE", "test MSE", "test R²", "why"):
        table.add_column(name, justify="right" if name.endswith(("MSE", "R²")) else "left")
    for row in rows:
        if not row["kept"]:
            table.add_row(row["day"], "(cannot be restored: it expired, or another version made it)")
            continue
        figures = (row["validation_mse"], row["test_mse"], row["r2"])
        shown = ("-" if figure is None else f"{figure:.3f}" for figure in figures)
        table.add_row(row["day"], row["id"], *shown, row["why"])
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def print_json(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    print("".join(sign if sign.isprintable() or sign == "\n" else _escaped(sign) for sign in text))


def _escaped(sign: str) -> str:
    """Return a sign that a terminal may obey as JSON's escape of it."""
    return json.dumps(sign)[1:-1]
