"""The HTTP service on a finished home: what it answers, what it refuses, and the next release."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import MutableMapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from pydantic import TypeAdapter

import imdb_pipeline
from imdb_pipeline import api
from imdb_pipeline.orchestration.publishing import SERVED_AT
from imdb_pipeline.service import connections, examples, models
from imdb_pipeline.service.app import MAX_MODEL_WORK, create_app
from imdb_pipeline.service.bodies import MAX_BODY_BYTES
from imdb_pipeline.service.current import CurrentRelease
from imdb_pipeline.service.guard import Guard
from imdb_pipeline.service.server import application
from imdb_pipeline.service.workers import BusyError, StoppingError, Workers
from imdb_pipeline.serving import ServedRelease
from imdb_pipeline.similar import similar_movies
from imdb_pipeline.standings import read_leaderboard
from imdb_pipeline.store import Store, write_atomically
from imdb_pipeline_tests.children import started
from imdb_pipeline_tests.commands import run_command
from imdb_pipeline_tests.conftest import DAY, copy_home
from imdb_pipeline_tests.serving_http import WAIT_SECONDS, point, served, until

NEW_DAY = "2026-03-05"
EVIL = "<script>alert(\"x\")</script>\x07\u202e & 'quoted'"
FILM = {"title": "Not Made Yet", "genres": ["Drama", "Splatter"], "actors": ["Nobody Ever"]}


@pytest.fixture(scope="module")
def home(held_home, answering_home, tmp_path_factory):
    """The small home with a champion that can serve, released with all else."""
    home = shutil.copytree(answering_home, tmp_path_factory.mktemp("service") / "home")
    store = Store(home / "store")
    shutil.copy(held_home / "store" / "CURRENT", store.root / "CURRENT")
    point(store, **{asset: store.get(asset, DAY) for asset in ("champion", "rating_predictions")})
    return home


@pytest.fixture(scope="module")
def store(home):
    return Store(home / "store")


@pytest.fixture(scope="module")
def uncached(store):
    """What answers on the command line."""
    return ServedRelease(store)


@pytest.fixture(scope="module")
def service(home):
    with served(home) as running:
        yield running


@pytest.fixture(scope="module")
def tconst(home):
    return api.load_map(home)["tconst"][7]


def publish_movies(home: Path, **columns: pl.Expr):
    """Publish the movies for the next day, changed."""
    store = Store(home / "store")
    with store.stage("movies") as folder:
        frame = pl.read_parquet(store.get("movies", DAY).file("movies.parquet")).with_columns(**columns)
        frame.write_parquet(folder / "movies.parquet")
        about = {"key": "", "code_version": "", "inputs": {}, "settings": {}, "info": {}}
        return store.publish(folder, asset="movies", day=NEW_DAY, rows=len(frame), **about)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"k": 100},
        {"k": 1000},
        {"k": 5, "from_year": 1990, "min_votes": 100},
        {"k": 400, "to_year": 2010},
        {"mask_title": True, "k": 3},
    ],
    ids=str,
)
def test_similar_movies_are_those_of_the_command_line(service, store, tconst, asked):
    found = service.get(f"/similar/{tconst}", **asked)
    years = asked.get("from_year"), asked.get("to_year")
    rest = {name: asked[name] for name in ("k", "min_votes", "mask_title") if name in asked}
    assert found == similar_movies(store, tconst, years=years, **{"k": 10, **rest})
    TypeAdapter(list[models.SimilarMovie]).validate_python(found)


def test_a_title_an_id_and_a_text_find_similar_movies(service, home, store, tconst):
    movies = api.load_movies(home).join(api.load_map(home), on="tconst", how="semi")
    title = movies.filter(pl.col("title").str.to_lowercase().is_unique())["title"][0]
    assert service.get("/similar", title=title.upper(), k=4) == similar_movies(store, title, k=4)
    masked = similar_movies(store, tconst, k=10, mask_title=True)
    assert service.get("/similar", title=tconst, mask_title=True) == masked
    found = service.get("/similar", text="a war in the far north", k=4, from_year=1990)
    assert len(found) == 4
    assert min(each["release_year"] for each in found) >= 1990
    assert [each["cosine"] for each in found] == sorted((each["cosine"] for each in found), reverse=True)


def test_a_movie_described_as_one_of_the_catalogue_is_most_like_that_one(service, home):
    documents = api.load_documents(home)
    row = documents.row(3, named=True)
    answer = service.client.post("/similar", params={"k": 2}, content=row["document"].encode())
    assert answer.json()[0]["tconst"] == row["tconst"]
    assert answer.json()[0]["cosine"] == pytest.approx(1, abs=1e-3)


def test_predictions_are_those_of_the_command_line(service, home, uncached):
    movies, table = api.load_movies(home), api.load_predictions(home)
    without = movies.join(table, on="tconst", how="anti")["tconst"][0]
    for asked in (table["tconst"][0], table.filter(basis="future")["tconst"][0], without):
        answer = service.get(f"/predict/{asked}")
        assert answer == uncached.predict(asked)
        models.Prediction.model_validate(answer)
    answer = service.client.post("/predict", json=FILM).json()
    assert answer == uncached.predict(FILM)
    assert answer["unknown_genres"] == ["Splatter"]
    models.DescribedPrediction.model_validate(answer)


def test_explanations_are_those_of_the_command_line(service, uncached, tconst):
    directors = ["nm0000001", "No Such Director"]
    answer = service.get(f"/explain/{tconst}", director=directors)
    assert answer == uncached.explain(tconst, directors=directors)
    assert [each["person"] for each in answer["unknown"]] == directors
    models.Explanation.model_validate(answer)
    answer = service.client.post("/explain", json=FILM).json()
    assert answer == uncached.explain(FILM)
    models.DescribedExplanation.model_validate(answer)


def test_the_catalogue_and_the_leaderboard_are_those_of_the_release(service, home, store, tconst):
    row = api.load_movies(home).filter(tconst=tconst).row(0, named=True)
    assert service.get(f"/movies/{tconst}") == row
    models.Movie.model_validate(row)
    found = service.get("/movies", title=row["title"].upper(), limit=3)
    assert row["title"].lower() in found[0]["title"].lower()
    TypeAdapter(list[models.ListedMovie]).validate_python(found)
    board = service.get("/leaderboard")
    assert board == json.loads(json.dumps(read_leaderboard(store)))
    TypeAdapter(list[models.LeaderboardRow]).validate_python(board)


def test_health_names_the_release(service, home):
    health = models.Health.model_validate(service.get("/healthz"))
    assert (health.status, health.day, health.problem) == ("ok", DAY, None)


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/similar/tt9999999", 404, "no movie of the catalogue has the id 'tt9999999'"),
        ("/predict/tt9999999", 404, "no movie of the catalogue has the id 'tt9999999'"),
        ("/explain/tt9999999", 404, "no movie of the catalogue has the id 'tt9999999'"),
        ("/movies/tt9999999", 404, "no movie of the catalogue has the id 'tt9999999'"),
        ("/predict/settings.toml", 404, "no movie of the catalogue"),
        ("/predict/..%2Fsettings.toml", 404, "no such path"),
        ("/similar?title=qqqqzzzz", 404, "check the spelling"),
        ("/similar", 422, "title, text: give one of the two"),
        ("/similar?title=a&text=b", 422, "title, text: give one of the two"),
        ("/similar?text=b&mask_title=1", 422, "mask_title: a text has no title to mask"),
        ("/similar/{tconst}?k=0", 422, "k: Input should be greater than or equal to 1"),
        ("/similar/{tconst}?k=1001", 422, "k: Input should be less than or equal to 1000"),
        ("/similar/{tconst}?k=ten", 422, "k: Input should be a valid integer"),
        ("/similar/{tconst}?min_votes=1e400", 422, "min_votes: "),
        ("/similar/{tconst}?from_year=2010&to_year=2000", 422, "the first is after the last"),
        ("/similar/{tconst}?to_year=1700", 422, "no other movie up to 1700"),
        ("/similar/{tconst}?min_vote=5", 422, "min_vote: Extra inputs are not permitted"),
        ("/explain/{tconst}?director=%20", 422, "director: empty; give a name or an id"),
        ("/movies?title=a&limit=101", 422, "limit: Input should be less than or equal to 100"),
        ("/movies", 422, "title: Field required"),
        ("/nothing", 404, "no such path"),
    ],
)
def test_what_cannot_be_answered_is_one_line_that_names_it(service, tconst, path, status, says):
    answer = service.client.get(path.format(tconst=tconst))
    assert answer.status_code == status, answer.text
    models.Problem.model_validate(answer.json())
    assert says in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/predict", "/explain", "/similar"])
@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b'{"release_year": "2001"}', 422, "release_year: expected a year from 1870 to 2200"),
        (b'{"titel": "A"}', 422, "unknown field 'titel'; did you mean 'title'?"),
        (b'{"title": "A", "title": "B"}', 422, "'title' stands twice"),
        (b'{"title": ', 422, "not a movie in JSON"),
        (b"[" * 60_000, 422, "not a movie in JSON"),
        (b"\xff\xfe", 422, "not a movie in JSON"),
        (b'"tt0000001"', 422, "expected a JSON object"),
        (b"", 422, "not a movie in JSON"),
        (b'{"title": "' + b"x" * MAX_BODY_BYTES + b'"}', 413, "larger than 65,536 bytes"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_body_that_is_no_movie_is_refused_in_one_line(service, path, body, status, says):
    def in_chunks():
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    for content in (body, in_chunks()):  # the latter does not say its length
        answer = service.client.post(path, content=content)
        assert answer.status_code == status, answer.text
        assert says in answer.json()["detail"]


def test_several_movies_of_a_title_are_listed(home, tmp_path):
    other = shutil.copytree(home, tmp_path / "home")
    point(Store(other / "store"), movies=publish_movies(other, title=pl.lit("Twin"), original_title=pl.lit("Twin")))
    with served(other) as running:
        answer = running.client.get("/similar", params={"title": "twin"})
    assert answer.status_code == 409
    told = models.SeveralMovies.model_validate(answer.json())
    assert "movies are called twin: give one of" in told.detail
    assert len(told.movies) == 8
    assert {movie.title for movie in told.movies} == {"Twin"}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:8000", 200),
        ("LOCALHOST", 200),
        ("[::1]:8000", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example:8000", 421),
        ("localhost:8000:9", 421),
        ("", 421),
    ],
)
def test_requests_for_another_host_are_refused(service, host, status):
    answer = service.client.get("/healthz", headers={"host": host})
    assert answer.status_code == status
    assert ("detail" in answer.json()) == (status == 421)


def test_every_answer_is_guarded_and_pages_keep_their_own_policy(service, home, tconst):
    for path in ("/", "/docs", "/report", "/map", "/model-card", "/healthz", f"/similar/{tconst}", "/nothing"):
        headers = service.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers
    report = service.client.get("/report")
    assert report.text == Path(run_command("report", "--home", home).out.strip()).read_text()
    assert "http-equiv" in report.text
    links = re.findall(r'href="((?:\.\./)+[^"]+)"', report.text)
    assert len(links) >= 2
    for link in links:  # from disk they lead to the files themselves
        led = service.client.get("/" + link.replace("../", ""), follow_redirects=True)
        assert (led.status_code, led.url.path in ("/model-card", "/map")) == (200, True), link
    assert service.client.get("/movies/2026-03-04/x/movies.parquet").status_code == 404
    page = service.client.get("/docs").text
    assert "<script" not in page
    assert "/similar/{tconst}" in page
    assert "http" not in page.replace("https://www.imdb.com", "")


def test_courtesy_to_imdb_stands_with_its_data_and_not_with_the_sample(home, tmp_path):
    async def headers(folder: Path) -> dict:
        app = application(folder, host="127.0.0.1")
        assert isinstance(app, Guard)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return dict((await client.get("/healthz")).headers)

    (tmp_path / "settings.toml").write_text('source = "imdb"\n')
    assert asyncio.run(headers(tmp_path))["x-data-courtesy"].startswith("Information courtesy of IMDb")
    assert "x-data-courtesy" not in asyncio.run(headers(home))


def test_openapi_describes_every_path_and_its_examples_are_answers(service):
    described = service.get("/openapi.json")
    assert "Information courtesy of IMDb" in described["info"]["description"]
    for path, operations in described["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert operation["tags"], path
            for told in operation["responses"].values():
                for content in told.get("content", {}).values():
                    schema = content.get("schema", {})
                    named = schema.get("$ref") or schema.get("items", {}).get("$ref")
                    if "example" in content and named:
                        model = getattr(models, named.rpartition("/")[2])
                        example = content["example"]
                        for answer in example if "items" in schema else [example]:
                            model.model_validate(answer)
    assert service.client.post("/predict", json=examples.DESCRIBED).status_code == 200


def test_hostile_titles_are_harmless_on_the_page_and_in_json(home, tmp_path):
    other = shutil.copytree(home, tmp_path / "home")
    point(Store(other / "store"), movies=publish_movies(other, title=pl.lit(EVIL)))
    with served(other) as running:
        page = running.client.get("/")
        assert "<script" not in page.text
        assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;\ufffd\ufffd &amp; &#39;quoted&#39;" in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        found = running.client.get("/movies", params={"title": EVIL})
        assert found.headers["content-type"] == "application/json"
        assert found.json()[0]["title"] == EVIL
        assert b"\x07" not in found.content


def test_a_new_release_is_served_without_a_failed_answer_and_the_old_one_is_freed(home, tmp_path, tconst):
    other = shutil.copytree(home, tmp_path / "home")
    store = Store(other / "store")
    stop, failed, asked = threading.Event(), [], []
    with served(other) as running:
        assert running.get(f"/similar/{tconst}", mask_title=True)
        assert running.current.loaded is not None
        old, old_health = weakref.ref(running.current.loaded), running.get("/healthz")

        def ask(path: str) -> None:
            with httpx.Client(base_url=str(running.client.base_url), timeout=60) as client:
                while not stop.is_set():
                    answer = client.get(path)
                    asked.append(path)
                    if answer.status_code != 200:
                        failed.append((path, answer.text))

        paths = [f"/similar/{tconst}", f"/similar/{tconst}?k=500", f"/predict/{tconst}", f"/explain/{tconst}"]
        threads = [threading.Thread(target=ask, args=(path,)) for path in paths]
        for thread in threads:
            thread.start()
        new = publish_movies(other, title=pl.col("title") + " II")
        point(store, movies=new)
        until(lambda: running.get("/healthz")["release"] != old_health["release"])
        before = len(asked)
        until(lambda: len(asked) > before + 20)
        stop.set()
        for thread in threads:
            thread.join()
        assert failed == []
        assert set(asked) == set(paths)
        assert running.get(f"/movies/{tconst}")["title"].endswith(" II")
        assert all(movie["title"].endswith(" II") for movie in running.get(f"/similar/{tconst}"))
        assert running.current.loaded.similar.masks_titles
        until(lambda: gc.collect() >= 0 and old() is None)


def test_what_serves_answers_on_when_its_files_are_gone(home, tmp_path, tconst):
    other = shutil.copytree(home, tmp_path / "home")
    with served(other) as running:
        paths = [f"/similar/{tconst}?k=500", f"/similar/{tconst}?mask_title=1", f"/predict/{tconst}", "/leaderboard"]
        paths += [f"/explain/{tconst}", f"/movies/{tconst}", "/report", "/model-card"]
        before = {path: running.client.get(path).content for path in paths}
        shutil.rmtree(other / "store")
        until(lambda: running.get("/healthz")["status"] == "behind")
        assert "CURRENT is gone" in running.get("/healthz")["problem"]
        assert {path: running.client.get(path).content for path in paths} == before


@pytest.mark.parametrize("damage", ["bytes", "file", "current"])
def test_a_release_that_cannot_be_read_leaves_the_old_one_serving(home, tmp_path, tconst, damage):
    other = shutil.copytree(home, tmp_path / "home")
    store = Store(other / "store")
    good = (store.root / "CURRENT").read_bytes()
    with served(other) as running:
        answer = running.get(f"/similar/{tconst}")
        new = publish_movies(other, title=pl.lit("New"))
        path = new.file("movies.parquet")
        if damage == "bytes":
            path.write_bytes(path.read_bytes()[:-1] + b" ")
        elif damage == "file":
            path.unlink()
        point(store, movies=new)
        if damage == "current":
            (store.root / "CURRENT").write_bytes(b"{")
        until(lambda: running.get("/healthz")["status"] == "behind")
        said = {"bytes": "not the bytes that were published", "file": "missing", "current": "damaged"}[damage]
        assert said in running.get("/healthz")["problem"]
        assert running.get(f"/similar/{tconst}") == answer
        (store.root / "CURRENT").write_bytes(good)
        until(lambda: running.get("/healthz")["status"] == "ok")
        assert running.get(f"/similar/{tconst}") == answer


def test_a_store_that_is_no_folder_for_a_while_is_told_and_what_comes_after_is_noticed(home, tmp_path, tconst):
    other = shutil.copytree(home, tmp_path / "home")
    store, away = other / "store", other / "away"
    good = (store / "CURRENT").read_bytes()
    with served(other) as running:
        answer = running.get(f"/similar/{tconst}")
        store.rename(away)
        store.write_bytes(b"")
        until(lambda: running.get("/healthz")["status"] == "behind")
        assert "Not a directory" in running.get("/healthz")["problem"]
        store.unlink()
        away.rename(store)
        until(lambda: running.get("/healthz")["status"] == "ok")
        write_atomically(store / "CURRENT", b"{")
        until(lambda: running.get("/healthz")["status"] == "behind")
        write_atomically(store / "CURRENT", good)
        until(lambda: running.get("/healthz")["status"] == "ok")
        assert running.get(f"/similar/{tconst}") == answer


def test_without_a_release_it_says_so_until_there_is_one(home, tmp_path, tconst):
    with served(tmp_path / "home") as running:
        health = running.client.get("/healthz")
        assert (health.status_code, health.json()["status"]) == (503, "no release")
        for path in ("/similar/tt1", "/predict/tt1", "/leaderboard", "/report"):
            answer = running.client.get(path)
            assert answer.status_code == 503
            assert "holds no release yet; make one with `imdb-pipeline run" in answer.json()["detail"]
        assert "holds no release yet" in running.client.get("/").text
        shutil.copytree(home, tmp_path / "made")
        (tmp_path / "made").rename(tmp_path / "home")
        until(lambda: running.client.get("/healthz").status_code == 200)
        assert running.get(f"/similar/{tconst}")


def test_without_a_champion_what_needs_none_is_answered(home, tmp_path, tconst):
    other = shutil.copytree(home, tmp_path / "home")
    store = Store(other / "store")
    with store.stage("champion") as folder:
        (folder / "champion.json").write_text(json.dumps({"model": None, "reason": "none beats the mean"}))
        about = {"key": "", "code_version": "", "inputs": {}, "settings": {}, "info": {}}
        point(store, champion=store.publish(folder, asset="champion", day=DAY, rows=0, **about))
    with served(other) as running:
        assert running.get(f"/similar/{tconst}")
        for answer in (
            running.client.get(f"/predict/{tconst}"),
            running.client.get(f"/explain/{tconst}"),
            running.client.post("/predict", json=FILM),
        ):
            assert answer.status_code == 503
            assert "there is no champion: none beats the mean" in answer.json()["detail"]
        assert running.client.post("/similar", json=FILM).status_code == 200


def test_the_loop_goes_on_while_workers_work_and_too_many_questions_are_turned_away():
    async def ask() -> list:
        workers, go = Workers("test", 1, limit=5), threading.Event()
        asked = [asyncio.create_task(workers.do(go.wait)) for _ in range(5)]
        await asyncio.sleep(0)  # the loop is not held up by them
        with pytest.raises(BusyError):
            await workers.do(go.wait)
        go.set()
        done = await asyncio.gather(*asked)
        assert await workers.do(lambda: 7) == 7
        workers.close()
        return done

    assert asyncio.run(ask()) == [True] * 5


def test_work_that_waits_is_not_begun_once_its_caller_has_gone_or_the_workers_stop():
    async def ask() -> None:
        workers, go, begun = Workers("test", 1, limit=4), threading.Event(), []

        def work(name: str) -> str:
            begun.append(name)
            go.wait()
            return name

        first, left, dropped = (asyncio.create_task(workers.do(work, name)) for name in ("first", "left", "dropped"))
        while not begun:
            await asyncio.sleep(0.001)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        workers.stop()
        with pytest.raises(StoppingError):
            await dropped
        with pytest.raises(StoppingError):
            await workers.do(work, "late")
        go.set()
        assert await first == "first"
        assert await workers.do(work, "next") == "next"  # what an answer that was begun needs still
        assert begun == ["first", "next"]
        workers.close()

    asyncio.run(ask())


@contextlib.contextmanager
def held_up(running):
    """Hold up the encoder of a service: the texts that it has begun, and what lets it go on."""
    begun, go = [], threading.Event()
    running.get("/similar", text="warm")
    encode = running.current.loaded.vector

    def vector(text: str):
        begun.append(text)
        go.wait(WAIT_SECONDS)
        return encode(text)

    running.current.loaded.vector = vector
    try:
        yield begun, go
    finally:
        go.set()
        del running.current.loaded.vector


def asking(running, text: str) -> Future:
    """Ask for movies like a text, in a thread."""
    address, asked = running.client.base_url.join("/similar"), Future()

    def ask() -> None:
        try:
            asked.set_result(httpx.get(address, params={"text": text}, timeout=WAIT_SECONDS))
        except BaseException as error:  # raised where the answer is read
            asked.set_exception(error)

    threading.Thread(target=ask).start()
    return asked


def test_a_question_whose_client_has_gone_is_not_begun(service, caplog):
    caplog.set_level(logging.INFO, "imdb_pipeline.service.requests")
    body = b'{"title": "Gone"}'
    post = b"POST /similar HTTP/1.1\r\ncontent-length: %d" % len(body)
    with held_up(service) as (begun, go):
        first = asking(service, "first")
        until(lambda: begun)
        for head, sent in ((b"GET /similar?text=gone HTTP/1.1", b""), (post, body), (post, body[:5])):
            with socket.create_connection(("127.0.0.1", service.port)) as connection:
                connection.sendall(head + b"\r\nhost: localhost\r\n\r\n" + sent)
                assert service.get("/healthz")["day"] == DAY
        until(lambda: sum(" /similar" in line and " 499 " in line for line in caplog.messages) == 3)
        last = asking(service, "last")
        go.set()
        assert (first.result().status_code, last.result().status_code) == (200, 200)
    assert begun == ["first", "last"]
    assert not [record for record in caplog.records if record.exc_info]


def test_few_questions_wait_for_the_model_and_the_others_are_told_so_at_once(service):
    with held_up(service) as (begun, go):
        asked = [asking(service, f"text {number}") for number in range(MAX_MODEL_WORK + 3)]
        until(lambda: sum(each.done() for each in asked) == 3)
        for each in asked:
            if each.done():
                assert (each.result().status_code, each.result().headers["retry-after"]) == (503, "5")
                assert each.result().json() == {"detail": "too many such questions at once; try again in a moment"}
        go.set()
        assert sorted(each.result().status_code for each in asked) == [200] * MAX_MODEL_WORK + [503] * 3
    assert len(begun) == MAX_MODEL_WORK


def test_when_it_stops_what_waits_is_told_so_and_what_is_at_work_is_answered(home, caplog):
    with served(home) as running, held_up(running) as (begun, go):
        first = asking(running, "first")
        until(lambda: begun)
        waiting = [asking(running, text) for text in ("second", "third", "fourth")]
        until(lambda: len(running.server.server_state.tasks) == 4)
        running.server.should_exit = True
        for each in waiting:
            assert each.result().status_code == 503
            assert each.result().json() == {"detail": "the service is stopping; ask again in a moment"}
        go.set()
        assert (first.result().status_code, len(first.result().json())) == (200, 10)
    assert begun == ["first"]
    assert not [record for record in caplog.records if record.exc_info]


def test_connections_on_which_no_request_arrives_are_closed_and_those_that_are_answered_are_not(service, monkeypatch):
    asked = b"GET /movies/tt0 HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with held_up(service) as (begun, go):
        first = asking(service, "first")
        until(lambda: begun)
        monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
        for whole, part in ((b"", b""), (b"", asked[:20]), (asked, asked[:20])):
            with socket.create_connection(("127.0.0.1", service.port), WAIT_SECONDS) as connection:
                connection.sendall(whole)
                if whole:
                    assert connection.recv(4096).startswith(b"HTTP/1.1 404")
                connection.sendall(part)
                while connection.recv(4096):  # what is left of the answer, and then the end
                    pass
        go.set()
        assert first.result().status_code == 200


def test_connections_beyond_a_number_are_told_so_until_others_are_closed(service, tconst, monkeypatch):
    service.get("/healthz")  # on a connection that stays open
    address = service.client.base_url.join("/healthz")
    with monkeypatch.context() as few:
        few.setattr(connections, "MOST_CONNECTIONS", 1)
        until(lambda: httpx.get(address, timeout=WAIT_SECONDS).status_code == 503)
        refused = httpx.get(address, timeout=WAIT_SECONDS)
        assert (refused.status_code, refused.headers["connection"]) == (503, "close")
        assert refused.json() == {"detail": "too many connections at once; try again in a moment"}
        assert refused.headers["x-content-type-options"] == "nosniff"
        assert service.get(f"/similar/{tconst}")
    assert httpx.get(address, timeout=WAIT_SECONDS).status_code == 200


def test_a_request_that_the_server_cuts_off_is_answered_all_the_same():
    async def ask() -> list:
        sent, begun = [], asyncio.Event()

        async def endless(scope, receive, send) -> None:
            begun.set()
            await asyncio.Event().wait()

        async def receive() -> MutableMapping[str, Any]:
            return await asyncio.Future()

        async def send(message) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [(b"host", b"a")]}
        asked = asyncio.create_task(Guard(endless, hosts=["a"])(scope, receive, send))
        await begun.wait()
        asked.cancel()
        await asked
        return sent

    start, body = asyncio.run(ask())
    assert start["status"] == 503
    assert json.loads(body["body"])["detail"].startswith("the service is stopping")


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.extra)])
def test_the_command_serves_until_a_signal_answers_what_is_in_flight_and_exits_0(home, number):
    command = [sys.executable, "-m", "imdb_pipeline.cli", "serve", "--home", str(home), "--port", "0"]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert f"(home {home}; stop with Ctrl+C)" in line
        address = line.split()[0]
        port = address.rpartition(":")[2]
        assert httpx.get(f"{address}/healthz", timeout=60).json()["day"] == DAY
        if number == signal.SIGTERM:
            taken = run_command("serve", "--home", home, "--port", port)
            assert (taken.status, taken.out) == (1, "")
            told = "Address already in use; give another --port or --host"
            assert taken.err == f"imdb-pipeline: 127.0.0.1 port {port}: {told}\n"
            with httpx.stream("GET", f"{address}/report", timeout=60) as in_flight:
                process.send_signal(number)
                assert len(in_flight.read()) == int(in_flight.headers["content-length"])
        else:
            process.send_signal(number)
        _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert "GET /healthz 200" in errors


@pytest.mark.parametrize("first", [True, False])
def test_the_command_ends_while_a_release_is_read(held_home, tmp_path, first):
    home = copy_home(held_home, tmp_path / "home")
    command = [sys.executable, "-m", "imdb_pipeline.cli", "serve", "--home", str(home), "--port", "0"]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[0]
        if not first:
            assert httpx.get(f"{address}/healthz", timeout=WAIT_SECONDS).json()["day"] == DAY
        current = home / "store" / "CURRENT"
        current.unlink()
        os.mkfifo(current)
        with current.open("w"):  # as soon as it is read
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


def test_another_host_than_loopback_is_said_to_be_open(home):
    command = [sys.executable, "-m", "imdb_pipeline.cli", "serve", "--home", str(home), "--port", "0"]
    command += ["--host", "0.0.0.0"]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
    assert "0.0.0.0 is no loopback address" in errors
    assert "no authentication" in errors


@pytest.mark.parametrize("arguments", [["--port", 99999], ["--host", "no.such.host.invalid"], ["--host", ""]])
def test_an_address_that_cannot_be_listened_on_is_one_line(home, arguments):
    refused = run_command("serve", "--home", home, *arguments)
    assert (refused.status, refused.out) == (1, "")
    assert len(refused.err.strip().splitlines()) == 1
    told = "empty; give an address" if arguments[-1] == "" else "give another --port or --host"
    assert told in refused.err


def test_without_the_extra_the_command_says_what_to_install():
    hidden = "import sys; sys.modules['fastapi'] = None; sys.argv = ['x', 'serve']"
    code = f"{hidden}; from imdb_pipeline.cli import main; main()"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 1
    assert ran.stderr == "imdb-pipeline: serve needs fastapi and uvicorn: pip install 'imdb-pipeline[serve]'\n"


def test_the_links_of_the_service_stand_in_dagsters_metadata(held_home):
    import dagster as dg

    with dg.DagsterInstance.from_config(str(held_home / "dagster")) as instance:
        links = {}
        for asset in ("report", "model_card", "leaderboard", "release", "movies"):
            event = instance.get_latest_materialization_event(dg.AssetKey(asset))
            assert event is not None
            materialized = event.asset_materialization
            assert materialized is not None
            links[asset] = getattr(materialized.metadata.get("served at"), "value", None)
    assert links == {
        "report": "http://127.0.0.1:8000/report",
        "model_card": "http://127.0.0.1:8000/model-card",
        "leaderboard": "http://127.0.0.1:8000/leaderboard",
        "release": "http://127.0.0.1:8000/",
        "movies": None,
    }
    app = create_app(CurrentRelease(Store(held_home / "store")), stale_hours=1)
    assert set(SERVED_AT.values()) <= set(app.openapi()["paths"])


PAGE = (Path(imdb_pipeline.__file__).parent.parent / "docs" / "serving.md").read_text()


def test_every_path_is_in_the_documentation(service):
    listed = re.findall(r"^\| `(GET|POST) (\S+)` \|", PAGE, re.MULTILINE)
    paths = service.get("/openapi.json")["paths"]
    assert set(listed) == {(method.upper(), path) for path, operations in paths.items() for method in operations}


def test_the_commands_of_the_documentation_are_answered(service, tconst):
    (block,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.replace("TCONST", tconst).splitlines():
        words = shlex.split(line)
        (address,) = (word for word in words if word.startswith("http://127.0.0.1:8000"))
        path = address.removeprefix("http://127.0.0.1:8000")
        if "--data" in words:
            answer = service.client.post(path, content=words[words.index("--data") + 1])
        else:
            answer = service.client.get(path)
        assert answer.status_code == 200, (line, answer.text)
