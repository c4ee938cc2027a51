"""Commands that answer from what is held: leaderboard, champions, similar, predict, explain, status, report, map."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imdb_pipeline.cli.app import HomeOption, JsonOption, app
from imdb_pipeline.cli.show import print_json, show_champions, show_leaderboard
from imdb_pipeline.results.plain_text import explanation_text, prediction_text, titled
from imdb_pipeline.settings import home_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@app.command()
def leaderboard(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show the predictors side by side, the best on validation first.

    Example: imdb-pipeline leaderboard --json
    """
    from imdb_pipeline.standings import read_leaderboard
    from imdb_pipeline.store import Store

    store = Store(home_path(home) / "store")
    rows = read_leaderboard(store)
    if as_json:
        print_json(rows)
    else:
        show_leaderboard(store, rows)


@app.command()
def champions(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the champions that the home holds, a day each, oldest first; `restore DAY` lets one serve again.

    Example: imdb-pipeline champions --home imdb-home
    """
    from imdb_pipeline.champions import list_champions
    from imdb_pipeline.store import Store

    rows = list_champions(Store(home_path(home) / "store"))
    if as_json:
        print_json(rows)
    elif not rows:
        print("no champion yet: `imdb-pipeline run` makes one")
    else:
        show_champions(rows)


@app.command()
def similar(
    movie: Annotated[str, typer.Argument(metavar="TCONST_OR_TITLE")],
    k: Annotated[int, typer.Option("--k", help="How many")] = 10,
    mask_title: Annotated[
        bool, typer.Option("--mask-title", help="Let a title count only as far as people or genres support it")
    ] = False,
    from_year: Annotated[int | None, typer.Option(metavar="YEAR", help="Only movies of this year or later")] = None,
    to_year: Annotated[int | None, typer.Option(metavar="YEAR", help="Only movies of this year or earlier")] = None,
    min_votes: Annotated[int, typer.Option(metavar="N", help="Only movies with so many votes or more")] = 0,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the nearest movies with their cosine: of all, or of those of some years or with enough votes.

    Several movies may have a title: add the year, as in 'Frozen (2013)', or give the id.

    Examples: imdb-pipeline similar tt0120737 --k 5; imdb-pipeline similar 'Frozen (2013)' --mask-title --from-year 2000
    --min-votes 1000
    """
    from imdb_pipeline.similar import similar_movies
    from imdb_pipeline.store import Store

    store = Store(home_path(home) / "store")
    years = (from_year, to_year)
    rows = similar_movies(store, movie, k=k, mask_title=mask_title, years=years, min_votes=min_votes)
    if as_json:
        print_json(rows)
        return
    if not rows:
        print("no other movie has an embedding")
    for row in rows:
        print(f"{row['cosine']:.3f}  {row['tconst']:<11} {titled(row)}")


@contextmanager
def _no_collection() -> Iterator[None]:
    """Let the garbage collector rest: a fifth of an answer's time it looks again at what the imports have made."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


MovieArgument = Annotated[str, typer.Argument(metavar="TCONST_OR_FILE.json")]


@app.command()
def predict(movie: MovieArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Predict the rating of a movie, with a 90 % interval: one of the catalogue, or one that you describe in a file.

    A title does in place of the id, as in 'Frozen (2013)'. A movie that is rated is predicted by a model that did not
    see its rating. The file is JSON with some of the fields of a document: title, genres, is_adult, release_year,
    runtime_minutes, directors, writers, producers, actors (lists of names, or of objects as {"nconst": "nm0000001"}),
    principals (a list of objects as {"A Name": "composer"}); and title_type, movie or tvMovie.

    Examples: imdb-pipeline predict tt0120737; imdb-pipeline predict film.json --json
    """
    from imdb_pipeline.serving import ServedRelease
    from imdb_pipeline.store import Store

    with _no_collection():
        answer = ServedRelease(Store(home_path(home) / "store")).predict(movie)
    if as_json:
        print_json(answer)
    else:
        print(prediction_text(answer))


@app.command()
def explain(
    movie: MovieArgument,
    director: Annotated[
        list[str] | None,
        typer.Option("--director", metavar="NAME_OR_ID", help="Try it with this director instead; repeatable"),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what each field and each person of a movie adds to its predicted rating, or takes from it.

    The movie is changed in one thing at a time: without its cast, without a person, with another director. The movie,
    or the file, is as `predict` takes it.

    Examples: imdb-pipeline explain tt0120737; imdb-pipeline explain film.json --director 'Peter Jackson' --director
    nm0000184
    """
    from imdb_pipeline.serving import ServedRelease
    from imdb_pipeline.store import Store

    with _no_collection():
        answer = ServedRelease(Store(home_path(home) / "store")).explain(movie, directors=director or ())
    if as_json:
        print_json(answer)
    else:
        print(explanation_text(answer))


@app.command()
def status(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show the days held, which one is current, and what each asset takes on disk.

    Example: imdb-pipeline status --home imdb-home --json
    """
    from imdb_pipeline.status import home_status

    state = home_status(home_path(home))
    if as_json:
        print_json(state)
        return
    print(f"home     {state['home']}\nsource   {state['source']}\nencoder  {state['encoder']}")
    print(f"current  {state['current'] or 'no release yet: `imdb-pipeline run` makes one'}{_age(state)}")
    for name, what in (("good_days", "days"), ("archived_days", "archive")):
        listed = state[name]
        print(f"{what:<8} {len(listed)}" + (f", {listed[0]} to {listed[-1]}" if listed else ""))
    for told in state["quarantine"]:
        print(f"refused  {told['day']}: {told['reason']} ({told['folder']})")
    for lock in state["locks"]:
        print(f"at work  {lock['asset']} of {lock['day']}, process {lock['pid']}, since {lock['since']}")
    for asset in state["assets"]:
        print(
            f"{asset['asset']:<24} {asset['days']:>4} days, latest {asset['latest']}, {asset['rows']:>10,} rows, "
            f"{asset['bytes'] / 1e6:>8.1f} MB"
        )
    for pool in state["pools"]:
        print(
            f"{pool['pool']:<24} {pool['live_rows']:>10,} of {pool['rows']:,} rows in use, {pool['bytes'] / 1e6:.1f} MB"
        )
    if state["leftovers"]:
        print(f"left over by killed runs, and deleted by the next: {len(state['leftovers'])}")


def _age(state: dict[str, Any]) -> str:
    if state["age_hours"] is None:
        return ""
    since = state["unchanged_since"]
    unchanged = f", unchanged since {since}" if since != state["current"] else ""
    return f", published {state['age_hours']:.0f} hours ago{unchanged}"


@app.command()
def report(
    home: HomeOption = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser")] = False,
) -> None:
    """Print the path of the report.

    Example: imdb-pipeline report --open
    """
    _page(home, "report", "report.html", open_it=open_it)


@app.command("map")
def map_(
    home: HomeOption = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser")] = False,
) -> None:
    """Print the path of the map: a page to move around in, and to search, filter and colour.

    Example: imdb-pipeline map --open
    """
    from imdb_pipeline.results.map_page import FILE

    _page(home, "map_page", FILE, open_it=open_it)


def _page(home: Path | None, asset: str, name: str, *, open_it: bool) -> None:
    from imdb_pipeline.store import Store

    path = Store(home_path(home) / "store").released(asset).file(name)
    print(path)
    if open_it:
        import webbrowser

        webbrowser.open(path.as_uri())
