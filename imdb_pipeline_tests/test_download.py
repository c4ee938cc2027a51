"""Downloads from a server that misbehaves on the wire: resumed, started over, tried again or refused, never spliced."""

import base64
import dataclasses
import errno
import gzip
import hashlib
import itertools
import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from imdb_pipeline.dumps.download import RemoteFile, get, head, heads
from imdb_pipeline.dumps.transport import Limits, redirected
from imdb_pipeline.errors import InputError
from imdb_pipeline_tests.faulty_server import (
    MODIFIED,
    Answer,
    Exchange,
    File,
    changed,
    chunked,
    compressed,
    cut,
    drip,
    honest,
    instead,
    raw,
    redirect,
    serve,
    whole,
)
from imdb_pipeline_tests.tiny_dumps import FILES, write_dumps

NAME = "title.ratings.tsv.gz"
BODY = gzip.compress(random.Random(1).randbytes(300_000), mtime=0)
OTHER = gzip.compress(random.Random(2).randbytes(300_000), mtime=0)  # of the same length
V1 = File(BODY)
V2 = File(OTHER, etag='"v2"', last_modified="Thu, 05 Mar 2026 12:00:00 GMT")
LIMITS = Limits(
    connect_seconds=10,
    read_seconds=20,
    bytes_per_second=2_000,
    window_seconds=20,
    attempts=3,
    backoff_seconds=0.01,
    longest_wait_seconds=0.05,
    deadline_seconds=60,
)
HALF = 150_000
IN_2100 = "Fri, 01 Jan 2100 12:00:00 GMT"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def path(tmp_path):
    return tmp_path / NAME


def part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def note(path: Path) -> Path:
    return path.with_name(f"{path.name}.part.json")


def ranges(requests) -> list[str | None]:
    return [request.range for request in requests]


def assert_whole(path: Path, body: bytes) -> None:
    """The file, and nothing beside it."""
    assert path.read_bytes() == body
    assert sorted(path.parent.iterdir()) == [path]


def refusal(url: str, path: Path, limits: Limits = LIMITS) -> str:
    """What a download is refused with: one line that names the address."""
    with pytest.raises(InputError) as caught:
        get(url, path, limits=limits)
    message = str(caught.value)
    assert message.startswith(url)
    assert message.isprintable()
    assert not path.exists()
    return message


def leave_part(url: str, path: Path, *, size: int | None = None) -> None:
    """Leave behind what the first attempt brings (or ``size`` bytes), as a process that was killed does."""
    refusal(url, path, dataclasses.replace(LIMITS, attempts=1, bytes_per_second=1e9))
    if size is not None:
        part(path).write_bytes(BODY[:size])


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
    assert remotes[0].day == "2026-03-04"
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
    faults = {"HEAD b.gz": [instead(403)], "HEAD c.gz": [instead(404)]}
    with serve({"a.gz": V1}, faults) as (url, _), pytest.raises(InputError, match=f"{url}b.gz: the server answers 403"):
        heads([f"{url}{name}.gz" for name in "abc"])


# A whole file


def test_a_file_comes_whole(path):
    with serve({NAME: V1}) as (url, requests):
        done = get(url + NAME, path, limits=LIMITS)
    assert_whole(path, BODY)
    assert done is not None
    assert (done.sha256, done.bytes, done.resumes) == (hashlib.sha256(BODY).hexdigest(), len(BODY), 0)
    assert done.remote.identity() == {"etag": '"v1"', "last_modified": MODIFIED, "bytes": len(BODY)}
    assert requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("etag", ['"v1"', 'W/"v1"', ""])
def test_what_is_held_is_not_sent_again_until_it_changes(path, etag):
    files = {NAME: File(BODY, etag)}
    path.write_bytes(b"held")
    with serve(files) as (url, requests):
        held = head(url + NAME)
        assert get(url + NAME, path, held=held, limits=LIMITS) is None
        assert_whole(path, b"held")
        assert requests[-1].headers["if-modified-since"] == MODIFIED
        files[NAME] = V2
        done = get(url + NAME, path, held=held, limits=LIMITS)
    assert_whole(path, OTHER)
    assert done is not None
    assert done.remote.day == "2026-03-05"


def test_what_is_held_ends_the_part_of_another_version(path):
    with serve({NAME: V1}, {NAME: itertools.repeat(cut(HALF))}) as (url, _):
        leave_part(url + NAME, path)
        assert part(path).exists()
    with serve({NAME: V2}) as (url, _):
        assert get(url + NAME, path, held=head(url + NAME), limits=LIMITS) is None
    assert list(path.parent.iterdir()) == []


def test_a_304_about_another_version_is_not_believed(path):
    held = RemoteFile("", '"v0"', "Tue, 03 Mar 2026 12:00:00 GMT", 10)
    with serve({NAME: V1}, {NAME: [instead(304, etag='"v1"')]}) as (url, requests):
        assert get(url + NAME, path, held=held, limits=LIMITS) is not None
    assert_whole(path, BODY)
    assert "if-none-match" not in requests[-1].headers


@pytest.mark.parametrize("status", [304, 206, 416])
def test_an_answer_to_what_was_not_asked_is_not_taken(path, status):
    with serve({NAME: V1}, {NAME: itertools.repeat(changed(status=status))}) as (url, requests):
        assert f"the server answers {status} to a request for the whole file" in refusal(url + NAME, path)
    assert len(requests) == LIMITS.attempts


# Cut connections, resumed

OFFSETS = [0, 1, 15, 16, len(BODY) - 1, *random.Random(3).sample(range(17, len(BODY) - 1), 25)]


@pytest.mark.parametrize("offset", OFFSETS)
def test_a_cut_connection_is_gone_on_with(path, offset):
    with serve({NAME: V1}, {NAME: [cut(offset)]}) as (url, requests):
        done = get(url + NAME, path, limits=LIMITS)
    assert_whole(path, BODY)
    assert done is not None
    assert done.sha256 == hashlib.sha256(BODY).hexdigest()
    resumed = offset >= 16  # before, it is not known to be the file
    assert ranges(requests) == [None, f"bytes={offset}-" if resumed else None]
    assert done.resumes == resumed


def test_a_connection_reset_again_and_again_is_gone_on_with(path):
    every = list(range(20_000, len(BODY), 50_000))
    faults = [cut(50_000, ending="reset") for _ in every]
    limits = dataclasses.replace(LIMITS, attempts=40, bytes_per_second=1)
    with serve({NAME: V1}, {NAME: faults}) as (url, requests):
        assert get(url + NAME, path, limits=limits) is not None
    assert_whole(path, BODY)
    assert len(requests) == len(every) + 1


def test_progress_is_not_counted_against_the_attempts(path):
    with serve({NAME: V1}, {NAME: [cut(50_000)] * 5}) as (url, requests):
        done = get(url + NAME, path, limits=dataclasses.replace(LIMITS, attempts=2))
    assert_whole(path, BODY)
    assert done is not None
    assert done.resumes == 5
    assert ranges(requests) == [None, *(f"bytes={count}-" for count in range(50_000, 300_000, 50_000))]


def test_crumbs_are_no_progress_but_are_kept(path):
    with serve({NAME: V1}, {NAME: [cut(100)] * 3}) as (url, requests):
        message = refusal(url + NAME, path)
        assert "3 attempts in a row" in message
        assert part(path).stat().st_size == 300
        done = get(url + NAME, path, limits=LIMITS)
    assert_whole(path, BODY)
    assert done is not None
    assert ranges(requests) == [None, "bytes=100-", "bytes=200-", "bytes=300-"]


def test_starting_over_again_and_again_is_no_progress(path):
    turns = itertools.cycle([cut(HALF), instead(416)])
    with serve({NAME: V1}, {NAME: turns}) as (url, requests):
        refusal(url + NAME, path)
    assert len(requests) <= 2 * LIMITS.attempts


def test_a_short_rest_is_gone_on_with(path):
    def some_of_it(exchange: Exchange) -> Answer:
        answer = exchange.honest
        headers = answer.headers | {"Content-Range": f"bytes {HALF}-{HALF + 999}/{len(BODY)}", "Content-Length": "1000"}
        return dataclasses.replace(answer, body=answer.body[:1000], headers=headers)

    with serve({NAME: V1}, {NAME: [cut(HALF), some_of_it]}) as (url, requests):
        assert get(url + NAME, path, limits=LIMITS) is not None
    assert_whole(path, BODY)
    assert ranges(requests) == [None, f"bytes={HALF}-", f"bytes={HALF + 1000}-"]


@pytest.mark.parametrize(
    ("etag", "date", "if_range"),
    [
        ('"v1"', MODIFIED, '"v1"'),
        ('W/"v1"', IN_2100, MODIFIED),
        ("", IN_2100, MODIFIED),
        # A date that was not well past when it was given may be that of other bytes too.
        ('W/"v1"', MODIFIED, None),
        ("", "Wed, 04 Mar 2026 12:00:59 GMT", None),
        ("", "no date", None),
    ],
)
def test_only_what_names_the_very_bytes_makes_a_part_resumable(path, etag, date, if_range):
    def cut_at(exchange: Exchange) -> Answer:
        return dataclasses.replace(changed(date=date)(exchange), stop_after=HALF)

    with serve({NAME: File(BODY, etag)}, {NAME: [cut_at]}) as (url, requests):
        assert get(url + NAME, path, limits=LIMITS) is not None
    assert_whole(path, BODY)
    assert requests[1].headers.get("if-range") == if_range
    assert (requests[1].range is None) == (if_range is None)


# Never two versions in one file

REST = OTHER[HALF:]
SPLICES = {
    "200 with the whole": (whole(), BODY),
    "200 with another version": (whole(V2), OTHER),
    "wrong begin": (changed(REST, content_range=f"bytes {HALF - 1}-{len(BODY) - 2}/{len(BODY)}"), BODY),
    "a later begin": (
        changed(
            REST[10:],
            content_range=f"bytes {HALF + 10}-{len(BODY) - 1}/{len(BODY)}",
            content_length=f"{len(REST) - 10}",
        ),
        BODY,
    ),
    "begin at zero": (changed(REST, content_range=f"bytes 0-{len(REST) - 1}/{len(BODY)}"), BODY),
    "wrong total": (changed(REST, content_range=f"bytes {HALF}-{len(BODY) - 1}/{len(BODY) + 1}"), BODY),
    "unknown total": (changed(REST, content_range=f"bytes {HALF}-{len(BODY) - 1}/*"), BODY),
    "end beyond the total": (changed(REST, content_range=f"bytes {HALF}-{len(BODY)}/{len(BODY)}"), BODY),
    "end before the begin": (changed(REST, content_range=f"bytes {HALF}-{HALF - 1}/{len(BODY)}"), BODY),
    "no Content-Range": (changed(REST, content_range=None), BODY),
    "garbled Content-Range": (changed(REST, content_range="bytes lots"), BODY),
    "several ranges": (changed(REST, content_range=None, content_type="multipart/byteranges; boundary=x"), BODY),
    "another ETag": (changed(REST, etag='"v2"'), BODY),
    "no ETag": (changed(REST, etag=None), BODY),
    "the ETag weak": (changed(REST, etag='W/"v1"'), BODY),
    "another date": (changed(REST, last_modified=V2.last_modified), BODY),
    "no ETag and no date": (changed(REST, etag=None, last_modified=None), BODY),
    "more than announced": (chunked(more=b"x" * 10), BODY),
    "416": (instead(416, b"no such range"), BODY),
    "416 with the total": (instead(416, content_range=f"bytes */{len(BODY)}"), BODY),
    "416 with another total": (instead(416, content_range="bytes */10"), BODY),
    "304": (instead(304), BODY),
}


@pytest.mark.parametrize("how", SPLICES)
def test_bytes_of_two_versions_are_never_joined(path, how):
    fault, expected = SPLICES[how]
    with serve({NAME: V1}, {NAME: [cut(HALF), fault]}) as (url, requests):
        done = get(url + NAME, path, limits=LIMITS)
    assert_whole(path, expected)
    assert done is not None
    assert done.sha256 == hashlib.sha256(expected).hexdigest()
    assert ranges(requests) == [None, f"bytes={HALF}-"] + ([] if how.startswith("200") else [None])


def test_a_file_that_changes_between_attempts_is_the_new_one(path):
    files = {NAME: V1}

    def change(exchange: Exchange) -> Answer:
        files[NAME] = V2
        return cut(HALF)(exchange)

    with serve(files, {NAME: [change, cut(2 * HALF)]}) as (url, requests):
        done = get(url + NAME, path, limits=LIMITS)
    assert_whole(path, OTHER)
    assert done is not None
    assert done.remote.etag == '"v2"'
    assert [request.headers.get("if-range") for request in requests] == [None, '"v1"', '"v2"']


BAD_PARTS = {
    "no note": lambda path: note(path).unlink(),
    "an empty note": lambda path: note(path).write_bytes(b""),
    "a garbled note": lambda path: note(path).write_bytes(b"\xff{"),
    "a note of something else": lambda path: note(path).write_text('{"etag": 1}'),
    "a note of another address": lambda path: note(path).write_text(note(path).read_text().replace("http:", "https:")),
    "no part": lambda path: part(path).unlink(),
    "an empty part": lambda path: part(path).write_bytes(b""),
    "a part that is too long": lambda path: part(path).write_bytes(OTHER + b"x"),
}


@pytest.mark.parametrize("how", BAD_PARTS)
def test_a_part_that_nothing_vouches_for_is_not_used(path, how):
    with serve({NAME: V1}, {NAME: [cut(HALF)]}) as (url, requests):
        leave_part(url + NAME, path)
        if how != "no part":
            part(path).write_bytes(OTHER[:HALF])  # would show
        BAD_PARTS[how](path)
        assert get(url + NAME, path, limits=LIMITS) is not None
    assert_whole(path, BODY)
    assert ranges(requests) == [None, None]


def test_a_part_that_is_whole_is_confirmed_with_its_last_byte(path):
    with serve({NAME: V1}, {NAME: [cut(HALF)]}) as (url, requests):
        leave_part(url + NAME, path, size=len(BODY))
        done = get(url + NAME, path, limits=LIMITS)
    assert_whole(path, BODY)
    assert done is not None
    assert (done.sha256, done.resumes) == (hashlib.sha256(BODY).hexdigest(), 1)
    assert requests[-1].range == f"bytes={len(BODY) - 1}-"


def test_a_part_that_is_whole_but_old_is_replaced(path):
    files = {NAME: V1}
    with serve(files, {NAME: [cut(HALF)]}) as (url, _):
        leave_part(url + NAME, path, size=len(BODY))
        files[NAME] = V2
        assert get(url + NAME, path, limits=LIMITS) is not None
    assert_whole(path, OTHER)


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
NO_HEAD = {"connect_seconds": 0.2, "read_seconds": 0.2}
TOO_SLOW = {
    "body": (drip(100), DRIPS, "the server sends less than 100,000 bytes a second"),
    "chunks": (lambda exchange: dataclasses.replace(chunked()(exchange), drip=5), DRIPS, "less than 100,000"),
    "head": (drip(head=True), NO_HEAD, "no answer within 0.4 s"),
    "endless preliminaries": (lambda _: Answer(head=b"", body=CONTINUE, drip=25), NO_HEAD, "no answer within 0.4 s"),
    "silence": (raw(b"", ending="stall"), {"read_seconds": 0.2}, "the connection broke"),
    "silence in the middle": (cut(1_000, ending="stall"), {"read_seconds": 0.2}, "the connection broke"),
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
    limits = dataclasses.replace(LIMITS, deadline_seconds=1.0)
    with serve({NAME: V1}, {NAME: [drip(4_000, pause_seconds=0.05)]}) as (url, requests):
        assert "not done in time" in refusal(url + NAME, path, limits)
        assert get(url + NAME, path, limits=LIMITS) is not None
    assert_whole(path, BODY)
    assert requests[-1].range is not None


# What is not the file

PAGE = b"\r\n<!DOCTYPE html><title>Log in</title>" + b"x" * 2_000_000
NOT_THE_FILE = {
    "page": (File(PAGE, content_type="text/html; charset=utf-8"), "looks like a web page"),
    "page that says gzip": (File(b"\xef\xbb\xbf\n" + PAGE), "looks like a web page"),
    "gzip that says page": (File(BODY, content_type="Text/HTML"), "looks like a web page"),
    "text": (File(b"busy"), "does not begin like a gzip file"),
    "unpacked": (File(b"tconst\taverageRating\tnumVotes\n"), "does not begin like a gzip file"),
    "nothing": (File(b""), "is empty"),
}


@pytest.mark.parametrize("how", NOT_THE_FILE)
def test_what_is_not_the_file_is_refused_and_kept_for_a_look(path, how):
    file, reason = NOT_THE_FILE[how]
    refused = path.with_name(f"{NAME}.refused")
    refused.write_bytes(b"an older one")
    with serve({NAME: file}) as (url, requests):
        message = refusal(url + NAME, path)
    assert reason in message
    assert str(refused) in message
    assert refused.read_bytes() == file.body[:1_000_000]
    assert list(path.parent.iterdir()) == [refused]
    assert len(requests) == 1


def test_a_page_that_breaks_off_is_kept_as_far_as_it_came(path):
    with serve({NAME: File(PAGE)}, {NAME: [cut(5_000)]}) as (url, _):
        assert "looks like a web page" in refusal(url + NAME, path)
    assert path.with_name(f"{NAME}.refused").read_bytes() == PAGE[:5_000]


def test_a_page_in_place_of_the_rest_costs_nothing_that_came(path):
    with serve({NAME: V1}, {NAME: [cut(HALF), whole(File(PAGE))]}) as (url, requests):
        assert "looks like a web page" in refusal(url + NAME, path)
        assert get(url + NAME, path, limits=LIMITS) is not None
    assert path.read_bytes() == BODY
    assert requests[-1].range == f"bytes={HALF}-"


def test_a_refusal_leaves_the_file_that_is_there(path):
    path.write_bytes(b"good")
    with serve({NAME: File(PAGE)}) as (url, _), pytest.raises(InputError):
        get(url + NAME, path, limits=LIMITS)
    assert path.read_bytes() == b"good"


def test_a_file_in_chunks_has_an_end(path):
    with serve({NAME: V1}, {NAME: [chunked()]}) as (url, _):
        done = get(url + NAME, path, limits=LIMITS)
    assert_whole(path, BODY)
    assert done is not None
    assert (done.bytes, done.remote.bytes) == (len(BODY), None)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (compressed, "sent with Content-Encoding 'gzip' unasked"),
        (changed(content_length=None), "sent without a length"),
    ],
)
def test_what_could_not_be_stored_as_it_is_is_refused(path, fault, reason):
    with serve({NAME: V1}, {NAME: [fault]}) as (url, requests):
        assert reason in refusal(url + NAME, path)
    assert len(requests) == 1


@pytest.mark.parametrize("fault", [honest, chunked()])
def test_a_file_that_is_too_large_is_refused(path, fault):
    with serve({NAME: V1}, {NAME: [fault]}) as (url, requests):
        message = refusal(url + NAME, path, dataclasses.replace(LIMITS, maximum_bytes=200_000))
    assert "more than the 200,000 bytes that are allowed" in message
    assert len(requests) == 1
    assert list(path.parent.iterdir()) == []


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


# This process, and others


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_names_the_file(path):
    part(path).symlink_to("/dev/full")
    with serve({NAME: V1}) as (url, requests), pytest.raises(OSError, match="No space left") as caught:
        get(url + NAME, path, limits=LIMITS)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(part(path))
    assert len(requests) == 1
    assert not path.exists()


CHILD = """
import resource, sys
from pathlib import Path
from imdb_pipeline.dumps.download import get
from imdb_pipeline.dumps.transport import Limits
url, path, file_limit = sys.argv[1:]
if file_limit != "-":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_limit), int(file_limit)))
get(url, Path(path), limits=Limits(read_seconds=60, backoff_seconds=0.01))
"""


def child(url: str, path: Path, file_limit: int | str = "-") -> subprocess.Popen:
    command = [sys.executable, "-c", CHILD, url, str(path), str(file_limit)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen, path: Path, size: int) -> None:
    while not (part(path).exists() and part(path).stat().st_size >= size):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_a_file_that_may_not_grow_names_the_file_and_is_gone_on_with(path):
    with serve({NAME: V1}) as (url, requests):
        process = child(url + NAME, path, file_limit=100_000)
        _, said = process.communicate()
        assert process.returncode == 1
        assert f"File too large: '{part(path)}'" in said
        assert not path.exists()
        assert get(url + NAME, path, limits=LIMITS) is not None
    assert_whole(path, BODY)
    assert ranges(requests) == [None, "bytes=100000-"]


def test_a_killed_download_is_gone_on_with_by_another_process(path):
    stalls = [cut(60_000, ending="stall")] * 3
    with serve({NAME: V1}, {NAME: stalls}) as (url, requests):
        for kill in range(3):
            process = child(url + NAME, path)
            # The last bytes may still be in the process: the socket's chunks are larger than what is buffered.
            wait_for(process, path, 60_000 * kill + 40_000)
            process.kill()
            process.communicate()
            assert process.returncode == -signal.SIGKILL
            assert not path.exists()
        done = get(url + NAME, path, limits=LIMITS)
    assert path.read_bytes() == BODY
    assert done is not None
    assert done.sha256 == hashlib.sha256(BODY).hexdigest()
    offsets = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in ranges(requests)[1:] if asked]
    assert len(offsets) == 3
    assert offsets == sorted(set(offsets))


def test_an_interrupted_download_keeps_its_part_and_two_at_once_are_refused(path):
    with serve({NAME: V1}, {NAME: [cut(HALF, ending="stall")]}) as (url, requests):
        process = child(url + NAME, path)
        wait_for(process, path, 1)
        assert f"another process is downloading it to {path}" in refusal(url + NAME, path)
        assert len(requests) == 1
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
        assert "KeyboardInterrupt" in said
        assert part(path).stat().st_size > 0
        assert json.loads(note(path).read_text())["etag"] == '"v1"'
        assert get(url + NAME, path, limits=LIMITS) is not None
    assert_whole(path, BODY)
    assert requests[-1].range is not None
