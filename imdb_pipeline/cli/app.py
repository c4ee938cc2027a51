"""The Typer application, the options that several commands share, and how a command fails."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

app = typer.Typer(
    name="imdb-pipeline",
    help="IMDb's daily dumps to tables, documents, embeddings, a map and honestly compared rating predictors.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

INTERRUPTED = 130
"""The shell's exit status for Ctrl+C."""

HomeOption = Annotated[
    Path | None, typer.Option("--home", metavar="DIR", help="The home [default: IMDB_PIPELINE_HOME, else ./data]")
]
SourceOption = Annotated[
    str | None,
    typer.Option(
        "--source", metavar="sample|imdb|DIR|URL", help="Where the dumps come from; recorded by the first run"
    ),
]
DayOption = Annotated[
    str | None,
    typer.Option(
        "--day", metavar="YYYY-MM-DD", help="The day [default: the date of the source's files, else today, UTC]"
    ),
]
OverrideOption = Annotated[
    list[str] | None,
    typer.Option(
        "--override", metavar="ASSET/GATE", help="Let the day's files through this gate, whatever it finds; repeatable"
    ),
]
BecauseOption = Annotated[str, typer.Option("--because", metavar="TEXT", help="Why; recorded with --override")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON value and nothing else")]


def fail(message: str, *, status: int = 1) -> NoReturn:
    print("imdb-pipeline: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(status)
