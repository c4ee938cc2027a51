"""Group ``dumps``: the four files of a day, as published, verified."""

import dagster as dg

from imdb_pipeline.dumps.source import fetch_dump, fingerprint
from imdb_pipeline.dumps.tables import BASICS, NAMES, PRINCIPALS, RATINGS, Dump, check_ratings, first_rows
from imdb_pipeline.errors import InputError
from imdb_pipeline.gates import Outcome
from imdb_pipeline.orchestration.publishing import Made, Work, published_asset, table

PREVIEW_ROWS = 3
_RATINGS_CHECK = "Unique ids, ratings from 1 to 10, votes not negative."
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
        settings=lambda request: {"source": fingerprint(request.settings, dump)},
        checks={
            "whole_gzip": "The file unpacks to its end, has IMDb's columns, and holds rows.",
            **(
                {"title_ratings_table": "Unique ids, ratings from 1 to 10, votes not negative."}
                if dump is RATINGS
                else {}
            ),
        },
    )
    def dump_asset(work: Work) -> Made:
        try:
            fetched = fetch_dump(
                work.settings, dump, home=work.home, day=work.day, folder=work.folder, expected=work.values["source"]
            )
        except InputError as error:
            return Made(rows=0, outcomes=[Outcome("whole_gzip", passed=False, message=str(error))])
        message = f"{dump.file}: {fetched.rows:,} rows, {fetched.unpacked_bytes:,} bytes unpacked"
        return Made(
            rows=fetched.rows,
            outcomes=[
                Outcome("whole_gzip", passed=True, message=message),
                *([check_ratings(fetched.path, shown=fetched.shown)] if dump is RATINGS else []),
            ],
            metadata={
                "first rows": table(first_rows(fetched.path, dump, PREVIEW_ROWS)),
                "origin": fetched.origin,
                "unpacked bytes": fetched.unpacked_bytes,
            },
            info={"origin": fetched.origin, "unpacked_bytes": fetched.unpacked_bytes},
        )

    return dump_asset


title_basics_dump = _dump_asset(BASICS)
title_ratings_dump = _dump_asset(RATINGS)
title_principals_dump = _dump_asset(PRINCIPALS)
name_basics_dump = _dump_asset(NAMES)
