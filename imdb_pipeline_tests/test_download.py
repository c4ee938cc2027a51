"""Downloads over a wire that breaks: the whole file or none, gone on with or started over, never of two versions."""

import dataclasses
import hashlib
import itertools
import random

import pytest

from imdb_pipeline.dumps.download import RemoteFile, get, head
from imdb_pipeline.errors import InputError
from imdb_pipeline_tests.downloading import (
    BODY,
    HALF,
    IN_2100,
    LIMITS,
    NAME,
    OTHER,
    V1,
    V2,
    assert_whole,
    leave_part,
    note,
    part,
    ranges,
    refusal,
)
from imdb_pipeline_tests.faulty_server import (
    MODIFIED,
    Answer,
    Exchange,
    File,
    changed,
    chunked,
    compressed,
    cut,
    honest,
    instead,
    serve,
    whole,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / NAME


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
    assert f"{done.remote.modified:%Y-%m-%d}" == "2026-03-05"


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


@pytest.mark.parametrize("label", ["gzip", "x-gzip"])
def test_a_file_labelled_with_the_encoding_that_it_has_as_a_file_is_taken_as_it_is(path, label):
    with serve({NAME: V1}, {NAME: [changed(content_encoding=label)]}) as (url, _):
        get(url + NAME, path, limits=LIMITS)
    assert_whole(path, BODY)


def test_a_file_in_chunks_has_an_end(path):
    with serve({NAME: V1}, {NAME: [chunked()]}) as (url, _):
        done = get(url + NAME, path, limits=LIMITS)
    assert_whole(path, BODY)
    assert done is not None
    assert (done.bytes, done.remote.bytes) == (len(BODY), None)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (compressed, "sent compressed a second time"),
        (changed(content_encoding="br"), "sent with Content-Encoding 'br' unasked"),
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
