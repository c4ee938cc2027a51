"""From the four dumps to movies and documents."""

from pathlib import Path

import polars as pl
import pytest

from imdb_pipeline.catalogue.documents import (
    build_documents,
    document,
    documents_of,
    last_year,
    read_documents,
    with_documents,
)
from imdb_pipeline.catalogue.movies import DumpPaths, build_movies, check_movies
from imdb_pipeline.dumps.tables import check_ratings
from imdb_pipeline.errors import InputError, NotPublishedError
from imdb_pipeline.store import Pool
from imdb_pipeline_tests.tiny_dumps import NAMES, PRINCIPALS, RATINGS, TITLES, write_dumps

WRITTEN_EXAMPLE = """\
{
  "title": "The Lamp \\"at\\" Noon",
  "genres": [
    "Drama",
    "Mystery"
  ],
  "is_adult": false,
  "release_year": 1999,
  "runtime_minutes": 101,
  "directors": [
    "Ann O'Hara"
  ],
  "writers": [
    "Ann O'Hara"
  ],
  "producers": [
    "Per Holm"
  ],
  "actors": [
    "Zoë Ångström",
    "Ann O'Hara"
  ],
  "principals": [
    {
      "Mia Sol": "composer"
    }
  ]
}"""


def movies_of(folder: Path) -> pl.DataFrame:
    return build_movies(paths_of(folder)).movies


def paths_of(folder: Path) -> DumpPaths:
    return DumpPaths(
        folder / "title.basics.tsv.gz",
        folder / "title.ratings.tsv.gz",
        folder / "title.principals.tsv.gz",
        folder / "name.basics.tsv.gz",
    )


def test_a_document_has_the_studys_form_to_the_byte(tmp_path):
    movie = movies_of(write_dumps(tmp_path)).row(0, named=True)
    assert document(movie) == WRITTEN_EXAMPLE


def test_a_movie_without_credits_or_values_has_empty_lists_and_nulls(tmp_path):
    movie = movies_of(write_dumps(tmp_path)).row(by_predicate=pl.col("tconst") == "tt0000002", named=True)
    text = document(movie)
    assert '"title": "NA"' in text
    assert '"genres": null' in text
    assert '"runtime_minutes": null' in text
    assert '"actors": [],\n  "principals": []\n}' in text


def test_movies_are_the_movies_and_tv_movies_with_typed_columns(tmp_path):
    movies = movies_of(write_dumps(tmp_path))
    assert movies["tconst"].to_list() == ["tt0000001", "tt0000002", "tt0000004", "tt0000005"]
    assert movies["is_adult"].to_list() == [False, False, True, False]
    assert movies["average_rating"].to_list() == [7.4, 5.0, None, 4.9]
    assert movies["release_year"].dtype == pl.Int32


def test_credits_are_in_billing_order_with_ids_and_unknown_people_without_a_name(tmp_path):
    credits = movies_of(write_dumps(tmp_path))["credits"][0].to_list()
    assert [(credit["nconst"], credit["category"]) for credit in credits] == [
        ("nm0000001", "actress"),
        ("nm0000002", "actor"),
        ("nm0000003", "director"),
        ("nm0000003", "writer"),
        ("nm0000004", "producer"),
        ("nm0000009", "editor"),
        ("nm0000005", "composer"),
    ]
    assert credits[5]["name"] is None


def test_movies_and_their_credits_are_the_same_however_many_are_joined_at_once(tmp_path, monkeypatch):
    folder = write_dumps(tmp_path, title_principals=PRINCIPALS + "tt0000004\t1\tnm0000002\tself\t\\N\t\\N\n")
    whole = movies_of(folder)
    monkeypatch.setattr("imdb_pipeline.catalogue.movies._TITLES_AT_ONCE", 1)
    assert movies_of(folder).equals(whole)
    assert whole["credits"].list.len().to_list() == [7, 0, 1, 0]


def test_credits_that_share_an_ordering_are_in_a_fixed_order(tmp_path):
    first, second = "tt0000001\t5\tnm0000004\tself\t\\N\t\\N\n", "tt0000001\t5\tnm0000001\tself\t\\N\t\\N\n"
    one = movies_of(write_dumps(tmp_path / "a", title_principals=PRINCIPALS + first + second))
    other = movies_of(write_dumps(tmp_path / "b", title_principals=PRINCIPALS + second + first))
    assert one.equals(other)
    assert [credit["nconst"] for credit in one["credits"][0]][4:7] == ["nm0000004", "nm0000001", "nm0000004"]


@pytest.mark.parametrize("odd", ["nm1", "nm123456789", "xx0000001", "person"])
def test_people_whose_ids_have_another_form_are_people_all_the_same(tmp_path, odd):
    folder = write_dumps(
        tmp_path,
        title_principals=PRINCIPALS.replace("nm0000001", odd),
        name_basics=NAMES.replace("nm0000001", odd),
    )
    catalogue = build_movies(paths_of(folder))
    assert catalogue.movies["credits"][0][0] == {"nconst": odd, "category": "actress", "name": "Zoë Ångström"}
    assert len(catalogue.unknown_people) == 1


def test_without_movies_there_is_an_empty_table(tmp_path):
    full = write_dumps(tmp_path / "full")
    titles = TITLES.replace("\tmovie\t", "\tshort\t").replace("\ttvMovie\t", "\tshort\t")
    catalogue = build_movies(paths_of(write_dumps(tmp_path / "none", title_basics=titles)))
    assert catalogue.movies.is_empty()
    assert catalogue.movies.schema == movies_of(full).schema
    assert catalogue.categories.is_empty()


def test_columns_in_another_order_change_nothing(tmp_path):
    rows = [line.split("\t") for line in RATINGS.splitlines()]
    turned = "".join("\t".join([votes, tconst, rating]) + "\n" for tconst, rating, votes in rows)
    plain = movies_of(write_dumps(tmp_path / "a"))
    assert movies_of(write_dumps(tmp_path / "b", title_ratings=turned)).equals(plain)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (RATINGS.replace("averageRating", "rating"), "column averageRating is missing"),
        (RATINGS.replace("numVotes", "numVotes\tmore"), "column 'more' is unknown"),
        (RATINGS.replace("numVotes", "tconst"), "column numVotes is missing"),
        ("\ufeff" + RATINGS, "byte order mark"),
        ("", "empty"),
    ],
)
def test_a_file_with_other_columns_is_refused_by_name(tmp_path, text, says):
    folder = write_dumps(tmp_path, title_ratings=text)
    with pytest.raises(InputError) as error:
        build_movies(paths_of(folder))
    assert f"{folder}/title.ratings.tsv.gz: " in str(error.value)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("file", "text", "line", "reason"),
    [
        (
            "title.ratings.tsv.gz",
            RATINGS.replace("7.4", "high"),
            2,
            "column averageRating: 'high' is not of type Float64",
        ),
        ("title.basics.tsv.gz", TITLES.replace("\t1999\t", "\t199x\t"), 2, "column startYear: '199x' is not"),
        ("title.basics.tsv.gz", TITLES.replace("\t101\t", "\tReality-TV\t"), 2, "column runtimeMinutes: 'Reality-TV'"),
        ("title.principals.tsv.gz", PRINCIPALS.replace("\t10\t", "\tten\t"), 2, "column ordering: 'ten' is not"),
        ("name.basics.tsv.gz", NAMES.replace("\ttt0000001", ""), 2, "column knownForTitles: no such cell"),
    ],
)
def test_a_row_that_cannot_be_read_is_left_out_and_told_of(tmp_path, file, text, line, reason):
    good = build_movies(paths_of(write_dumps(tmp_path / "good")))
    assert sum(good.rejected_counts.values()) == 0
    folder = write_dumps(tmp_path / "bad", **{file.removesuffix(".tsv.gz").replace(".", "_"): text})
    catalogue = build_movies(paths_of(folder))
    assert catalogue.rejected_counts == {name: int(name == file) for name in good.rejected_counts}
    (row,) = catalogue.rejected.to_dicts()
    assert (row["file"], row["line"]) == (file, line)
    assert row["reason"].startswith(reason)
    assert row["text"] == text.splitlines()[line - 1]
    untouched = good.movies.filter(pl.col("tconst") != "tt0000001")
    assert catalogue.movies.filter(pl.col("tconst") != "tt0000001").equals(untouched)


def test_what_was_found_on_the_way_is_counted(tmp_path):
    catalogue = build_movies(paths_of(write_dumps(tmp_path)))
    assert catalogue.title_types.rows() == [("movie", 3), ("short", 1), ("tvMovie", 1)]
    assert catalogue.categories.rows()[:2] == [("actor", 1), ("actress", 1)]
    assert catalogue.categories["credits"].sum() == 7
    assert catalogue.unknown_people.rows() == [("tt0000001", "nm0000009", "editor")]
    assert catalogue.duplicates.is_empty()
    assert catalogue.orphan_ratings == 0


def test_ratings_without_a_title_are_counted_with_a_sample(tmp_path):
    more = RATINGS + "".join(f"tt{number}\t7.0\t{number}\n" for number in range(1000001, 1000009))
    catalogue = build_movies(paths_of(write_dumps(tmp_path, title_ratings=more)))
    assert catalogue.orphan_ratings == 8
    assert catalogue.orphan_ratings_sample.row(0) == ("tt1000001", 7.0, 1000001)
    assert len(catalogue.movies) == 4


@pytest.mark.parametrize(
    ("file", "text", "key"),
    [
        ("title.basics.tsv.gz", TITLES + "tt0000004\tmovie\tAgain\tAgain\t0\t2003\t\\N\t88\tComedy\n", "tt0000004"),
        ("title.ratings.tsv.gz", RATINGS + "tt0000003\t6.2\t51\n", "tt0000003"),
        ("title.principals.tsv.gz", PRINCIPALS + "tt0000001\t5\tnm0000001\tself\t\\N\t\\N\n", "tt0000001 5"),
        ("name.basics.tsv.gz", NAMES + "nm0000001\tAnother\t\\N\t\\N\t\\N\t\\N\n", "nm0000001"),
    ],
)
def test_keys_that_stand_twice_are_told_of(tmp_path, file, text, key):
    folder = write_dumps(tmp_path, **{file.removesuffix(".tsv.gz").replace(".", "_"): text})
    assert build_movies(paths_of(folder)).duplicates.rows() == [(file, key, 2)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TITLES.replace("1999", "9999"), "column release_year: 9999"),
        (TITLES.replace("tt0000004", "../etc"), "column tconst: ../etc"),
        (TITLES.replace("tt0000004", "tt0000001"), "column tconst: tt0000001"),
    ],
)
def test_a_movie_out_of_range_fails_its_check_with_the_row(tmp_path, text, says):
    outcome = check_movies(movies_of(write_dumps(tmp_path, title_basics=text)), shown="titles of today")
    assert not outcome.passed
    assert outcome.message.startswith("titles of today: ")
    assert says in outcome.message
    assert outcome.sample


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (RATINGS.replace("7.4", "11.5"), "ratings of today: row tt0000001, column averageRating: 11.5"),
        (RATINGS.replace("\t7\n", "\t-7\n"), "column numVotes: -7"),
        (RATINGS.replace("7.4", "NaN"), "column averageRating: NaN"),
        (RATINGS + "tt0000001\t7.0\t99\n", "column tconst: tt0000001"),
    ],
)
def test_a_rating_out_of_range_fails_the_check_of_its_dump(tmp_path, text, says):
    path = write_dumps(tmp_path, title_ratings=text) / "title.ratings.tsv.gz"
    outcome = check_ratings(path, shown="ratings of today")
    assert not outcome.passed
    assert says in outcome.message
    assert check_ratings(write_dumps(tmp_path) / "title.ratings.tsv.gz", shown="").passed


def test_ratings_that_cannot_be_read_are_told_of_by_the_check_of_their_dump(tmp_path):
    path = write_dumps(tmp_path, title_ratings=RATINGS + "tt0000009\t5.5\n\n") / "title.ratings.tsv.gz"
    outcome = check_ratings(path, shown="ratings of today")
    assert outcome.passed
    assert "2 of title.ratings.tsv.gz; the first: title.ratings.tsv.gz line 6: column numVotes: no such cell" in (
        outcome.message
    )


def test_a_person_who_stands_twice_has_one_name(tmp_path):
    twice = NAMES + "nm0000001\tAnother Name\t\\N\t\\N\t\\N\t\\N\n"
    credits = movies_of(write_dumps(tmp_path, name_basics=twice))["credits"][0].to_list()
    assert [credit["name"] for credit in credits if credit["nconst"] == "nm0000001"] == ["Another Name"]


def test_documents_are_for_enough_votes_and_for_the_last_and_coming_years(tmp_path):
    movies = movies_of(write_dumps(tmp_path))
    assert last_year(movies, min_votes=30, day_year=2020) == 2001
    chosen = with_documents(movies, min_votes=30, recent_years=2, day_year=2020)
    assert chosen["tconst"].to_list() == ["tt0000001", "tt0000002", "tt0000004"]
    chosen = with_documents(movies, min_votes=1, recent_years=0, day_year=2020)
    assert chosen["tconst"].to_list() == ["tt0000001", "tt0000002", "tt0000004", "tt0000005"]


def test_a_document_is_stored_once_however_often_it_comes(tmp_path):
    movies, pool = movies_of(write_dumps(tmp_path)), Pool(tmp_path / "pool")
    first, _ = build_documents(movies.head(2), pool)
    second, _ = build_documents(movies, pool)
    third, _ = build_documents(movies, pool)
    assert second.equals(third)
    assert second.head(2).equals(first)
    stored = pl.concat([pl.read_parquet(path) for path in pool.shards()])
    assert len(stored) == len(movies) == stored["document_hash"].n_unique()
    assert read_documents(second, pool)["document"][0] == WRITTEN_EXAMPLE


def test_documents_are_the_same_one_by_one_and_in_parts(tmp_path, monkeypatch):
    movies = movies_of(write_dumps(tmp_path))
    movies = pl.concat([movies, movies.with_columns(pl.col("tconst") + "0")])
    alone = [document(movie) for movie in movies.iter_rows(named=True)]
    assert documents_of(movies).to_list() == alone
    monkeypatch.setattr("imdb_pipeline.catalogue.documents._ROWS_AT_ONCE", 2)
    monkeypatch.setattr("imdb_pipeline.catalogue.documents._ROWS_A_SHARD", 3)
    assert documents_of(movies).to_list() == alone
    pool = Pool(tmp_path / "pool")
    documents, (outcome,) = build_documents(movies, pool)
    assert outcome.passed
    assert read_documents(documents, pool)["document"].to_list() == alone
    stored = pl.concat([pl.read_parquet(path) for path in pool.shards()])
    assert len(stored) == stored["document_hash"].n_unique() == 4


def test_a_lost_document_is_noticed(tmp_path):
    documents, _ = build_documents(movies_of(write_dumps(tmp_path)), Pool(tmp_path / "pool"))
    with pytest.raises(NotPublishedError, match="4 documents are missing"):
        read_documents(documents, Pool(tmp_path / "elsewhere"))
