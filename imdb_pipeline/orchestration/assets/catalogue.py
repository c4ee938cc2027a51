"""Group ``catalogue``: one row per movie, and its document."""

from dataclasses import replace

import dagster as dg

from imdb_pipeline.dumps.tables import BASICS, DUMPS, NAMES, PRINCIPALS, RATINGS, Dump
from imdb_pipeline.errors import InputError
from imdb_pipeline.gates import SAMPLE_ROWS, Outcome
from imdb_pipeline.orchestration.publishing import Made, Request, Work, published_asset, table

PREVIEW_ROWS = 8


@published_asset(
    group="catalogue",
    kinds={"polars", "parquet"},
    inputs=(BASICS.asset, RATINGS.asset, PRINCIPALS.asset, NAMES.asset),
    checks={
        "readable_rows": "The dumps can be read; rows that cannot are left out and told of here.",
        "movies_table": "movies: unique ids, types and ranges of every column.",
    },
)
def movies(work: Work) -> Made:
    """One row per movie or tvMovie: ids, title, year, runtime, genres, credits with person ids in billing order, rating
    and votes where there are any."""
    import polars as pl

    from imdb_pipeline.catalogue.movies import DumpPaths, build_movies, check_movies

    def dump(which: Dump):
        return work.file(which.asset, which.file)

    def from_source(message: str) -> str:
        """Name the file that the user has, not the copy that is read."""
        for which in DUMPS:
            origin = work.inputs[which.asset].manifest["info"]["origin"]
            message = message.replace(str(dump(which)), origin.get("url") or origin["path"])
        return message

    try:
        catalogue = build_movies(DumpPaths(dump(BASICS), dump(RATINGS), dump(PRINCIPALS), dump(NAMES)))
    except InputError as error:
        return Made(rows=0, outcomes=[Outcome("readable_rows", passed=False, message=from_source(str(error)))])
    frame = catalogue.movies
    message = f"{len(frame):,} movies, with ratings and credits"
    bad_rows = catalogue.rejected.head(SAMPLE_ROWS).to_dicts()
    if bad_rows:
        first = "; ".join(f"{row['file']} line {row['line']}: {row['reason']}" for row in bad_rows)
        message += f"; {sum(catalogue.rejected_counts.values()):,} rows rejected, the first: {first}"
    table_check = check_movies(frame, shown=str(dump(BASICS)))
    outcomes = [
        Outcome("readable_rows", passed=True, message=message, sample=bad_rows),
        replace(table_check, message=from_source(table_check.message)),
    ]
    frame.write_parquet(work.folder / "movies.parquet", compression="zstd")
    credits = pl.col("credits").list.len()
    best_known = frame.sort("num_votes", descending=True, nulls_last=True).head(PREVIEW_ROWS)
    return Made(
        rows=len(frame),
        outcomes=outcomes,
        metadata={
            "rated": frame["average_rating"].count(),
            "credits": int(frame.select(credits.sum()).item()),
            "most voted": table(
                best_known.select(
                    "tconst", "title", "release_year", "average_rating", "num_votes", credits=credits
                ).to_dicts()
            ),
        },
    )


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
