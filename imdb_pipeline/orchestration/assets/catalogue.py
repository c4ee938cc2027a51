"""Group ``catalogue``: one row per movie, its document, and what changed since the previous good day."""

from typing import TYPE_CHECKING

import dagster as dg

from imdb_pipeline.catalogue.gates import MOVIE_GATES, MovieFacts, summarise
from imdb_pipeline.dumps.tables import BASICS, DUMPS, NAMES, PRINCIPALS, RATINGS
from imdb_pipeline.errors import InputError
from imdb_pipeline.gates import run_gates
from imdb_pipeline.orchestration.assets.dumps import last_good_day
from imdb_pipeline.orchestration.executors import loaded_settings
from imdb_pipeline.orchestration.presentation import expected_again
from imdb_pipeline.orchestration.publishing import published_asset, table
from imdb_pipeline.orchestration.requests import Request
from imdb_pipeline.orchestration.stages import Made, Work
from imdb_pipeline.store import Revision

if TYPE_CHECKING:
    import polars as pl

PREVIEW_ROWS = 8


@published_asset(
    group="catalogue",
    kinds={"polars", "parquet"},
    inputs=(BASICS.asset, RATINGS.asset, PRINCIPALS.asset, NAMES.asset),
    gates=MOVIE_GATES,
    code_version="2",
    table_file="movies.parquet",
    freshness=expected_again(loaded_settings()),
)
def movies(work: Work) -> Made:
    """One row per movie or tvMovie: ids, title, year, runtime, genres, credits with person ids in billing order, rating
    and votes where there are any."""
    import polars as pl

    from imdb_pipeline.catalogue.movies import DumpPaths, build_movies

    dumps = {dump: work.inputs[dump.asset] for dump in DUMPS}
    if len({revision.manifest["settings"].get("snapshot") for revision in dumps.values()}) > 1:
        raise InputError(
            f"the four dumps of {work.day} are of different publications; "
            f"bring them together first: imdb-pipeline fetch --day {work.day}"
        )
    paths = {dump: revision.file(dump.file) for dump, revision in dumps.items()}
    catalogue = build_movies(DumpPaths(paths[BASICS], paths[RATINGS], paths[PRINCIPALS], paths[NAMES]))
    summary = summarise(catalogue)
    before = last_good_day(work)
    earlier = work.store.at_or_before("movies", work.day)
    facts = MovieFacts(
        catalogue,
        rows={dump.file: revision.manifest["rows"] for dump, revision in dumps.items()},
        shown={dump.file: _source_of(revision) for dump, revision in dumps.items()},
        summary=summary,
        before=before,
        before_summary=earlier.manifest["info"]["summary"] if earlier else None,
        before_movies=None if earlier is None or earlier.expired else earlier.file("movies.parquet"),
    )
    frame = catalogue.movies
    frame.write_parquet(work.folder / "movies.parquet", compression="zstd")
    credits = pl.col("credits").list.len()
    best_known = frame[frame["num_votes"].arg_sort(descending=True, nulls_last=True).head(PREVIEW_ROWS)]
    return Made(
        rows=len(frame),
        outcomes=run_gates(MOVIE_GATES, facts, work.settings.gates),
        metadata={
            "rated movies": summary["rated movies"],
            "share rated": round(summary["rated movies"] / max(1, len(frame)), 4),
            "credits": summary["credits"],
            **{f"share without {what}": round(n / max(1, len(frame)), 4) for what, n in summary["without"].items()},
            "rows left out": sum(catalogue.rejected_counts.values()),
            "most voted": table(
                best_known.select(
                    "tconst", "title", "release_year", "average_rating", "num_votes", credits=credits
                ).to_dicts()
            ),
        },
        info={
            "summary": summary,
            "dumps": {
                dump.asset: {
                    "rows": revision.manifest["rows"],
                    "sha256": revision.manifest["files"][dump.file]["sha256"],
                }
                for dump, revision in dumps.items()
            },
        },
        examined=tuple(paths.values()),
    )


def _source_of(dump: Revision) -> str:
    """Return what messages call a dump: the file that the user has, not the copy that is read."""
    origin = dump.manifest["info"]["origin"]
    return origin.get("url") or origin["path"]


def _document_settings(request: Request) -> dict:
    catalogue = request.settings.catalogue
    return {
        "min_votes": catalogue.min_votes,
        "recent_years": catalogue.recent_years,
        "day_year": request.day_year,
    }


@published_asset(
    group="catalogue",
    kinds={"polars", "json"},
    inputs=("movies",),
    settings=_document_settings,
    checks={"documents_table": "One document per movie, in the study's form, under the hash of its text."},
    table_file="documents.parquet",
)
def movie_documents(work: Work) -> Made:
    """A JSON document per movie with enough votes, and per movie of the last and coming years: `tconst` and the hash of
    the text, which is kept once for all days."""
    import polars as pl

    from imdb_pipeline.catalogue.documents import build_documents, document, with_documents

    movies_frame = pl.read_parquet(work.file("movies", "movies.parquet"))
    chosen = with_documents(movies_frame, **work.values)
    if chosen.is_empty():
        raise InputError(
            f"none of the {len(movies_frame)} movies has {work.values['min_votes']} votes or is recent: "
            "there is nothing to embed; give another source, or lower [catalogue] min_votes in settings.toml"
        )
    pool = work.store.pool("documents")
    documents, outcomes = build_documents(chosen, pool)
    documents.write_parquet(work.folder / "documents.parquet", compression="zstd")
    example = f"```json\n{document(chosen.row(0, named=True))}\n```"
    return Made(
        rows=len(documents),
        outcomes=outcomes,
        metadata={
            "first document": dg.MetadataValue.md(example),
            "movies without a document": len(movies_frame) - len(chosen),
        },
    )


@published_asset(
    group="catalogue",
    kinds={"polars", "parquet"},
    inputs=("movies", "movie_documents"),
    previous=("movies", "movie_documents"),
    settings=lambda request: {"min_votes": request.settings.catalogue.min_votes},
    table_file="changes.parquet",
)
def catalogue_changes(work: Work) -> Made:
    """What the day changed against the previous good day: movies added, removed and changed, with which fields; those
    that now have votes enough, the largest moves of a rating, new categories."""
    import polars as pl

    from imdb_pipeline.catalogue.changes import Day, find_changes, write_changes

    def day_of(movies: Revision, documents: Revision) -> Day:
        return Day(
            movies.day,
            pl.scan_parquet(movies.file("movies.parquet")),
            pl.scan_parquet(documents.file("documents.parquet")),
        )

    before = [work.previous(name) for name in ("movies", "movie_documents")]
    changes = find_changes(
        day_of(work.inputs["movies"], work.inputs["movie_documents"]),
        day_of(before[0], before[1]) if before[0] and before[1] else None,
        work.store.pool("documents"),
        **work.values,
    )
    write_changes(work.folder, changes)
    counts = changes.counts
    return Made(
        rows=len(changes.changes),
        metadata={
            "previous good day": counts["previous_day"] or "none: this is the first",
            **{f"documents {name}": counts[name] for name in ("added", "removed", "changed")},
            "share of documents changed": round(counts["share_changed"], 4),
            "ratings changed": counts["ratings_changed"],
            "movies that now have votes enough": counts["crossed_up"],
            "counts": table([{"what": name, "count": value} for name, value in counts.items()]),
            **_listed("movies added, removed, changed", changes.changes),
            **_listed("votes enough or no more", changes.crossed),
            **_listed("largest moves of a rating", changes.movers),
            **_listed(
                "new categories",
                pl.DataFrame(list(changes.new_categories.items()), ["category", "credits"], orient="row"),
            ),
        },
    )


def _listed(name: str, frame: "pl.DataFrame") -> dict[str, dg.TableMetadataValue]:
    return {name: table(frame.head(PREVIEW_ROWS).to_dicts())} if len(frame) else {}
