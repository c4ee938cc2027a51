"""The synthetic catalogue looks like IMDb's dumps, is the same for the same seed, and holds something to learn."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from imdb_pipeline.dumps import sample_words
from imdb_pipeline.dumps.sample import COLUMNS, IMDB_RATED_MOVIES, write_sample
from imdb_pipeline.errors import InputError

MOVIE_TYPES = ["movie", "tvMovie"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A catalogue of a size at which everything there is to see occurs."""
    folder = tmp_path_factory.mktemp("sample") / "not yet there"
    return folder, write_sample(folder, movies=1200)


@pytest.fixture(scope="module")
def tables(folder):
    return {name.removesuffix(".tsv.gz").replace(".", "_"): read(folder[0] / name) for name in COLUMNS}


@pytest.fixture(scope="module")
def rated(tables):
    numbers = tables["title_ratings"].with_columns(pl.col("averageRating").cast(float), pl.col("numVotes").cast(int))
    movies = tables["title_basics"].filter(pl.col("titleType").is_in(MOVIE_TYPES)).join(numbers, on="tconst")
    return movies.filter(pl.col("numVotes") >= 30)


def read(path):
    """Every column as text, ``\\N`` as null."""
    names = COLUMNS[path.name].split(" ")
    return pl.read_csv(path, separator="\t", quote_char=None, null_values="\\N", schema=dict.fromkeys(names, pl.String))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_same_arguments_write_the_same_bytes_and_another_seed_others(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_sample(tmp_path / name, movies=60, seed=seed)
    first, again, other = (contents(tmp_path / name) for name in "abc")
    assert set(first) == set(COLUMNS)
    assert first == again
    assert all(first[name] != other[name] for name in COLUMNS)


def test_chunks_fit_together_whatever_their_number(tmp_path, monkeypatch):
    monkeypatch.setattr("imdb_pipeline.dumps.sample._CHUNK", 500)
    rows = write_sample(tmp_path, movies=60)
    titles, people = read(tmp_path / "title.basics.tsv.gz"), read(tmp_path / "name.basics.tsv.gz")
    credits, ratings = read(tmp_path / "title.principals.tsv.gz"), read(tmp_path / "title.ratings.tsv.gz")
    assert rows["title.basics.tsv.gz"] == titles["tconst"].n_unique() == 60 * 35
    assert titles["tconst"].is_sorted()
    assert people["nconst"].is_sorted()
    assert credits["tconst"].is_sorted()
    movies = titles.filter(pl.col("titleType").is_in(MOVIE_TYPES)).join(ratings, on="tconst")
    assert (movies["numVotes"].cast(int) >= 30).sum() == 60
    assert {primary for primary, _ in sample_words.ODD_TITLES} <= set(titles["primaryTitle"])


@pytest.mark.parametrize("movies", [20, 61])
def test_movies_with_thirty_votes_are_exactly_as_many_as_asked_for(tmp_path, movies):
    write_sample(tmp_path, movies=movies, seed=movies)
    votes = read(tmp_path / "title.ratings.tsv.gz").with_columns(pl.col("numVotes").cast(int))
    titles = read(tmp_path / "title.basics.tsv.gz").filter(pl.col("titleType").is_in(MOVIE_TYPES))
    assert titles.join(votes.filter(pl.col("numVotes") >= 30), on="tconst").height == movies


def test_rows_are_whole_and_only_backslash_n_is_null(folder):
    for name, rows in folder[1].items():
        lines = gzip.decompress((folder[0] / name).read_bytes()).decode().split("\n")
        assert lines[0] == COLUMNS[name].replace(" ", "\t")
        assert lines.pop() == ""
        assert len(lines) == rows + 1
        cells = [line.split("\t") for line in lines]
        assert {len(row) for row in cells} == {len(cells[0])}
        assert all(cell and cell == cell.strip() and "\r" not in cell for row in cells for cell in row)


def test_keys_are_unique_and_in_the_order_of_their_text(tables):
    titles, people = tables["title_basics"]["tconst"], tables["name_basics"]["nconst"]
    credits = tables["title_principals"]
    for prefix, ids in (("tt", titles), ("nm", people)):
        texts = ids.to_list()
        assert texts == sorted(set(texts))
        assert all(re.fullmatch(prefix + r"\d{7,8}", text) for text in texts)
        assert {len(text) for text in texts} == {9, 10}
        numbers = [int(text[2:]) for text in texts]
        assert numbers != sorted(numbers)
    keys = credits.select("tconst", "ordering").rows()
    assert keys == sorted(set(keys))
    assert set(tables["title_ratings"]["tconst"]) <= set(titles)
    assert set(credits["tconst"]) <= set(titles)
    known = tables["name_basics"].drop_nulls("knownForTitles").select(pl.col("knownForTitles").str.split(","))
    assert {tconst for (cell,) in known.rows() for tconst in cell} <= set(titles)


def test_orderings_count_from_one_and_no_credit_stands_twice(tables):
    credits = tables["title_principals"].with_columns(pl.col("ordering").cast(int))
    by_title = credits.group_by("tconst").agg(pl.len(), pl.col("ordering").max())
    assert (by_title["len"] == by_title["ordering"]).all()
    assert credits["ordering"].min() == 1
    assert 10 < by_title["len"].max() <= 40
    assert not credits.select("tconst", "nconst", "category").is_duplicated().any()


def test_all_kinds_of_title_appear_and_movies_are_a_small_part(tables):
    kinds = dict(tables["title_basics"]["titleType"].value_counts().iter_rows())
    assert set(kinds) == {
        *("movie", "tvMovie", "short", "tvEpisode", "tvSeries", "tvMiniSeries", "tvSpecial", "tvShort", "tvPilot"),
        *("video", "videoGame"),
    }
    total = sum(kinds.values())
    assert kinds["tvEpisode"] > total / 2
    assert 0.03 < (kinds["movie"] + kinds["tvMovie"]) / total < 0.15
    credited = tables["title_basics"].join(tables["title_principals"], on="tconst", how="semi")["titleType"]
    assert set(kinds) - set(credited) <= {"tvPilot"}
    with_votes = tables["title_basics"].join(tables["title_ratings"], on="tconst", how="semi")["titleType"]
    assert {"tvEpisode", "short", "video", "tvSeries"} <= set(with_votes)


def test_all_categories_appear_and_characters_are_json_lists(tables):
    credits = tables["title_principals"]
    assert set(credits["category"]) == {
        *("director", "writer", "producer", "actor", "actress", "self", "composer", "cinematographer", "editor"),
        *("production_designer", "casting_director", "archive_footage", "archive_sound"),
    }
    cells = set(credits["characters"].drop_nulls())
    assert all(isinstance(json.loads(cell), list) for cell in cells)
    assert any('\\"' in cell for cell in cells)
    assert any(len(json.loads(cell)) == 2 for cell in cells)


def test_odd_titles_names_and_gaps_are_there(tables, rated):
    titles, people = tables["title_basics"], tables["name_basics"]
    odd = set(rated.select("primaryTitle", "originalTitle").rows())
    assert set(sample_words.ODD_TITLES) <= odd
    assert {"NA", "None"} <= set(rated["primaryTitle"])
    assert rated["primaryTitle"].str.starts_with('" ').any()
    assert rated["primaryTitle"].str.contains("<script>", literal=True).any()
    assert rated["primaryTitle"].str.contains(r" (2|II)$|: ").sum() > 30
    assert (people["primaryName"] == sample_words.HOMONYM).sum() == sample_words.HOMONYMS
    same = people.filter(pl.col("primaryName") == sample_words.HOMONYM)
    movies = titles.filter(pl.col("titleType").is_in(MOVIE_TYPES))
    in_movies = tables["title_principals"].join(movies, on="tconst", how="semi").join(same, on="nconst")
    assert in_movies["nconst"].n_unique() > 1
    assert people["primaryName"].str.contains(r"[^\x00-\x7f]").mean() > 0.1
    assert rated["originalTitle"].str.contains(r"[^\x00-\x7f]").any()
    for column in ("runtimeMinutes", "startYear", "genres"):
        assert 0 < rated[column].null_count() < 0.1 * len(rated)
    assert set(titles["isAdult"]) == {"0", "1"}
    genres = [cell.split(",") for cell in titles["genres"].drop_nulls().unique()]
    assert max(len(cell) for cell in genres) == 3
    assert all(cell == sorted(set(cell)) for cell in genres)


def test_some_direct_and_write_the_same_movie(tables):
    credits = tables["title_principals"]
    both = credits.filter(pl.col("category").is_in(["director", "writer"])).group_by("tconst", "nconst").len()
    assert (both["len"] == 2).sum() > 100


def test_credits_of_people_without_a_name_exist_but_are_rare(tables):
    unknown = tables["title_principals"].join(tables["name_basics"], on="nconst", how="anti")
    assert 0.002 < len(unknown) / len(tables["title_principals"]) < 0.01


def test_movies_not_yet_rated_include_those_of_the_last_and_the_coming_years(tables, rated):
    last = rated["startYear"].cast(int).max()
    movies = tables["title_basics"].filter(pl.col("titleType").is_in(MOVIE_TYPES))
    assert 2 * len(rated) < len(movies) - len(rated) < 4 * len(rated)
    rest = movies.join(rated, on="tconst", how="anti").with_columns(pl.col("startYear").cast(int))
    recent = rest.filter(pl.col("startYear") >= last - 1)
    assert 0.05 * len(rated) < len(recent) < 0.3 * len(rated)
    assert (recent["startYear"] > last).any()
    assert recent.join(tables["title_ratings"], on="tconst", how="semi").height > 0
    coming = tables["title_basics"].filter(pl.col("startYear").cast(int) > last)
    assert coming.join(tables["title_ratings"], on="tconst", how="semi").is_empty()


def test_ratings_have_one_decimal_and_the_spread_of_imdb(tables, rated):
    cells = tables["title_ratings"]["averageRating"]
    assert cells.str.contains(r"^([1-9]\.\d|10\.0)$").all()
    ratings = rated["averageRating"]
    assert ratings.mean() == pytest.approx(6.2, abs=0.25)
    assert ratings.std() == pytest.approx(1.3, abs=0.15)
    assert ratings.skew() < -0.2
    votes = rated["numVotes"]
    assert votes.mean() > 10 * votes.median()


def test_directors_genres_and_titles_tell_something_of_the_rating(tables, rated):
    directors = tables["title_principals"].filter(pl.col("category") == "director")
    films = directors.join(rated.sort("tconst"), on="tconst")
    halves = films.with_columns(half=pl.int_range(pl.len()).over("nconst") % 2)
    means = halves.group_by("nconst").agg(
        *(pl.col("averageRating").filter(pl.col("half") == half).mean().alias(str(half)) for half in (0, 1))
    )
    means = means.drop_nulls()
    assert len(means) > 100
    assert np.corrcoef(means["0"], means["1"])[0, 1] > 0.3

    documentary, horror = (rated.filter(pl.col("genres").str.contains(genre)) for genre in ("Documentary", "Horror"))
    assert documentary["averageRating"].mean() > horror["averageRating"].mean() + 1
    fine, cheap = (
        rated.filter(pl.col("primaryTitle").str.contains("|".join(names.split(","))))
        for names in (sample_words.ADJECTIVES[0], sample_words.ADJECTIVES[2])
    )
    assert fine["averageRating"].mean() > cheap["averageRating"].mean() + 0.3


def test_noise_shrinks_with_votes(tables, rated):
    ratings = tables["title_ratings"].with_columns(pl.col("averageRating").cast(float), pl.col("numVotes").cast(int))
    movies = tables["title_basics"].filter(pl.col("titleType").is_in(MOVIE_TYPES)).join(ratings, on="tconst")
    few = movies.filter(pl.col("numVotes") < 30)["averageRating"].std()
    many = rated.filter(pl.col("numVotes") > 300)["averageRating"].std()
    assert few > 1.05 * many


def test_scale_multiplies_every_file(tmp_path):
    small, large = (write_sample(tmp_path / str(scale), scale=scale) for scale in (0.001, 0.002))
    for name in COLUMNS:
        assert large[name] / small[name] == pytest.approx(2.0, rel=0.1)
    imdb = {"title.basics": 11.64e6, "title.ratings": 1.55e6, "title.principals": 91e6, "name.basics": 14.3e6}
    for name, rows in imdb.items():
        assert large[f"{name}.tsv.gz"] == pytest.approx(rows * 0.002, rel=0.1)
    votes = read(tmp_path / "0.002" / "title.ratings.tsv.gz").with_columns(pl.col("numVotes").cast(int))
    titles = read(tmp_path / "0.002" / "title.basics.tsv.gz").filter(pl.col("titleType").is_in(MOVIE_TYPES))
    movies = titles.join(votes.filter(pl.col("numVotes") >= 30), on="tconst").height
    assert movies == round(IMDB_RATED_MOVIES * 0.002)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"movies": 0}, "movies=0"),
        ({"movies": 19}, "20 to"),
        ({"movies": 10**9}, "movies=1000000000"),
        ({"seed": -1}, "seed"),
        ({"scale": 0.0}, "scale"),
        ({"scale": -1.0}, "scale"),
        ({"scale": float("nan")}, "scale"),
        ({"scale": float("inf")}, "scale"),
        ({"scale": 1e-6}, "scale=1e-06"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message) as error:
        write_sample(tmp_path / "sample", **arguments)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "sample").exists()


def test_a_run_that_breaks_leaves_the_former_files_alone(tmp_path, monkeypatch):
    write_sample(tmp_path, movies=20)
    before = contents(tmp_path)

    def break_off(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("imdb_pipeline.dumps.sample_people.People.basics", break_off)
    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path, movies=20, seed=1)
    assert contents(tmp_path) == before


def test_importing_it_loads_nothing_heavy():
    code = "import sys, imdb_pipeline.dumps.sample; print(*sorted({'numpy', 'polars'} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == ""
