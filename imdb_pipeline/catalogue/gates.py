"""The gates of ``movies``: rows that can be read, keys, references between the files, and the last good day.

Whether the four files are whole and of the expected length is judged before, in ``dumps.gates``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.catalogue.movies import Catalogue, movies_schema
from imdb_pipeline.dumps.gates import Baseline, compare_count
from imdb_pipeline.gates import SAMPLE_ROWS, Finding, Gate, check_table

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from imdb_pipeline.settings import GateSettings

COUNTED = ("movies", "rated movies", "credits")
NULLABLE = ("release_year", "runtime_minutes", "genres")


@dataclass(frozen=True)
class MovieFacts:
    """A day's movies, and what they are compared with.

    Attributes
    ----------
    rows
        By file name, the rows of each dump.
    shown
        By file name, what messages call it.
    summary
        As ``summarise`` gives it.
    before, before_summary
        The last good day, and its summary; None on the first.
    before_movies
        The file of its movies; None where it is not held any more.
    """

    catalogue: Catalogue
    rows: Mapping[str, int]
    shown: Mapping[str, str]
    summary: Mapping[str, Any]
    before: Baseline | None
    before_summary: Mapping[str, Any] | None
    before_movies: Path | None


def summarise(catalogue: Catalogue) -> dict[str, Any]:
    """Return what later days are compared with: counts, null shares by column, counts by title type and category."""
    import polars as pl

    movies = catalogue.movies
    without = movies.select(
        **{name: pl.col(name).is_null().sum() for name in NULLABLE}, credits=(pl.col("credits").list.len() == 0).sum()
    ).row(0, named=True)
    return {
        "movies": len(movies),
        "rated movies": movies["average_rating"].count(),
        "credits": int(movies.select(pl.col("credits").list.len().sum()).item() or 0),
        "without": without,
        "title_types": dict(catalogue.title_types.sort("title_type").iter_rows()),
        "categories": dict(catalogue.categories.sort("category").iter_rows()),
    }


def readable_rows(facts: MovieFacts, limits: GateSettings) -> Finding:
    for file, count in facts.catalogue.rejected_counts.items():
        allowed = min(max(limits.row_slack, facts.rows[file] * limits.max_rejected_rows), facts.rows[file] / 2)
        if count > allowed:
            return Finding(
                False,
                f"{facts.shown[file]}: {count:,} of {facts.rows[file]:,} rows cannot be read, {_first(facts, file)}; "
                f"{allowed:,.0f} are let through; fetch it again",
                _rejected(facts, file),
            )
    return Finding(True, f"{len(facts.catalogue.movies):,} movies, with ratings and credits")


def rejected_rows(facts: MovieFacts, limits: GateSettings) -> Finding:
    counts = {file: count for file, count in facts.catalogue.rejected_counts.items() if count}
    if not counts:
        return Finding(True, "every row can be read")
    told = "; ".join(
        f"{facts.shown[file]}: {count:,} rows left out, {_first(facts, file)}" for file, count in counts.items()
    )
    return Finding(False, told, _rejected(facts))


def movies_table(facts: MovieFacts, limits: GateSettings) -> Finding:
    outcome = check_table(
        "movies_table",
        facts.catalogue.movies,
        movies_schema(),
        subject=facts.shown["title.basics.tsv.gz"],
        key="tconst",
    )
    return Finding(outcome.passed, outcome.message, outcome.sample)


def unique_keys(facts: MovieFacts, limits: GateSettings) -> Finding:
    duplicates = facts.catalogue.duplicates
    if duplicates.is_empty():
        return Finding(True, "no key stands twice")
    first = duplicates.row(0, named=True)
    return Finding(
        False,
        f"{facts.shown[first['file']]}: {first['key']} stands {first['rows']} times ({len(duplicates)} such keys); "
        "fetch it again",
        duplicates.head(SAMPLE_ROWS).to_dicts(),
    )


def known_people(facts: MovieFacts, limits: GateSettings) -> Finding:
    unknown = facts.catalogue.unknown_people
    return _references(
        f"{facts.shown['name.basics.tsv.gz']}: credits of movies whose person is missing",
        len(unknown),
        facts.summary["credits"],
        limits.max_unknown_people,
        limits,
        unknown,
    )


def known_titles(facts: MovieFacts, limits: GateSettings) -> Finding:
    return _references(
        f"{facts.shown['title.basics.tsv.gz']}: ratings whose title is missing",
        facts.catalogue.orphan_ratings,
        facts.rows["title.ratings.tsv.gz"],
        limits.max_unknown_titles,
        limits,
        facts.catalogue.orphan_ratings_sample,
    )


def counts(facts: MovieFacts, limits: GateSettings) -> Finding:
    before, earlier = facts.before, facts.before_summary
    if before is None or earlier is None:
        return Finding(True, "no earlier day to compare with")
    found = [compare_count(name, facts.summary[name], earlier[name], before, limits) for name in COUNTED]
    return next((each for each in found if not each.passed), Finding(True, "; ".join(each.message for each in found)))


def null_rates(facts: MovieFacts, limits: GateSettings) -> Finding:
    before, earlier = facts.before, facts.before_summary
    if before is None or earlier is None:
        return Finding(True, "no earlier day to compare with")
    movies = max(1, facts.summary["movies"])
    allowed = limits.max_null_rise * before.days
    told = []
    for name, now in facts.summary["without"].items():
        share, share_before = now / movies, earlier["without"][name] / max(1, earlier["movies"])
        told.append(f"{name} {share:.1%} ({share_before:.1%} on {before.day})")
        if share - share_before > allowed and (share - share_before) * movies > limits.row_slack:
            return Finding(
                False, f"movies without {told[-1]}: it may rise by {allowed:.1%}; wait for the next publication"
            )
    return Finding(True, f"movies without {', '.join(told)}")


def changed_movies(facts: MovieFacts, limits: GateSettings) -> Finding:
    if facts.before is None or facts.before_movies is None:
        return Finding(True, "no earlier day to compare with")
    import polars as pl

    today = facts.catalogue.movies.select("tconst", content=_content())
    earlier = pl.scan_parquet(facts.before_movies).select("tconst", content=_content()).collect(engine="streaming")
    both = today.join(earlier, on="tconst", suffix="_before")
    changed = both.filter(pl.col("content") != pl.col("content_before"))
    allowed = limits.max_changed * facts.before.days
    share = len(changed) / max(1, len(earlier))
    told = f"{len(changed):,} movies changed since {facts.before.day} ({share:.1%})"
    if share > allowed and len(changed) > limits.row_slack:
        sample = facts.catalogue.movies.join(changed.select("tconst").head(SAMPLE_ROWS), on="tconst", how="semi")
        rows = sample.select("tconst", "title", "release_year").to_dicts()
        return Finding(False, f"{told}; {allowed:.1%} are let through; wait for the next publication", rows)
    return Finding(True, told)


def title_types(facts: MovieFacts, limits: GateSettings) -> Finding:
    return _kinds("title types", "title_types", facts)


def categories(facts: MovieFacts, limits: GateSettings) -> Finding:
    return _kinds("credit categories", "categories", facts)


MOVIE_GATES: tuple[Gate[MovieFacts], ...] = (
    Gate(
        "readable_rows",
        "Rows that concern a movie have all their cells, and numbers are numbers; a few may be left out.",
        readable_rows,
        thresholds=("max_rejected_rows", "row_slack"),
    ),
    Gate("rejected_rows", "No row had to be left out.", rejected_rows, required=False),
    Gate("movies_table", "movies: types and ranges of every column.", movies_table),
    Gate("unique_keys", "No title, person or credit stands twice.", unique_keys),
    Gate(
        "known_people",
        "The people of the credits are in name.basics, but for a few.",
        known_people,
        thresholds=("max_unknown_people", "row_slack"),
    ),
    Gate(
        "known_titles",
        "The titles of the ratings are in title.basics, but for a few.",
        known_titles,
        thresholds=("max_unknown_titles", "row_slack"),
    ),
    Gate(
        "counts",
        "Movies, rated movies and their credits against the last good day, as the rows of the files.",
        counts,
        thresholds=("max_row_loss", "max_row_gain", "row_slack"),
    ),
    Gate(
        "null_rates",
        "Movies without year, runtime, genres or credits against the last good day.",
        null_rates,
        thresholds=("max_null_rise", "row_slack"),
    ),
    Gate(
        "changed_movies",
        "Movies whose content changed since the last good day.",
        changed_movies,
        thresholds=("max_changed", "row_slack"),
    ),
    Gate("title_types", "The title types of the last good day, no other.", title_types, required=False),
    Gate("categories", "The credit categories of the last good day, no other.", categories, required=False),
)


def _references(what: str, missing: int, of: int, share: float, limits: GateSettings, sample: pl.DataFrame) -> Finding:
    allowed = max(limits.row_slack, of * share)
    told = f"{what}: {missing:,} of {of:,}"
    if missing > allowed:
        rows = sample.head(SAMPLE_ROWS).to_dicts()
        return Finding(False, f"{told}; {allowed:,.0f} are let through; fetch it again", rows)
    return Finding(True, told)


def _kinds(what: str, key: str, facts: MovieFacts) -> Finding:
    now = facts.summary[key]
    if facts.before is None or facts.before_summary is None:
        return Finding(True, f"{what}: {', '.join(now)}")
    earlier = facts.before_summary[key]
    new, gone = sorted(set(now) - set(earlier)), sorted(set(earlier) - set(now))
    if not new and not gone:
        return Finding(True, f"{what} as on {facts.before.day}: {', '.join(now)}")
    parts = [f"new: {', '.join(new)}"] * bool(new) + [f"gone: {', '.join(gone)}"] * bool(gone)
    rows = [{"name": name, "today": now.get(name, 0), facts.before.day: earlier.get(name, 0)} for name in new + gone]
    return Finding(False, f"{what} since {facts.before.day}: {'; '.join(parts)}", rows[:SAMPLE_ROWS])


def _content() -> pl.Expr:
    """Return a hash of all that a movie is but for its rating; equal within one process."""
    import polars as pl

    return pl.struct(pl.exclude("tconst", "average_rating", "num_votes")).hash()


def _rejected(facts: MovieFacts, file: str | None = None) -> list[dict[str, Any]]:
    import polars as pl

    rows = facts.catalogue.rejected
    rows = rows if file is None else rows.filter(pl.col("file") == file)
    return rows.head(SAMPLE_ROWS).to_dicts()


def _first(facts: MovieFacts, file: str) -> str:
    first = _rejected(facts, file)[0]
    return f"first line {first['line']}: {first['reason']}"
