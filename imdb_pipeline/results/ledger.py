"""``prediction_ledger``: predictions frozen while a movie had too few votes, graded once it has them.

The honest test of the champion: what it said before anybody could know. Nothing that was written is ever changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imdb_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    import polars as pl

ENTRIES_FILE = "entries.parquet"
GRADES_FILE = "grades.parquet"
CHANGED = 0.001
"""Rating points by which a prediction has to move to count as another: less is arithmetic on another machine."""


@dataclass(frozen=True, eq=False)
class Ledger:
    """What was predicted when, and what came of it.

    Attributes
    ----------
    entries
        In the order in which they were written, one per movie, day and model at most: tconst, day (Date), model
        (String: the champion's id), prediction, low, high (Float64), training_mean (Float64: the mean rating that the
        model knew), num_votes (Int64: the movie's on that day, null for none).
    grades
        One per movie at most: tconst, graded_day (Date), average_rating (Float64), num_votes (Int64), as they were on
        that day.
    """

    entries: pl.DataFrame
    grades: pl.DataFrame


def empty_ledger() -> Ledger:
    """Return the ledger before its first day."""
    import polars as pl

    entries = {
        "tconst": pl.String,
        "day": pl.Date,
        "model": pl.String,
        "prediction": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "training_mean": pl.Float64,
        "num_votes": pl.Int64,
    }
    grades = {"tconst": pl.String, "graded_day": pl.Date, "average_rating": pl.Float64, "num_votes": pl.Int64}
    return Ledger(pl.DataFrame(schema=entries), pl.DataFrame(schema=grades))


def update_ledger(
    previous: Ledger | None,
    predictions: pl.DataFrame,
    movies: pl.DataFrame,
    *,
    day: date,
    model: str | None,
    training_mean: float | None,
    min_votes: int,
    newest: bool,
) -> Ledger:
    """Return the ledger after a day: that of before with entries and grades added.

    An entry is added for a movie that the champion never saw and that has fewer than ``min_votes`` votes or none,
    where there is none yet by this model or its prediction changed since the last; at most one a day, so what a second
    publication on the day changes waits for the next day. A movie with an entry is graded on the first day on which it
    has the votes, and gets no entry after that, whatever its votes do. A movie that had the votes before it was ever
    predicted is not graded. Movies that are gone keep their entries, and are graded should they come back.

    Parameters
    ----------
    previous
        The newest ledger, an earlier one of the same day included; None before the first.
    predictions
        The predictions table of the day; no row where there is no champion.
    movies
        tconst, average_rating, num_votes of the day.
    day
        The day of the publication.
    model
        What names the champion, as its day and revision do: another fit is another model. None where there is none.
    training_mean
        The mean rating of the movies that the champion learnt from: what R² compares with.
    min_votes
        Votes that make a rating.
    newest
        False on a backfill of an older day, which leaves the ledger as it is.

    Raises
    ------
    PipelineError
        The ledger goes to a later day.
    ValueError
        There are predictions but no model or mean.
    """
    import polars as pl

    ledger = previous or empty_ledger()
    if not newest:
        return ledger
    last = max((each for each in (ledger.entries["day"].max(), ledger.grades["graded_day"].max()) if each), default=day)  # pyright: ignore[reportArgumentType, reportCallIssue]
    if last > day:  # pyright: ignore[reportOperatorIssue]
        raise PipelineError(f"the prediction ledger goes to {last}: {day} can no longer be written into it")
    if len(predictions) and (model is None or training_mean is None):
        raise ValueError("predictions need the model that made them and the mean it knew")

    graded = ledger.grades.select("tconst")
    frozen = (
        predictions.filter(pl.col("basis") == "future", (pl.col("num_votes") < min_votes).fill_null(True))
        .join(graded, on="tconst", how="anti", maintain_order="left")
        .select(
            "tconst",
            pl.lit(day, pl.Date).alias("day"),
            pl.lit(model, pl.String).alias("model"),
            "prediction",
            "low",
            "high",
            pl.lit(training_mean, pl.Float64).alias("training_mean"),
            pl.col("num_votes").cast(pl.Int64),
        )
        .sort("tconst")
    )
    known = (
        ledger.entries.filter(pl.col("model") == pl.lit(model, pl.String))
        .unique("tconst", keep="last", maintain_order=True)
        .select("tconst", last_day="day", last_prediction="prediction")
    )
    moved = (pl.col("prediction") - pl.col("last_prediction")).abs() > CHANGED
    added = (
        frozen.join(known, on="tconst", how="left", maintain_order="left")
        .filter(pl.col("last_day").is_null() | (moved & (pl.col("last_day") < day)))
        .select(ledger.entries.columns)
    )
    grades = (
        movies.filter(pl.col("num_votes") >= min_votes, pl.col("average_rating").is_not_null())
        .join(ledger.entries.select("tconst").unique(), on="tconst", how="semi", maintain_order="left")
        .join(graded, on="tconst", how="anti", maintain_order="left")
        .select(
            "tconst",
            pl.lit(day, pl.Date).alias("graded_day"),
            pl.col("average_rating").cast(pl.Float64),
            pl.col("num_votes").cast(pl.Int64),
        )
        .sort("tconst")
    )
    return Ledger(pl.concat([ledger.entries, added]), pl.concat([ledger.grades, grades]))


def write_ledger(ledger: Ledger, folder: Path) -> None:
    """Write ``entries.parquet`` and ``grades.parquet`` into ``folder``."""
    ledger.entries.write_parquet(folder / ENTRIES_FILE, compression="zstd")
    ledger.grades.write_parquet(folder / GRADES_FILE, compression="zstd")


def read_ledger(folder: Path) -> Ledger:
    """Read what ``write_ledger`` wrote.

    Raises
    ------
    PipelineError
        Naming a file that is missing, damaged, or not of a ledger.
    """
    empty = empty_ledger()
    entries = _read(folder / ENTRIES_FILE, empty.entries, key=["tconst", "day", "model"], may_lack="num_votes")
    grades = _read(folder / GRADES_FILE, empty.grades, key=["tconst"], may_lack=None)
    lost = grades.join(entries, on="tconst", how="anti")
    if len(lost):
        raise PipelineError(
            f"{folder / GRADES_FILE}: {lost['tconst'][0]} is graded, but was never predicted in {ENTRIES_FILE}; "
            "restore both files from one copy of the ledger"
        )
    return Ledger(entries, grades)


def _read(path: Path, empty: pl.DataFrame, *, key: list[str], may_lack: str | None) -> pl.DataFrame:
    import polars as pl

    mend = "restore it from a copy of the ledger"
    try:
        frame = pl.read_parquet(path)
    except FileNotFoundError:
        raise PipelineError(f"{path}: missing file of the prediction ledger; {mend}") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise PipelineError(f"{path}: not a whole Parquet file ({reason}); {mend}") from None
    for name, kind in empty.schema.items():
        if frame.schema.get(name) != kind:
            found = frame.schema.get(name, "missing")
            raise PipelineError(f"{path}: column {name!r} is {found}, not {kind}: not a prediction ledger; {mend}")
    if len(frame.columns) != len(empty.columns):
        extra = sorted(set(frame.columns) - set(empty.columns))
        raise PipelineError(f"{path}: column {extra[0]!r} does not belong in a prediction ledger; {mend}")
    frame = frame.select(empty.columns)
    for name in empty.columns:
        if name != may_lack and frame[name].null_count():
            raise PipelineError(f"{path}: {frame[name].null_count()} rows lack {name!r}; {mend}")
    for name in ("prediction", "low", "high", "training_mean", "average_rating"):
        if name in frame.columns and not frame[name].is_between(1, 10).all():
            raise PipelineError(f"{path}: {name!r} is not from 1 to 10 everywhere; {mend}")
    if frame.select(key).is_duplicated().any():
        raise PipelineError(f"{path}: {' and '.join(key)} stand there more than once; {mend}")
    return frame
