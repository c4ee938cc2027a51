"""Group ``dumps``: the four files of a day, as published, verified."""

from datetime import date

import dagster as dg

from imdb_pipeline.dumps.gates import SNAPSHOT_ACCEPTED, SNAPSHOT_DESCRIPTION, Baseline, gates_of, judge
from imdb_pipeline.dumps.snapshot import days_that_can_be_had, incoming_folder, obtain
from imdb_pipeline.dumps.tables import BASICS, NAMES, PRINCIPALS, RATINGS, Dump, first_rows
from imdb_pipeline.durable import link_or_copy
from imdb_pipeline.errors import InputError, NotPublishedError
from imdb_pipeline.gates import Outcome
from imdb_pipeline.orchestration.publishing import published_asset, table
from imdb_pipeline.orchestration.requests import Request
from imdb_pipeline.orchestration.stages import Made, Work
from imdb_pipeline.quarantine import keep, refusals

PREVIEW_ROWS = 3
MOST_DAYS = 7
"""However long ago the last good day is, gates are not wider than for so many."""
_HOLDS = {
    BASICS.asset: "every title of any type: title, year, runtime, genres",
    RATINGS.asset: "the average rating and the votes of each rated title",
    PRINCIPALS.asset: "the credits: who did what in which title, in billing order",
    NAMES.asset: "the people: names, years, professions",
}


def _dump_asset(dump: Dump) -> dg.AssetsDefinition:
    @published_asset(
        name=dump.asset,
        description=f"IMDb's `{dump.file}` of the day, verified: {_HOLDS[dump.asset]}.",
        group="dumps",
        kinds={"file", "gzip"},
        settings=lambda request: {
            "snapshot": request.snapshot.id,
            "source": dict(request.snapshot.files[dump.asset]),
        },
        gates=gates_of(dump.asset),
        checks={SNAPSHOT_ACCEPTED: SNAPSHOT_DESCRIPTION},
    )
    def dump_asset(work: Work) -> Made:
        return _replayed(work, dump) if work.snapshot.archived else _fetched(work, dump)

    return dump_asset


def _fetched(work: Work, dump: Dump) -> Made:
    folder = incoming_folder(work.home, work.snapshot)
    try:
        files = obtain(work.snapshot, work.settings, work.store, work.home, attempt=work.run)
    except InputError as error:
        pages = list(folder.glob("*.refused"))
        if not pages:
            raise
        aside = keep(
            work.home, day=work.day, snapshot=work.snapshot.id, asset=dump.asset, reason=str(error), files=pages
        )
        raise InputError(f"{error}; kept aside in {aside}") from None
    judged = judge(files, folder, before=last_good_day(work), limits=work.settings.gates, reasons=work.reasons)
    file, outcomes = files[dump.asset], judged[dump.asset]
    metadata = {}
    if not any(outcome.refuses for outcome in outcomes):
        link_or_copy(folder / dump.file, work.folder / dump.file)
        metadata = {"first rows": table(first_rows(folder / dump.file, dump, PREVIEW_ROWS))}
    return Made(
        rows=file.rows,
        outcomes=outcomes,
        metadata={**metadata, "origin": file.origin, "unpacked bytes": file.unpacked_bytes},
        info={"origin": file.origin, "unpacked_bytes": file.unpacked_bytes},
        examined=tuple(folder / each.file for each in files.values()),
    )


def _replayed(work: Work, dump: Dump) -> Made:
    """Publish once more what the home has archived for the day."""
    revision = work.store.get(dump.asset, work.day)
    try:
        path = revision.file(dump.file)
    except NotPublishedError as error:
        raise NotPublishedError(f"{error}; days that can be had: {days_that_can_be_had(work.store)}") from None
    work.store.verify(revision)
    link_or_copy(path, work.folder / dump.file)
    info = revision.manifest["info"]
    return Made(
        rows=revision.manifest["rows"],
        outcomes=[Outcome(**outcome) for outcome in info["checks"]],
        metadata={
            "first rows": table(first_rows(path, dump, PREVIEW_ROWS)),
            "origin": info["origin"],
            "unpacked bytes": info["unpacked_bytes"],
            "replayed from": revision.id,
        },
        info={"origin": info["origin"], "unpacked_bytes": info["unpacked_bytes"]},
    )


def last_good_day(request: Request) -> Baseline | None:
    """Return the newest day up to this one whose movies are published.

    Days whose files were refused do not count between: what was wrong on one does not become right by waiting.
    """
    revision = request.store.at_or_before("movies", request.day)
    if revision is None:
        return None
    days = (date.fromisoformat(request.day) - date.fromisoformat(revision.day)).days
    refused = {told["day"] for told in refusals(request.home) if revision.day < told["day"] < request.day}
    return Baseline(revision.day, min(max(1, days - len(refused)), MOST_DAYS), revision.manifest["info"]["dumps"])


title_basics_dump = _dump_asset(BASICS)
title_ratings_dump = _dump_asset(RATINGS)
title_principals_dump = _dump_asset(PRINCIPALS)
name_basics_dump = _dump_asset(NAMES)
