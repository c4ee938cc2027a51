"""A movie from a file: its people are found by name or id, what is not known is said, what is wrong is named."""

from __future__ import annotations

import json

import polars as pl
import pytest

from imdb_pipeline.catalogue.documents import documents_of
from imdb_pipeline.errors import InputError
from imdb_pipeline.models.examples import INPUT_COLUMNS
from imdb_pipeline.results.new_movie import FIELDS, MAX_BYTES, read_new_movie
from imdb_pipeline.results.people_named import Asked, NamesHeld, find_people

CREDIT = pl.Struct({"nconst": pl.String, "category": pl.String, "name": pl.String})


def movies_with(*credits: tuple[str, str, str | None]) -> pl.DataFrame:
    """Movies of one credit each: nconst, category, name."""
    return pl.DataFrame(
        {
            "genres": [["Drama", "Sci-Fi"], *[None] * len(credits)],
            "credits": [[], *([dict(zip(("nconst", "category", "name"), credit, strict=True))] for credit in credits)],
        },
        schema={"genres": pl.List(pl.String), "credits": pl.List(CREDIT)},
    )


LAURAS = [(f"nm{number:07d}", "actress", "Laura Bailey") for number in range(1, 16)]
CATALOGUE = movies_with(
    *LAURAS,
    *[("nm0000007", "actress", "Laura Bailey")] * 3,
    *[("nm0000011", "actress", "Laura Bailey")] * 3,
    *[("nm0000012", "director", "Laura Bailey")] * 2,
    *[("nm0000090", "writer", "Ann Lee")] * 2,
    ("nm10000000", "writer", "Ann Lee"),
    ("nm0000091", "composer", "Bo Ek"),
    ("nm0000092", "actor", None),
    ("nm0000093", "actor", "ann lee"),
)


def read(tmp_path, value, movies: pl.DataFrame | NamesHeld = CATALOGUE):
    path = tmp_path / "movie.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return read_new_movie(path, movies)


def ids(new) -> list[tuple[str, str]]:
    return [(credit["nconst"], credit["category"]) for credit in new.movie["credits"][0]]


def test_a_movie_becomes_a_row_and_a_document_like_any_other(tmp_path):
    value = {
        "title": "The Long\tWay",
        "genres": ["drama", "Sci-Fi"],
        "is_adult": False,
        "release_year": 2031,
        "runtime_minutes": 104,
        "directors": ["Laura Bailey"],
        "writers": [{"nconst": "nm10000000"}],
        "producers": [],
        "actors": ["Laura Bailey", "Nobody Known"],
        "principals": [{"Bo Ek": "composer"}, {"nm0000091": "editor"}],
    }
    new = read(tmp_path, value)
    assert tuple(new.movie.columns) == INPUT_COLUMNS
    assert len(new.movie) == 1
    assert ids(new) == [
        ("nm0000007", "actress"),
        ("unknown:Nobody Known", "actor"),
        ("nm0000012", "director"),
        ("nm10000000", "writer"),
        ("nm0000091", "composer"),
        ("nm0000091", "editor"),
    ]
    assert new.document == documents_of(new.movie)[0]
    assert list(json.loads(new.document)) == list(FIELDS)
    assert json.loads(new.document) == {
        **value,
        "genres": ["Drama", "Sci-Fi"],
        "writers": ["Ann Lee"],
        "principals": [{"Bo Ek": "composer"}, {"Bo Ek": "editor"}],
    }
    assert new.notes["missing"] == []


def test_of_fifteen_people_of_a_name_the_one_with_most_such_credits_is_meant(tmp_path):
    new = read(tmp_path, {"title": "X", "actors": ["Laura Bailey"], "directors": ["Laura Bailey"]})
    assert ids(new) == [("nm0000007", "actress"), ("nm0000012", "director")]
    acting, directing = new.notes["ambiguous"]
    assert (acting["field"], acting["people_of_that_name"], acting["nconst"], acting["credits"]) == (
        "actors",
        15,
        "nm0000007",
        4,
    )
    assert acting["others"][:2] == [{"nconst": "nm0000011", "credits": 4}, {"nconst": "nm0000001", "credits": 1}]
    assert (directing["field"], directing["people_of_that_name"], directing["credits"]) == ("directors", 15, 2)
    assert new.notes["unknown"] == []


@pytest.mark.parametrize(
    ("person", "category", "nconst", "credits"),
    [
        ("Ann Lee", "writer", "nm0000090", 2),
        ("ann lee", "actor", "nm0000093", 1),  # spelt so, though others differ in case alone
        ("ANN LEE", "writer", "nm0000090", 2),
        ("Ann Lee", "director", "nm0000090", 0),  # none directs: the one with most credits
        ("Laura Bailey", "composer", "nm0000007", 0),
        ("nm0000091", "director", "nm0000091", 0),
        ("nm9999999", "director", "nm9999999", 0),
        ("Nobody", "director", "unknown:Nobody", 0),
    ],
)
def test_a_name_means_the_person_with_most_credits_and_an_id_itself(person, category, nconst, credits):
    (meant,) = find_people([Asked("x", person, (category,))], CATALOGUE)
    assert (meant.nconst, meant.credits) == (nconst, credits)
    assert meant.category == category


def test_ids_of_equal_credits_are_ordered_as_numbers():
    catalogue = movies_with(("nm10000000", "writer", "A B"), ("nm2000000", "writer", "A B"))
    assert find_people([Asked("writers", "A B", ("writer",))], catalogue)[0].nconst == "nm2000000"


def test_what_is_not_known_is_normal_and_said(tmp_path):
    new = read(tmp_path, {"title": None, "genres": ["Splatter"], "actors": ["Nobody", {"nconst": "nm7777777"}]})
    assert new.notes["unknown"] == [
        {"field": "actors", "person": "Nobody"},
        {"field": "actors", "person": "nm7777777"},
    ]
    assert new.notes["unknown_genres"] == ["Splatter"]
    assert new.notes["missing"] == [name for name in FIELDS if name not in ("genres", "actors")]
    assert json.loads(new.document)["actors"] == ["Nobody"]
    assert new.movie.select("title", "release_year", "is_adult").row(0) == ("", None, False)
    assert ids(new) == [("unknown:Nobody", "actor"), ("nm7777777", "actor")]
    assert ids(read(tmp_path, {})) == []


@pytest.mark.parametrize("held", [False, True], ids=["table", "names held"])
def test_who_or_what_a_field_gives_again_counts_once_in_the_first_place_and_is_told(tmp_path, held):
    value = {
        "genres": ["sci-fi", "Drama", "Sci-Fi", "SCI-FI", "Odd", "odd"],
        "actors": ["Bo Ek", "Nobody", "nm0000091", {"nconst": "nm0000091"}, "nobody"],
        "directors": ["Bo Ek", "Ann Lee", "Bo  Ek"],
        "principals": [{"Bo Ek": "composer"}, {"Bo Ek": "editor"}, {"nm0000091": "composer"}],
    }
    new = read(tmp_path, value, NamesHeld.of(CATALOGUE) if held else CATALOGUE)
    assert ids(new) == [
        ("nm0000091", "actor"),
        ("unknown:Nobody", "actor"),
        ("nm0000091", "director"),
        ("nm0000090", "director"),
        ("nm0000091", "composer"),
        ("nm0000091", "editor"),
    ]
    assert new.movie["genres"][0].to_list() == ["Sci-Fi", "Drama", "Odd"]
    assert new.notes["unknown_genres"] == ["Odd"]
    assert new.notes["repeated"] == [
        {"field": "genres", "value": "Sci-Fi"},
        {"field": "genres", "value": "Odd"},
        {"field": "actors", "value": "Bo Ek"},
        {"field": "actors", "value": "Nobody"},
        {"field": "directors", "value": "Bo Ek"},
        {"field": "principals", "value": "Bo Ek"},
    ]
    once = {**value, "genres": ["Sci-Fi", "Drama", "Odd"], "actors": ["Bo Ek", "Nobody"]}
    once |= {"directors": ["Bo Ek", "Ann Lee"], "principals": value["principals"][:2]}
    assert read(tmp_path, once).movie.equals(new.movie)
    assert read(tmp_path, once).notes["repeated"] == []


@pytest.mark.parametrize("held", [False, True], ids=["table", "names held"])
def test_a_category_that_the_catalogue_does_not_have_is_told(tmp_path, held):
    value = {"principals": [{"Bo Ek": "composer"}, {"Bo Ek": "compser"}, {"Ann Lee": "compser"}]}
    new = read(tmp_path, value, NamesHeld.of(CATALOGUE) if held else CATALOGUE)
    assert new.notes["unknown_categories"] == ["compser"]
    assert [category for _, category in ids(new)] == ["composer", "compser", "compser"]
    assert read(tmp_path, {}).notes["unknown_categories"] == []


@pytest.mark.parametrize(
    ("value", "expected"), [({}, "movie"), ({"title_type": None}, "movie"), ({"title_type": "tvMovie"}, "tvMovie")]
)
def test_a_described_movie_may_be_a_tv_movie_and_its_document_does_not_say(tmp_path, value, expected):
    new = read(tmp_path, value)
    assert new.movie["title_type"].to_list() == [expected]
    assert new.document == read(tmp_path, {}).document
    assert new.notes["missing"] == list(FIELDS)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"titel": "X"}, "unknown field 'titel'; did you mean 'title'?"),
        ({"num_votes": 12}, "unknown field 'num_votes'; there are title, title_type, genres"),
        ({"title": 3}, "title: expected a text, found 3"),
        ({"title": "\ud800"}, 'title: not valid Unicode, "\\ud800" is half of a character'),
        ({"genres": ["Drama", "x\udc00"]}, 'genres: not valid Unicode, "\\udc00" is half'),
        ({"directors": ["A\ud83c"]}, 'directors, number 1: not valid Unicode, "\\ud83c" is half'),
        ({"principals": [{"A": "\ud83c"}]}, "principals, number 1: not valid Unicode"),
        ({"title_type": "short"}, "title_type: expected 'movie' or 'tvMovie', found \"short\""),
        ({"title_type": ["movie"]}, "title_type: expected 'movie' or 'tvMovie'"),
        ({"genres": "Drama"}, 'genres: expected a list of texts, found "Drama"'),
        ({"genres": ["Drama", None]}, "genres: expected a list of texts"),
        ({"is_adult": 0}, "is_adult: expected true or false, found 0"),
        ({"release_year": "2031"}, "release_year: expected a year from 1870 to 2200"),
        ({"release_year": 20310}, "release_year: expected a year"),
        ({"release_year": True}, "release_year: expected a year"),
        ({"runtime_minutes": -1}, "runtime_minutes: expected whole minutes"),
        ({"runtime_minutes": 90.5}, "runtime_minutes: expected whole minutes from 0 to 100,000, found 90.5"),
        ({"directors": "Ann Lee"}, "directors: expected a list of people"),
        ({"directors": ["A", 3]}, "directors, number 2: expected a name or"),
        ({"directors": [" "]}, "directors, number 1: expected a name or"),
        ({"writers": [{"nconst": "0000090"}]}, "writers, number 1: expected a name or"),
        ({"writers": [{"nconst": 90}]}, "writers, number 1: expected a name or"),
        ({"writers": [{"name": "Ann Lee"}]}, "writers, number 1: expected a name or"),
        ({"principals": ["Bo Ek"]}, "principals, number 1: expected a name with a category"),
        ({"principals": [{"Bo Ek": "composer", "A B": "editor"}]}, "principals, number 1: expected a name"),
        ({"principals": [{"Bo Ek": 3}]}, "principals, number 1: expected a name with a category"),
        ({"principals": [{"nconst": "nm0000091"}]}, "give an id in place of the name"),
        ({"principals": [{"Bo Ek": "actor"}]}, "a person of the category 'actor' belongs in 'actors'"),
        ([1], "expected a JSON object of a movie's fields, found [1]"),
        ("", "not a movie in JSON"),
        ("{", "not a movie in JSON"),
        ('{"release_year": NaN}', "NaN is no JSON"),
        ('{"title": "A", "title": "B"}', "'title' stands twice"),
        ("[" * 100_000, "nested too deep"),
        ('{"title": "' + "x" * MAX_BYTES + '"}', "larger than 1,000,000 bytes"),
        ({"title": ["y" * 500]}, "yyyy..."),
    ],
)
def test_a_bad_file_costs_one_line_that_names_the_field(tmp_path, value, says):
    with pytest.raises(InputError) as caught:
        read(tmp_path, value)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "movie.json"))
    assert says in message
    assert len(message.splitlines()) == 1
    assert len(message) < 300 + len(str(tmp_path))
    assert message.isprintable()


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: No such file"):
        read_new_movie(tmp_path / "none.json", CATALOGUE)
    with pytest.raises(InputError, match="Is a directory"):
        read_new_movie(tmp_path, CATALOGUE)
    (tmp_path / "latin.json").write_bytes('{"title": "é"}'.encode("latin-1"))
    with pytest.raises(InputError, match="not a movie in JSON"):
        read_new_movie(tmp_path / "latin.json", CATALOGUE)
    (tmp_path / "marked.json").write_bytes(b'\xef\xbb\xbf{"title": "A"}')
    assert read_new_movie(tmp_path / "marked.json", CATALOGUE).movie["title"][0] == "A"
