"""Servers that misbehave: asked again within bounds, or refused at once; and what is said of it."""

import base64
import dataclasses
import itertools
import logging
import os
import threading

import pytest

from imdb_pipeline.dumps.download import get, head, heads
from imdb_pipeline.dumps.transport import redirected
from imdb_pipeline.errors import InputError
from imdb_pipeline_tests.downloading import (
    BODY,
    HALF,
    IN_2100,
    LIMITS,
    NAME,
    V1,
    assert_whole,
    note,
    refusal,
)
from imdb_pipeline_tests.faulty_server import (
    MODIFIED,
    Answer,
    Exchange,
    File,
    changed,
    chunked,
    cut,
    drip,
    instead,
    raw,
    redirect,
    serve,
)
from imdb_pipeline_tests.tiny_dumps import FILES, write_dumps


@pytest.fixture
def path(tmp_path):
    return tmp_path / NAME


# What a server holds


def test_a_head_says_what_is_held(tmp_path):
    folder = write_dumps(tmp_path / "dumps")
    for number, name in enumerate(sorted(FILES)):
        os.utime(folder / name, (1_772_625_600 + number, 1_772_625_600 + number))
    with serve(folder) as (url, requests):
        remotes = heads([url + name for name in sorted(FILES)])
        assert head(url + NAME) in remotes
    assert [remote.url for remote in remotes] == [url + name for name in sorted(FILES)]
    assert [remote.bytes for remote in remotes] == [(folder / name).stat().st_size for name in sorted(FILES)]
    assert remotes[0].modified.isoformat() == "2026-03-04T12:00:00+00:00"
    assert remotes[0].last_modified == "Wed, 04 Mar 2026 12:00:00 GMT"
    assert remotes[0].etag.startswith('"')
    assert {request.method for request in requests} == {"HEAD"}


def test_all_are_asked_at_the_same_time():
    together = threading.Barrier(len(FILES))

    def wait_for_the_others(exchange: Exchange) -> Answer:
        together.wait(timeout=20)
        return exchange.honest

    with serve(dict.fromkeys(FILES, V1), {f"HEAD {name}": [wait_for_the_others] for name in FILES}) as (url, _):
        assert len(heads([url + name for name in FILES])) == len(FILES)


@pytest.mark.parametrize("status", [405, 501])
def test_a_server_that_refuses_head_is_asked_with_get(status):
    with serve({NAME: V1}, {f"HEAD {NAME}": [instead(status)]}) as (url, requests):
        remote = head(url + NAME)
    assert remote.identity() == {"etag": '"v1"', "last_modified": MODIFIED, "bytes": len(BODY)}
    assert [request.method for request in requests] == ["HEAD", "GET"]


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_a_file_without_a_date_is_refused(path, date):
    with serve({NAME: File(BODY, last_modified=date)}) as (url, requests):
        with pytest.raises(InputError, match=f"{url}{NAME}: the server gives no Last-Modified date"):
            head(url + NAME)
        assert "no Last-Modified date" in refusal(url + NAME, path)
    assert len(requests) == 2


def test_a_head_is_tried_again():
    faults = [instead(503), raw(b"\x00garbage\r\n\r\n")]
    with serve({NAME: V1}, {f"HEAD {NAME}": faults}) as (url, requests):
        assert head(url + NAME, timeout_seconds=6).etag == '"v1"'
    assert len(requests) == 3


@pytest.mark.parametrize(
    "silence",
    [raw(b"", ending="stall"), raw(b"HTTP/1.1 200 OK\r\nETag: ", ending="stall"), drip(head=True, pause_seconds=0.1)],
    ids=["nothing", "half a head", "a dripping head"],
)
def test_one_deadline_holds_for_all_heads(silence):
    faults = {f"HEAD {NAME}": itertools.repeat(silence)}
    with serve(dict.fromkeys(FILES, V1), faults) as (url, _), pytest.raises(InputError) as caught:
        heads([url + name for name in (NAME, *FILES)], timeout_seconds=0.8, attempts=2)
    assert str(caught.value).startswith(f"{url}{NAME}: ")


def test_of_several_heads_that_fail_the_first_is_named():
    faults = {"HEAD b.gz": [instead(401)], "HEAD c.gz": [instead(404)]}
    with serve({"a.gz": V1}, faults) as (url, _), pytest.raises(InputError, match=f"{url}b.gz: the server answers 401"):
        heads([f"{url}{name}.gz" for name in "abc"])


# Attempts


@pytest.mark.parametrize(
    "fault",
    [
        *(instead(status, b"<html>sorry</html>") for status in (408, 425, 429, 500, 502, 503, 504, 599)),
        raw(b""),
        raw(b"", ending="reset"),
        raw(b"HTTP/1.1 200"),
        raw(b"\x16\x03\x01 no HTTP\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000 + b"\r\n\r\n"),
        chunked(70_000),
        changed(content_length=str(len(BODY) + 10)),
    ],
)
def test_what_may_pass_is_tried_again_and_an_error_is_never_part_of_the_file(path, fault):
    with serve({NAME: V1}, {NAME: [cut(HALF), fault, cut(10_000), fault]}) as (url, requests):
        assert get(url + NAME, path, limits=dataclasses.replace(LIMITS, attempts=6)) is not None
    assert_whole(path, BODY)
    assert len(requests) >= 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451, 204])
def test_what_does_not_pass_fails_at_once(path, status):
    with serve({NAME: V1}, {NAME: itertools.repeat(instead(status))}) as (url, requests):
        assert f": the server answers {status} (" in refusal(url + NAME, path)
    assert len(requests) == 1
    assert list(path.parent.iterdir()) == []


def test_attempts_are_bounded_and_what_came_is_kept(path):
    with serve({NAME: V1}, {NAME: [cut(HALF), *[instead(503)] * 3]}) as (url, requests):
        assert "the server answers 503, 3 attempts in a row" in refusal(url + NAME, path)
        assert len(requests) == 4
        assert get(url + NAME, path, limits=LIMITS) is not None
    assert_whole(path, BODY)
    assert requests[-1].range == f"bytes={HALF}-"


def test_a_name_that_does_not_resolve_and_a_closed_port_are_told(path):
    assert "cannot be reached" in refusal(f"http://dumps.invalid/{NAME}", path)
    with serve({}) as (url, _):
        pass
    assert "cannot be reached" in refusal(url + NAME, path)
    with pytest.raises(InputError, match="cannot be reached"):
        head(url + NAME, timeout_seconds=2, attempts=2)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x.gz", "x.gz", "http://127.0.0.1:port/x.gz"])
def test_what_is_no_address_is_refused(path, url):
    assert "address" in refusal(url, path)


@pytest.mark.parametrize(
    ("status", "retry_after", "asked"),
    [
        (429, "7", True),
        (503, "7", True),
        (429, IN_2100, True),
        (429, "soon", False),
        (429, "-7", False),
        (429, "9" * 400, False),
    ],
)
def test_a_server_that_asks_to_wait_is_waited_for(path, caplog, status, retry_after, asked):
    caplog.set_level(logging.INFO)
    with serve({NAME: V1}, {NAME: [instead(status, retry_after=retry_after)]}) as (url, _):
        assert get(url + NAME, path, limits=dataclasses.replace(LIMITS, longest_wait_seconds=0.31)) is not None
    retries = [message for message in caplog.messages if "trying again in" in message]
    assert len(retries) == 1
    assert retries[0].startswith(f"{url}{NAME}: the server answers {status}")
    assert ("asks to wait" in retries[0]) == asked
    assert ("trying again in 0.3 s (2 of 3)" in retries[0]) == asked  # the longest that we wait


def test_a_wait_beyond_the_deadline_is_not_begun(path):
    limits = dataclasses.replace(LIMITS, longest_wait_seconds=900)
    with serve({NAME: V1}, {NAME: itertools.repeat(instead(503, retry_after="3600"))}) as (url, requests):
        assert "asks to wait 3600 s, and no time is left" in refusal(url + NAME, path, limits)
    assert len(requests) == 1


# Servers that are too slow

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000
DRIPS = {"window_seconds": 0.3, "bytes_per_second": 100_000}
NO_HEAD = {"connect_seconds": 0.1, "read_seconds": 1.0}
TOO_SLOW = {
    "body": (drip(100), DRIPS, "the server sends less than 100,000 bytes a second"),
    "chunks": (lambda exchange: dataclasses.replace(chunked()(exchange), drip=5), DRIPS, "less than 100,000"),
    "head": (drip(head=True), NO_HEAD, "no answer within 1.1 s"),
    "endless preliminaries": (lambda _: Answer(head=b"", body=CONTINUE, drip=25), NO_HEAD, "no answer within 1.1 s"),
    "silence": (raw(b"", ending="stall"), {"read_seconds": 1.0}, "the connection broke"),
    "silence in the middle": (cut(1_000, ending="stall"), {"read_seconds": 1.0}, "the connection broke"),
}


@pytest.mark.parametrize("how", TOO_SLOW)
def test_a_server_that_drips_is_cut_off_and_in_the_end_refused(path, how):
    fault, impatience, reason = TOO_SLOW[how]
    with serve({NAME: V1}, {NAME: [fault, fault]}) as (url, requests):
        assert reason in refusal(url + NAME, path, dataclasses.replace(LIMITS, attempts=2, **impatience))
        assert len(requests) == 2
        assert get(url + NAME, path, limits=LIMITS) is not None
    assert_whole(path, BODY)


def test_a_deadline_holds_for_everything_and_the_next_call_goes_on(path):
    limits = dataclasses.replace(LIMITS, deadline_seconds=3.0)
    with serve({NAME: V1}, {NAME: [drip(1_000, pause_seconds=0.05)]}) as (url, requests):
        assert "not done in time" in refusal(url + NAME, path, limits)
        assert get(url + NAME, path, limits=LIMITS) is not None
    assert_whole(path, BODY)
    assert requests[-1].range is not None


# Redirects


def test_a_redirect_within_the_server_is_followed(path):
    with serve({NAME: V1}, {"old": [redirect("/older")], "older": [redirect(NAME, 308)]}) as (url, requests):
        done = get(url.replace("//", "//user:secret@") + "old", path, limits=LIMITS)
    assert_whole(path, BODY)
    assert done is not None
    assert done.remote.url == f"{url}old"
    assert len({request.headers["authorization"] for request in requests}) == 1


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://localhost:{port}/x", "another host, http://localhost:{port}/x"),
        ("//other.invalid/x", "another host"),
        ("http://user:secret@other.invalid/x", "another host, http://other.invalid/x"),
        ("http://127.0.0.1:1/x", "another server, http://127.0.0.1:1/x"),
        ("ftp://127.0.0.1/x", "another server, ftp:"),
        ("/old", "in a loop, back to {url}old"),
        ("/old#again", "in a loop"),
        ("", "redirects to nowhere"),
        ("https://127.0.0.1:{port}/x", "cannot be reached"),  # followed, but no TLS is spoken there
    ],
)
def test_other_redirects_are_refused(path, location, reason):
    port = 0

    def away(exchange: Exchange) -> Answer:
        return redirect(location.format(port=port))(exchange)

    with serve({NAME: V1}, {"old": itertools.repeat(away)}) as (url, requests):
        port = url.rstrip("/").rpartition(":")[2]
        assert reason.format(url=url, port=port) in refusal(f"{url}old", path)
    assert {request.path for request in requests} == {"/old"}


def test_redirects_end(path):
    with serve({}, {f"{step}": itertools.repeat(redirect(f"/{step + 1}")) for step in range(99)}) as (url, requests):
        assert "redirected more than 5 times" in refusal(f"{url}0", path)
    assert len(requests) == 6


def test_a_redirect_from_https_to_plain_http_is_refused():
    import httpx

    with pytest.raises(InputError, match="redirected from https to plain http"):
        redirected("https://a.invalid/x", [httpx.URL("https://a.invalid/x")], "http://a.invalid/x")
    upgraded = redirected("http://a.invalid/x", [httpx.URL("http://a.invalid/x")], "https://a.invalid/x")
    assert str(upgraded) == "https://a.invalid/x"


# What is said


def test_a_password_is_sent_but_never_said(path, caplog):
    caplog.set_level(logging.DEBUG)
    faults = {NAME: [cut(HALF), instead(503), instead(404)], f"HEAD {NAME}": [instead(404)]}
    said = []
    with serve({NAME: V1}, faults) as (url, requests):
        private = url.replace("//", "//user:s%40cret@") + NAME
        for call in (lambda: get(private, path, limits=LIMITS), lambda: head(private)):
            with pytest.raises(InputError, match=f"{url}{NAME}: the server answers 404") as caught:
                call()
            said.append(str(caught.value))
        said.append(note(path).read_text())
        assert get(private, path, limits=LIMITS) is not None
        with pytest.raises(InputError) as caught:
            get("http://user:s%40cret/x@:1", path, limits=LIMITS)
        said.append(str(caught.value))
    assert {request.headers["authorization"] for request in requests} == {
        "Basic " + base64.b64encode(b"user:s@cret").decode()
    }
    for text in [*said, *caplog.messages]:
        assert "cret" not in text


def test_progress_and_retries_are_logged(path, caplog):
    caplog.set_level(logging.INFO, logger="imdb_pipeline")
    limits = dataclasses.replace(LIMITS, progress_seconds=0.0)
    with serve({NAME: V1}, {NAME: [cut(HALF)]}) as (url, _):
        get(url + NAME, path, limits=limits)
    said = "\n".join(caplog.messages)
    assert f"{url}{NAME}: the connection broke (peer closed connection" in said
    assert "trying again in 0.0 s (1 of 3)" in said
    assert f"{NAME}: going on at 0.1 of 0.3 MB" in said or f"{NAME}: going on at 0.2 of 0.3 MB" in said
    assert " of 0.3 MB, " in said
    assert " s left" in said
    assert "resumed 1 times" in said
