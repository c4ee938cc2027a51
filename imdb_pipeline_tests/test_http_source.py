"""Dumps over HTTP, from a real server on loopback; and what the sensor and the schedules make of it."""

import os
import threading
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler
from itertools import repeat
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from imdb_pipeline.orchestration import automation
from imdb_pipeline.orchestration.instance import open_instance
from imdb_pipeline.orchestration.resources import Home
from imdb_pipeline.quarantine import refusals
from imdb_pipeline.store import Store
from imdb_pipeline_tests.commands import run_command
from imdb_pipeline_tests.faulty_server import changed, instead, serve
from imdb_pipeline_tests.serving import date_files, serve_folder
from imdb_pipeline_tests.tiny_dumps import RATINGS, write_dumps

DAY = "2026-03-04"
LAST_MODIFIED = "Wed, 04 Mar 2026 12:00:00 GMT"
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.fixture
def source(tmp_path):
    folder = write_dumps(tmp_path / "source")
    date_files(folder, NOON)
    return folder


def fetch(home, url, *more):
    return run_command("fetch", "--home", home, "--source", url, *more)


def test_the_day_is_the_files_last_modified_date_and_the_headers_are_kept(source, tmp_path):
    with serve_folder(source) as (url, _):
        result = fetch(tmp_path / "home", url)
    assert result.status == 0, result.err
    revision = Store(tmp_path / "home" / "store").get("title_ratings_dump", DAY)
    assert revision.file("title.ratings.tsv.gz").read_bytes() == (source / "title.ratings.tsv.gz").read_bytes()
    origin = revision.manifest["info"]["origin"]
    assert origin["url"] == f"{url}title.ratings.tsv.gz"
    assert origin["last_modified"] == "Wed, 04 Mar 2026 12:00:00 GMT"
    assert origin["etag"].startswith('"')


def test_files_that_are_held_are_not_fetched_again(source, tmp_path):
    with serve_folder(source) as (url, requests):
        assert fetch(tmp_path / "home", url).status == 0
        requests.clear()
        result = fetch(tmp_path / "home", url)
        assert "nothing to do" in result.out
        assert "GET" not in {method for method, _ in requests}
        (source / "title.ratings.tsv.gz").write_bytes(
            (
                write_dumps(source / "b", title_ratings=RATINGS + "tt0000004\t5.5\t40\n") / "title.ratings.tsv.gz"
            ).read_bytes()
        )
        date_files(source, NOON)
        requests.clear()
        assert fetch(tmp_path / "home", url).status == 0
        assert [path for method, path in requests if method == "GET"] == ["/title.ratings.tsv.gz"]


def test_a_publication_with_midnight_in_it_is_of_its_last_day(source, tmp_path):
    date_files(source, datetime(2026, 3, 3, 23, 50, tzinfo=UTC))
    late = datetime(2026, 3, 4, 0, 10, tzinfo=UTC).timestamp()
    os.utime(source / "title.principals.tsv.gz", (late, late))
    with serve_folder(source) as (url, _):
        assert fetch(tmp_path / "home", url).status == 0
    assert Store(tmp_path / "home" / "store").days("title_basics_dump") == [DAY]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("2026-03-03T12:00", "2026-03-04T12:00", "are of different days"),
        ("2026-03-04T00:10", "2026-03-04T23:55", "are more than twelve hours apart"),
    ],
)
def test_files_of_two_publications_are_refused(source, tmp_path, old, new, says):
    date_files(source, datetime.fromisoformat(new).replace(tzinfo=UTC))
    before = datetime.fromisoformat(old).replace(tzinfo=UTC).timestamp()
    os.utime(source / "name.basics.tsv.gz", (before, before))
    with serve_folder(source) as (url, _):
        result = fetch(tmp_path / "home", url)
    assert result.status == 1
    assert f"the files {says}" in result.err
    assert f"name.basics.tsv.gz of {old.replace('T', ' ')}" in result.err
    assert not (tmp_path / "home").exists()


def test_a_past_day_that_is_not_held_fails_naming_what_there_is(source, tmp_path):
    with serve_folder(source) as (url, _):
        result = fetch(tmp_path / "home", url, "--day", "2026-02-01")
    assert result.status == 1
    assert f"day 2026-02-01: the source holds {DAY} only, and this home holds: none" in result.err


def test_a_missing_file_is_named_with_its_address(source, tmp_path):
    (source / "name.basics.tsv.gz").unlink()
    with serve_folder(source) as (url, _):
        result = fetch(tmp_path / "home", url)
    assert result.status == 1
    assert f"{url}name.basics.tsv.gz: the server answers 404" in result.err


def test_nobody_there_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("imdb_pipeline.dumps.download.time.sleep", lambda _: None)
    with serve_folder(tmp_path) as (url, _):
        pass
    result = fetch(tmp_path / "home", url)
    assert result.status == 1
    assert f"{url}title.basics.tsv.gz: cannot be reached" in result.err


class Undated(SimpleHTTPRequestHandler):
    def send_header(self, keyword: str, value: str) -> None:
        if keyword.lower() != "last-modified":
            super().send_header(keyword, value)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_server_without_dates_is_refused(source, tmp_path):
    with serve_folder(source, handler=Undated) as (url, _):
        result = fetch(tmp_path / "home", url)
    assert result.status == 1
    assert "gives no Last-Modified date" in result.err


class Busy(SimpleHTTPRequestHandler):
    failures = 2
    lock = threading.Lock()  # the four files are asked for at once

    def do_HEAD(self) -> None:
        with self.lock:
            fails = type(self).failures > 0
            type(self).failures -= fails
        if fails:
            self.send_error(503)
        else:
            super().do_HEAD()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_busy_server_is_asked_again(source, tmp_path, monkeypatch):
    monkeypatch.setattr("imdb_pipeline.dumps.download.time.sleep", lambda _: None)
    Busy.failures = 2
    with serve_folder(source, handler=Busy) as (url, _):
        assert fetch(tmp_path / "home", url).status == 0
        Busy.failures = 99
        result = fetch(tmp_path / "home", url)
    assert result.status == 1
    assert "the server answers 503" in result.err


class Short(SimpleHTTPRequestHandler):
    """Promises the whole file and closes after half."""

    def copyfile(self, source, outputfile) -> None:
        data = source.read()
        outputfile.write(data[: len(data) // 2])
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_half_a_file_is_never_published(source, tmp_path, monkeypatch):
    monkeypatch.setattr("imdb_pipeline.dumps.download.time.sleep", lambda _: None)
    with serve_folder(source, handler=Short) as (url, _):
        result = fetch(tmp_path / "home", url)
    assert result.status == 1
    assert len(result.err.strip().splitlines()) == 1
    assert Store(tmp_path / "home" / "store").assets() == []


def test_a_web_page_in_place_of_a_file_is_kept_aside_and_the_next_attempt_may_do_better(source, tmp_path):
    home = tmp_path / "home"
    with serve(source, {"title.ratings.tsv.gz": [instead(200, b"<html>busy</html>", last_modified=LAST_MODIFIED)]}) as (
        url,
        _,
    ):
        refused = fetch(home, url)
        assert refused.status == 1
        assert "looks like a web page" in refused.err
        (told,) = refusals(home)
        assert not told["judged"]
        assert (Path(told["folder"]) / "title.ratings.tsv.gz.refused").read_bytes() == b"<html>busy</html>"
        assert fetch(home, url).status == 0


def test_a_tag_that_is_weak_for_a_head_alone_is_the_same_tag(source, tmp_path):
    def weaken(exchange):
        return changed(etag="W/" + exchange.file.etag)(exchange)

    with serve(source, {f"HEAD {path.name}": repeat(weaken) for path in source.iterdir()}) as (url, _):
        result = fetch(tmp_path / "home", url)
    assert result.status == 0, result.err


def test_an_archived_day_needs_no_source_and_another_names_what_can_be_had(source, tmp_path):
    home = tmp_path / "home"
    with serve_folder(source) as (url, _):
        assert fetch(home, url).status == 0
    before = Store(home / "store").get("title_ratings_dump", DAY)
    assert run_command("fetch", "--home", home, "--day", DAY).status == 0
    assert Store(home / "store").get("title_ratings_dump", DAY).data_hash == before.data_hash
    missing = run_command("fetch", "--home", home, "--day", "2026-01-01")
    assert missing.status == 1
    assert f"days that can be had here: {DAY}" in missing.err


def test_a_password_in_the_address_is_shown_nowhere(source, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "settings.toml").touch(mode=0o600)
    with serve_folder(source) as (url, _):
        address = url.replace("http://", "http://user:s3cretpw@")
        results = [fetch(home, address), run_command("status", "--home", home, "--json")]
        results.append(run_command("fetch", "--home", home, "--source", url.replace("http://", "http://me:s3cretpw@")))
    assert [result.status for result in results] == [0, 0, 1]
    assert "s3cretpw" not in "".join(result.out + result.err for result in results)
    holding = {path.name for path in home.rglob("*") if path.is_file() and b"s3cretpw" in path.read_bytes()}
    assert holding == {"settings.toml"}
    assert (home / "settings.toml").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("address", ["http://", "http://[::1", "http://host/x?token=1"])
def test_what_is_no_address_is_said(tmp_path, address):
    result = fetch(tmp_path / "home", address)
    assert result.status == 1
    assert "not the address of a folder on a server" in result.err


def test_imdb_is_not_asked_before_its_licence_is_acknowledged(source, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    with serve_folder(source) as (url, requests):
        (home / "settings.toml").write_text(f'source = "imdb"\n[imdb]\nbase_url = "{url}"\n')
        result = run_command("fetch", "--home", home)
        assert result.status == 1
        assert "IMDB_PIPELINE_ACCEPT_LICENCE=yes" in result.err
        assert "accept_licence = true" in result.err
        assert requests == []
        with open_instance(home) as instance:
            tick: Any = automation.new_dumps(dg.build_sensor_context(instance=instance), home=Home(path=str(home)))
        assert "licence" in tick.skip_message
        monkeypatch.setenv("IMDB_PIPELINE_ACCEPT_LICENCE", "yes")
        assert run_command("fetch", "--home", home).status == 0
        monkeypatch.delenv("IMDB_PIPELINE_ACCEPT_LICENCE")
        (home / "settings.toml").write_text(f'source = "imdb"\n[imdb]\nbase_url = "{url}"\naccept_licence = true\n')
        assert run_command("fetch", "--home", home).status == 0
