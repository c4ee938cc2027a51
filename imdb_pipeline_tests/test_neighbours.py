"""The exact neighbours, and `similar`: who is meant, who is listed, and what masking titles does."""

import json
import logging
import re

import numpy as np
import polars as pl
import pytest

from imdb_pipeline import api
from imdb_pipeline.catalogue.documents import document, document_hash
from imdb_pipeline.embeddings.masking import TAKEN_OUT, MaskedTitles, Support, title_documents
from imdb_pipeline.embeddings.neighbours import GRID, nearest, neighbour_table
from imdb_pipeline.errors import InputError, NotPublishedError
from imdb_pipeline.similar import find_movie
from imdb_pipeline.store import Store
from imdb_pipeline_tests.commands import run_command
from imdb_pipeline_tests.conftest import copy_home


def unit_rows(n, dimension, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr("imdb_pipeline.embeddings.neighbours._SCORES_PER_BLOCK", {"cpu": 2_000})


@pytest.mark.parametrize(("n", "k"), [(300, 100), (300, 1), (101, 100), (50, 100), (2, 100), (1, 100)])
def test_neighbours_are_the_exact_nearest_and_never_the_row_itself(n, k, small_blocks):
    vectors = unit_rows(n, 16)
    rows, cosines = nearest(vectors, k=k)
    assert rows.shape == cosines.shape == (n, min(k, n - 1))
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    np.testing.assert_allclose(cosines, -np.sort(-scores, axis=1)[:, : rows.shape[1]], atol=GRID)
    assert not (rows == np.arange(n)[:, None]).any()
    table = neighbour_table(pl.Series([f"tt{i}" for i in range(n)], dtype=pl.String), rows, cosines)
    assert table.schema == {"tconst": pl.String, "neighbours": pl.List(pl.UInt32), "cosines": pl.List(pl.Float32)}
    assert table["neighbours"].to_list() == rows.tolist()
    assert table["cosines"].to_list() == cosines.tolist()


@pytest.mark.parametrize("copies", [3, 30, 200])
def test_equal_vectors_are_in_the_order_of_their_rows_however_many(copies, small_blocks):
    vectors = np.tile(unit_rows(4, 16), (copies, 1))
    rows, cosines = nearest(vectors, k=20)
    for row in range(len(vectors)):
        twins = [other for other in range(row % 4, len(vectors), 4) if other != row]
        assert rows[row, : min(20, len(twins))].tolist() == twins[:20]
        pairs = list(zip((-cosines[row]).tolist(), rows[row].tolist(), strict=True))
        assert pairs == sorted(pairs)


def test_a_long_search_says_how_far_it_is(small_blocks, monkeypatch, caplog):
    monkeypatch.setattr("imdb_pipeline.embeddings.neighbours._SECONDS_BETWEEN_LINES", 0)
    with caplog.at_level(logging.INFO, logger="imdb_pipeline"):
        nearest(unit_rows(300, 8), k=3)
    assert re.fullmatch(r"neighbours of 6 of 300 movies, \d+ a second, \d+ s left", caplog.messages[0])
    assert len(caplog.messages) == 50


MOVIES = pl.DataFrame(
    [
        ("tt1", "Frozen", "Frozen", 2013, 500),
        ("tt2", "Frozen", "Frozen", 2010, 300),
        ("tt3", "Alone (2020)", "Solo", 2021, 200),
        ("tt4", "Alone", "Alone", 2020, 100),
        ("tt5", "Twin", "Twin", 1999, None),
        ("tt6", "Twin", "Twin", 1999, 50),
    ],
    schema=["tconst", "title", "original_title", "release_year", "num_votes"],
    orient="row",
)


@pytest.mark.parametrize(
    ("asked", "tconst"),
    [
        ("tt2", "tt2"),
        ("Frozen (2013)", "tt1"),
        ("  frozen(2010) ", "tt2"),
        ("ALONE", "tt4"),
        ("alone (2020)", "tt3"),
        ("Solo", "tt3"),
        ("solo (2021)", "tt3"),
    ],
)
def test_a_movie_is_named_by_its_id_or_title_and_the_year_chooses_among_several(asked, tconst):
    assert MOVIES["tconst"][find_movie(asked, MOVIES, MOVIES)] == tconst


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("frozen", "2 movies are called frozen: give one of tt1 (2013), tt2 (2010), or the year in brackets"),
        ("Twin (1999)", "2 movies are called Twin (1999): give one of tt5 (1999), tt6 (1999)"),
        ("Frozen (1950)", "no movie with the id or the title 'Frozen (1950)' has an embedding"),
        ("Froze", "did you mean 'Frozen'?"),
    ],
)
def test_what_is_ambiguous_or_unknown_is_listed(asked, says):
    with pytest.raises(InputError) as error:
        find_movie(asked, MOVIES, MOVIES)
    assert says in str(error.value)


def test_many_movies_of_a_title_are_listed_up_to_the_eight_most_voted():
    many = pl.DataFrame(
        {
            "tconst": [f"tt{i:02}" for i in range(11)],
            "title": "Home",
            "original_title": "Home",
            "release_year": range(2000, 2011),
            "num_votes": range(11),
        }
    )
    with pytest.raises(InputError, match=r"11 movies .* tt03 \(2003\).* tt10 \(2010\) and 3 with fewer votes"):
        find_movie("home", many, many)


def test_the_filters_give_the_exact_nearest_of_what_passes(held_home):
    movies = api.load_movies(held_home)
    vectors = api.load_embeddings(held_home)
    frame = vectors.join(movies, on="tconst", how="left", maintain_order="left")
    matrix = vectors["embedding"].to_numpy()
    years, counts = frame["release_year"].drop_nulls().sort(), frame["num_votes"].drop_nulls().sort()
    first, last, votes = years[len(years) // 3], years[len(years) // 2], counts[len(counts) // 2]
    row = 7
    passing = frame.with_row_index().filter(
        pl.col("release_year").is_between(first, last), pl.col("num_votes") >= votes, pl.col("index") != row
    )
    cosines = dict(zip(passing["tconst"], matrix[passing["index"].to_numpy()] @ matrix[row], strict=True))
    tconst = frame["tconst"][row]
    for k in (5, 10_000):
        found = api.similar(tconst, k=k, years=(first, last), min_votes=votes, home=held_home).to_dicts()
        assert len(found) == min(k, len(cosines))
        given = [each["cosine"] for each in found]
        assert given == sorted(given, reverse=True)
        np.testing.assert_allclose(given, [cosines[each["tconst"]] for each in found], atol=2 * GRID)
        np.testing.assert_allclose(given, sorted(cosines.values(), reverse=True)[:k], atol=2 * GRID)
    asked = ["similar", tconst, "--home", held_home, "--from-year", first, "--to-year", last, "--min-votes", votes]
    answered = json.loads(run_command(*asked, "--k", 10_000, "--json").out)
    assert [{"asked": tconst, **each} for each in answered] == found
    open_end = api.similar(tconst, k=10_000, years=(first, None), home=held_home)
    assert len(open_end) == len(frame.with_row_index().filter(pl.col("release_year") >= first, pl.col("index") != row))


def test_what_is_computed_for_a_filter_is_what_is_stored_less_what_does_not_pass(held_home):
    years = api.load_movies(held_home)["release_year"]
    for tconst in api.load_map(held_home)["tconst"].to_list()[:5]:
        stored = api.similar(tconst, k=100, home=held_home).to_dicts()
        first = min(row["release_year"] for row in stored) + 1
        left = [row for row in stored if row["release_year"] >= first]
        assert years.min() < first
        assert 0 < len(left) < len(stored)
        computed = api.similar(tconst, k=len(left), years=(first, None), home=held_home).to_dicts()
        np.testing.assert_allclose([row["cosine"] for row in computed], [row["cosine"] for row in left], atol=2 * GRID)
        assert {row["tconst"] for row in computed[:20]} <= {row["tconst"] for row in left}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--k", 0], "k 0: give a number of movies of at least 1"),
        (["--from-year", 2010, "--to-year", 2000], "from year 2010 to year 2000: the first is after the last"),
        (["--min-votes", -1], "min votes -1: give a number of votes of at least 0"),
        (["--to-year", 1700], "no other movie up to 1700 has an embedding; widen"),
        (["--from-year", 2000, "--min-votes", 10**12], "from 2000 with 1,000,000,000,000 votes or more"),
    ],
)
@pytest.mark.parametrize("masked", [[], ["--mask-title"]])
def test_a_value_that_cannot_be_is_one_line(held_home, options, says, masked):
    tconst = api.load_map(held_home)["tconst"][0]
    result = run_command("similar", tconst, "--home", held_home, *options, *masked)
    assert result.status == 1
    assert says in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_a_title_document_is_the_document_up_to_its_title():
    title = 'A "quoted"\nline,\n  "genres": \\ \u2028 end'
    movie = {"title": title, "genres": None, "is_adult": False, "release_year": 1, "runtime_minutes": None}
    texts = [document({**movie, "credits": []}), document({**movie, "title": "Heat", "credits": []})]
    cut = title_documents(pl.DataFrame({"tconst": ["tt1", "tt2"], "document": texts}))
    assert [json.loads(text) for text in cut["document"]] == [{"title": title}, {"title": "Heat"}]
    assert cut["document_hash"].to_list() == [document_hash(text) for text in cut["document"]]


def credited(*people):
    return [{"nconst": person, "category": "actor", "name": person} for person in people]


def masked(rows, n=60, seed=0):
    """The catalogue of these (title direction, genres, people), and of n more movies that share nothing with them."""
    rng = np.random.default_rng(seed)
    names, rest = unit_rows(40, 64, seed=1), unit_rows(n + len(rows), 64, seed=2)
    titles = np.array([names[name] for name, *_ in rows] + [names[i] for i in rng.integers(9, 40, n)])
    documents = rest + 2 * titles
    documents /= np.linalg.norm(documents, axis=1, keepdims=True)
    movies = pl.DataFrame(
        {
            "genres": [genres for _, genres, _ in rows] + [["Drama"]] * n,
            "credits": [credited(*people) for *_, people in rows] + [credited(f"other{i}") for i in range(n)],
        },
        schema_overrides={"genres": pl.List(pl.String)},
    )
    return documents, MaskedTitles(documents, titles, movies)


def test_a_shared_title_counts_only_with_people_or_genres_that_support_it():
    documents, mask = masked(
        [
            (0, ["Animation", "Family"], ["a", "b"]),
            (0, ["Crime"], ["c"]),  # the name alone
            (0, None, []),  # the name alone, and nothing known
            (0, ["Drama"], ["a"]),  # and a person
            (0, ["Animation", "Family"], ["d"]),  # and rare genres
            (1, ["Animation", "Family"], ["a", "b"]),  # no name
        ]
    )
    before, after = documents @ documents[0], mask.cosines(0)
    assert min(before[[1, 2]]) > max(before[6:])
    assert max(after[[1, 2]]) < min(after[[3, 4]])
    assert max(after[[1, 2]]) < 0.5 < min(after[[3, 4]])
    assert after[0] == pytest.approx(1, abs=1e-6)
    assert after.dtype == np.float32
    assert after.max() <= 1
    symmetric = np.array([mask.cosines(row) for row in range(6)])[:, :6]
    np.testing.assert_allclose(symmetric, symmetric.T, atol=1e-6)


def test_the_cosines_are_those_of_the_vectors_less_most_of_their_titles():
    documents, mask = masked([(i % 9, None, []) for i in range(12)])
    titles = mask._titles - mask._titles.mean(axis=0)
    titles /= np.linalg.norm(titles, axis=1, keepdims=True)
    rest = documents - documents.mean(axis=0)
    rest -= TAKEN_OUT * (rest * titles).sum(axis=1, keepdims=True) * titles
    rest /= np.linalg.norm(rest, axis=1, keepdims=True)
    expected = rest @ rest[3]
    assert expected[12] == pytest.approx(mask.cosines(3)[12], abs=1e-5)
    np.testing.assert_allclose(np.delete(mask.cosines(3), 3), np.delete(expected, 3), atol=1e-5)


def test_a_rare_person_supports_more_than_one_who_is_in_many_movies():
    people = [["x", "y"], ["x"], ["y"], *([["y"]] * 20), *([[f"other{i}"] for i in range(60)])]
    movies = pl.DataFrame(
        {"genres": [None] * len(people), "credits": [credited(*names) for names in people]},
        schema_overrides={"genres": pl.List(pl.String)},
    )
    support = Support(movies).of(0)
    assert 1 > support[1] > support[2] > 0
    assert not support[23:].any()


@pytest.mark.parametrize("rows", [1, 2])
def test_the_smallest_catalogues_are_masked_as_well(rows):
    vectors = unit_rows(rows, 8)
    movies = pl.DataFrame({"genres": [["Drama"]] * rows, "credits": [credited("a")] * rows})
    assert np.isfinite(MaskedTitles(vectors, vectors[:, ::-1].copy(), movies).cosines(0)).all()


def test_masked_neighbours_come_from_the_pipeline(held_home):
    """From the vectors of the titles that a run left in the same cache; the movie itself is never among them."""
    for row in api.load_map(held_home).head(3).to_dicts():
        found = json.loads(run_command("similar", row["tconst"], "--home", held_home, "--mask-title", "--json").out)
        assert len(found) == 10
        assert row["tconst"] not in {each["tconst"] for each in found}
        assert [each["cosine"] for each in found] == sorted((each["cosine"] for each in found), reverse=True)
        assert api.similar(row["tconst"], mask_title=True, home=held_home).drop("asked").to_dicts() == found
        every = api.similar(row["tconst"], mask_title=True, k=10_000, home=held_home)
        late = api.similar(row["tconst"], mask_title=True, years=(2000, None), k=10_000, home=held_home)
        assert late.equals(every.filter(pl.col("release_year") >= 2000))


def test_a_home_without_vectors_of_titles_says_what_to_do(held_home, tmp_path):
    home = tmp_path / "home"
    copy_home(held_home, home)
    revision = Store(home / "store").released("movie_embeddings")
    manifest = json.loads((revision.folder / "manifest.json").read_bytes())
    del manifest["files"]["titles.parquet"]
    (revision.folder / "titles.parquet").unlink()
    (revision.folder / "manifest.json").write_text(json.dumps(manifest))
    tconst = api.load_map(home)["tconst"][0]
    assert len(api.similar(tconst, home=home)) == 10
    with pytest.raises(NotPublishedError, match="an older version made it; `imdb-pipeline run` on this home adds them"):
        api.similar(tconst, mask_title=True, home=home)
