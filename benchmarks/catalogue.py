"""What it costs to get from the four dumps to the published movies and documents, in several ways.

    python benchmarks/catalogue.py [--source DIR] [--quick] [--json]

Needs the extra `bench`. Every way runs in a process of its own and publishes movies.parquet, the document pool and the
day's list of documents. The ratio is to the CPU seconds of unpacking the four files and doing nothing with them. All
must give the same documents. The study's way, "eager", reads whole files: it is tried on a tenth of the rows.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from run import measure

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

QUICK_SCALE, TENTH = 0.05, 0.1
DAY_YEAR, MIN_VOTES, RECENT_YEARS = 2026, 30, 2
FILES = "title.basics", "title.ratings", "title.principals", "name.basics"


def unpacked(source: Path) -> None:
    from isal import igzip

    for name in FILES:
        with igzip.open(source / f"{name}.tsv.gz", "rb") as file:
            while file.read(1 << 20):
                pass


def by_line(source: Path) -> pl.DataFrame:
    """The pipeline's own way."""
    from imdb_pipeline.catalogue.movies import DumpPaths, build_movies, check_movies

    movies = build_movies(DumpPaths(*(source / f"{name}.tsv.gz" for name in FILES))).movies
    assert check_movies(movies, shown=str(source)).passed
    return movies


def streaming(source: Path) -> pl.DataFrame:
    """Lazy frames, principals cut by a semi-join as they stream by: the pipeline's way before."""
    import polars as pl

    def scan(name: str) -> pl.LazyFrame:
        return pl.scan_csv(source / f"{name}.tsv.gz", **_text(name, source))

    chosen = scan("title.basics").filter(pl.col("titleType").is_in(["movie", "tvMovie"])).collect(engine="streaming")
    principals = scan("title.principals").select("tconst", "ordering", "nconst", "category")
    principals = principals.join(chosen.lazy().select("tconst"), on="tconst", how="semi").collect(engine="streaming")
    people = principals.lazy().select("nconst").unique()
    names = scan("name.basics").select("nconst", "primaryName").join(people, on="nconst", how="semi")
    ratings = scan("title.ratings").collect(engine="streaming")
    return _joined(chosen, ratings, principals, names.collect(engine="streaming"), how="left")


def eager(source: Path) -> pl.DataFrame:
    """Whole files and inner joins, as in the study's notebook."""
    import polars as pl

    def read(name: str) -> pl.DataFrame:
        return pl.read_csv(source / f"{name}.tsv.gz", **_text(name, source))

    basics, ratings, principals, names = (read(name) for name in FILES)
    chosen = basics.filter(pl.col("titleType").is_in(["movie", "tvMovie"]))
    return _joined(chosen, ratings, principals.join(chosen, on="tconst", how="semi"), names, how="inner")


def _text(name: str, source: Path) -> dict:
    import gzip

    import polars as pl

    with gzip.open(source / f"{name}.tsv.gz", "rt", encoding="utf-8") as file:
        columns = file.readline().rstrip("\n").split("\t")
    return {"separator": "\t", "quote_char": None, "null_values": "\\N", "schema": dict.fromkeys(columns, pl.String)}


def _joined(
    chosen: pl.DataFrame, ratings: pl.DataFrame, principals: pl.DataFrame, names: pl.DataFrame, *, how
) -> pl.DataFrame:
    import polars as pl

    credits = (
        principals.join(names.select("nconst", name="primaryName"), on="nconst", how=how)
        .with_columns(pl.col("ordering").cast(pl.Int32))
        .sort("tconst", "ordering", "category", "nconst")
        .group_by("tconst", maintain_order=True)
        .agg(credits=pl.struct("nconst", "category", "name"))
    )
    typed = chosen.select(
        "tconst",
        title="primaryTitle",
        original_title="originalTitle",
        title_type="titleType",
        is_adult=(pl.col("isAdult") == "1").fill_null(False),
        release_year=pl.col("startYear").cast(pl.Int32),
        runtime_minutes=pl.col("runtimeMinutes").cast(pl.Int32),
        genres=pl.col("genres").str.split(","),
    )
    rated = ratings.select(
        "tconst", average_rating=pl.col("averageRating").cast(pl.Float64), num_votes=pl.col("numVotes").cast(pl.Int64)
    )
    movies = typed.join(rated, on="tconst", how="left").join(credits, on="tconst", how="left")
    return movies.with_columns(pl.col("credits").fill_null([])).sort("tconst")


def duckdb_sql(source: Path, folder: Path) -> Path:
    """The same in SQL; DuckDB writes the file itself."""
    import duckdb  # pyright: ignore[reportMissingImports]

    def table(name: str) -> str:
        return (
            f"read_csv('{source / name}.tsv.gz', delim='\\t', quote='', escape='', nullstr='\\N', header=true, "
            "all_varchar=true)"
        )

    path = folder / "movies.parquet"
    connection = duckdb.connect()
    connection.execute(f"SET temp_directory = '{folder / 'spill'}'")
    connection.execute(f"""
        CREATE TABLE titles AS SELECT * FROM {table("title.basics")} WHERE titleType IN ('movie', 'tvMovie');
        CREATE TABLE credits AS SELECT tconst, ordering::INT AS ordering, nconst, category
            FROM {table("title.principals")} SEMI JOIN titles USING (tconst);
        CREATE TABLE names AS SELECT nconst, primaryName AS name
            FROM {table("name.basics")} SEMI JOIN credits USING (nconst);
        COPY (
            WITH lists AS (
                SELECT tconst, list({{'nconst': nconst, 'category': category, 'name': name}}
                    ORDER BY ordering, category, nconst) AS credits
                FROM credits LEFT JOIN names USING (nconst) GROUP BY tconst)
            SELECT tconst, primaryTitle AS title, originalTitle AS original_title, titleType AS title_type,
                coalesce(isAdult = '1', false) AS is_adult, startYear::INT AS release_year,
                runtimeMinutes::INT AS runtime_minutes, string_split(genres, ',') AS genres,
                averageRating::DOUBLE AS average_rating, numVotes::BIGINT AS num_votes, coalesce(credits, []) AS credits
            FROM titles LEFT JOIN {table("title.ratings")} USING (tconst) LEFT JOIN lists USING (tconst) ORDER BY tconst
        ) TO '{path}' (FORMAT parquet, COMPRESSION zstd)""")
    return path


WAYS = ("igzip alone", "by line", "Polars streaming", "DuckDB", "eager")


def publish(way: str, dumps: str, folder_of_home: str) -> None:
    """Go one way, and publish as the assets do."""
    source, home = Path(dumps), Path(folder_of_home)
    if way == "igzip alone":
        unpacked(source)
        return
    import polars as pl

    from imdb_pipeline.catalogue.documents import build_documents, with_documents
    from imdb_pipeline.store import Store

    store = Store(home / "store")
    made = {"day": "2026-03-04", "key": "", "code_version": "1", "inputs": {}, "settings": {}, "info": {}}
    with store.stage("movies") as folder:
        if way == "DuckDB":
            rows = len(pl.read_parquet(duckdb_sql(source, folder), columns=["tconst"]))
        else:
            movies = {"by line": by_line, "Polars streaming": streaming, "eager": eager}[way](source)
            movies.write_parquet(folder / "movies.parquet", compression="zstd")
            rows = len(movies)
            del movies
        revision = store.publish(folder, asset="movies", rows=rows, **made)
    movies = pl.read_parquet(revision.file("movies.parquet"))
    movies = with_documents(movies, min_votes=MIN_VOTES, recent_years=RECENT_YEARS, day_year=DAY_YEAR)
    documents, outcomes = build_documents(movies, store.pool("documents"))
    assert all(outcome.passed for outcome in outcomes)
    with store.stage("movie_documents") as folder:
        documents.write_parquet(folder / "documents.parquet", compression="zstd")
        store.publish(folder, asset="movie_documents", rows=len(documents), **made)


def digest(home: str) -> str:
    """sha256 over the sorted (tconst, document_hash) that a way published."""
    import hashlib

    import polars as pl

    (path,) = Path(home).glob("store/movie_documents/*/*/documents.parquet")
    rows = pl.read_parquet(path).sort("tconst").rows()
    return hashlib.sha256("".join(f"{tconst} {text}\n" for tconst, text in rows).encode()).hexdigest()


def sample(folder: str, scale: str) -> None:
    from imdb_pipeline.dumps.sample import write_sample

    write_sample(Path(folder), scale=float(scale))


def compare(source: Path, ways: Iterable[str], prefix: str, folder: Path) -> list[dict]:
    """Measure ways on a source, and leave unless all publish the same documents."""
    rows, digests = [], {}
    for way in ways:
        home = folder / "home"
        home.mkdir()
        command = [sys.executable, __file__, "--run"]
        rows.append(measure(prefix + way, [*command, "publish", way, str(source), str(home)], folder / "log"))
        if way != "igzip alone":
            measure("digest", [*command, "digest", str(home)], folder / "log")
            digests[way] = (folder / "log").read_text().strip()
        shutil.rmtree(home)
    if len(set(digests.values())) > 1:
        sys.exit(f"the ways do not publish the same documents: {digests}")
    for row in rows:
        row["ratio"] = round(row["cpu_seconds"] / rows[0]["cpu_seconds"], 2)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="a folder with the four dumps; otherwise a sample of IMDb's size")
    parser.add_argument(
        "--quick", action="store_true", help=f"a sample of {QUICK_SCALE:g} of IMDb's size, nothing else"
    )
    parser.add_argument("--json", action="store_true", help="print a list of rows")
    parser.add_argument("--run", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        step, *rest = arguments.run
        print({"publish": publish, "digest": digest, "sample": sample}[step](*rest) or "")
        return
    if find_spec("duckdb") is None:
        sys.exit("duckdb is missing; install the extra: pip install '.[bench]'")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def of_scale(scale: float) -> Path:
            path = folder / f"{scale:g}"
            measure("the sample", [sys.executable, __file__, "--run", "sample", str(path), str(scale)], folder / "log")
            return path

        every = WAYS
        if arguments.quick:
            rows = compare(of_scale(QUICK_SCALE), every, "", folder)
        else:
            rows = compare(arguments.source or of_scale(1.0), [way for way in every if way != "eager"], "", folder)
            rows += compare(of_scale(TENTH), every, "a tenth: ", folder)
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'':<28}{'CPU s':>9}{'wall s':>9}{'peak MB':>9}{'ratio':>8}")
    for row in rows:
        print(
            f"{row['name']:<28}{row['cpu_seconds']:>9.1f}{row['wall_seconds']:>9.1f}{row['peak_mb']:>9}{row['ratio']:>8.2f}"
        )
    print("all publish the same documents")


if __name__ == "__main__":
    main()
