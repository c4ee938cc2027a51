"""Rows of a dump: which are read, which are rejected, and where; with whole files, and with buffers of a few rows."""

import gzip
import random
from pathlib import Path

import polars as pl
import pytest

from imdb_pipeline.dumps import lines, rows
from imdb_pipeline.dumps.rows import SHOWN_REJECTED, Rejected, read_batches
from imdb_pipeline.dumps.tables import PRINCIPALS, RATINGS

HEADER = "tconst\tordering\tnconst\tcategory\tjob\tcharacters\n"
COLUMNS = ("tconst", "ordering", "nconst", "category")


@pytest.fixture(params=[1 << 20, 150], ids=["whole", "in pieces"])
def line_limit(request, monkeypatch):
    """The longest line in bytes; buffers and batches are made as small, so that their edges fall everywhere."""
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", request.param)
    monkeypatch.setattr(rows, "_BATCH_BYTES", request.param)
    monkeypatch.setattr("imdb_pipeline.dumps.inflate.PIECE_BYTES", min(request.param, 7))
    return request.param


def write(folder: Path, text: str | bytes, dump=PRINCIPALS) -> Path:
    path = folder / dump.file
    path.write_bytes(gzip.compress(text if isinstance(text, bytes) else text.encode(), mtime=0))
    return path


def read(path: Path, ids: list[str] | None = None, *, columns=COLUMNS, dump=PRINCIPALS):
    """Return the rows as tuples, and what was rejected."""
    rejected = Rejected()
    wanted = None if ids is None else pl.Series(ids, dtype=pl.String)
    frames = [batch.rows(*columns) for batch in read_batches(path, dump, rejected, ids=wanted)]
    return pl.concat(frames).rows(), rejected


def credit(tconst: str, ordering: object = 1, nconst: str = "nm0000001") -> str:
    return f"{tconst}\t{ordering}\t{nconst}\tactor\t\\N\t\\N\n"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"tt0000002\t1\tnm0000001\tactor\t\\N", "column characters: no such cell, the row has 5 of 6"),
        (b"", "column ordering: no such cell, the row has 1 of 6"),
        (b"tt0000002\t1\tnm0000001\tactor\t\\N\t\\N\tmore", "column characters: more cells follow, the row has 7"),
        (b"tt0000002\t1\tnm0000001\tactor\t\xe9\t\\N", "column job: not UTF-8"),
        (b"tt0000002\t1\tnm0000001\tac\0tor\t\\N\t\\N", "column category: a NUL byte"),
        (b"tt0000002\t1\tnm0000001\tactor\t\\N\t", "column characters: empty"),
        (b"tt0000002\t1\tnm0000001\t\t\\N\t\\N", "column category: no value"),
        (b"tt0000002\t1\t\\N\tactor\t\\N\t\\N", "column nconst: no value"),
        (b"\t1\tnm0000001\tactor\t\\N\t\\N", "column tconst: no value"),
        (b"tt0000002\tone\tnm0000001\tactor\t\\N\t\\N", "column ordering: 'one' is not of type Int32"),
        (b"tt0000002\t99999999999\tnm0000001\tactor\t\\N\t\\N", "column ordering: '99999999999' is not of type"),
    ],
)
@pytest.mark.parametrize("ids", [None, ["tt0000001", "tt0000002", "tt0000003"]], ids=["all", "by id"])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_a_bad_row_is_rejected_with_its_place_and_the_others_go_on(tmp_path, line_limit, line, reason, ids, newline):
    lines = [HEADER.encode()[:-1], credit("tt0000001").encode()[:-1], line, credit("tt0000003").encode()[:-1]]
    kept, rejected = read(write(tmp_path, newline.join([*lines, b""])), ids)
    assert [row[0] for row in kept] == ["tt0000001", "tt0000003"]
    assert rejected.counts == {PRINCIPALS.file: 1}
    (row,) = rejected.frame().to_dicts()
    assert (row["file"], row["line"]) == (PRINCIPALS.file, 3)
    assert row["reason"].startswith(reason)
    assert row["text"] == line.decode(errors="replace")
    assert f"1 of {PRINCIPALS.file}; the first: {PRINCIPALS.file} line 3: {reason}" in rejected.summary()


@pytest.mark.parametrize(
    "cell",
    [
        '"',
        'The "Lamp',
        '""',
        "NA",
        "null",
        "<script>alert(1)</script>",
        "a\x01\x1b\x7fb",
        "\x0b",
        " ",
        "#",
        "\u2028",
        "a\rb",
    ],
)
def test_whatever_else_a_cell_holds_is_data(tmp_path, line_limit, cell):
    text = HEADER + f"tt0000001\t1\tnm0000001\t{cell}\t{cell}\t{cell}\n" + credit("tt0000002")
    kept, rejected = read(write(tmp_path, text), columns=("category", "characters"))
    assert kept == [(cell, cell), ("actor", None)]
    assert not rejected.counts


@pytest.mark.parametrize("end", ["\n", "", "\r\n"])
def test_the_last_line_may_end_in_nothing(tmp_path, line_limit, end):
    text = HEADER + credit("tt0000001") + credit("tt0000002")[:-1] + end
    kept, rejected = read(write(tmp_path, text))
    assert [row[0] for row in kept] == ["tt0000001", "tt0000002"]
    assert not rejected.counts


def test_no_row_gives_an_empty_typed_frame(tmp_path):
    (batch,) = read_batches(write(tmp_path, HEADER), PRINCIPALS, Rejected())
    assert batch.rows(*COLUMNS).schema == dict.fromkeys(COLUMNS, pl.String) | {"ordering": pl.Int32}


@pytest.mark.parametrize("ids", [None, ["tt0000001", "tt0000003"]], ids=["all", "by id"])
@pytest.mark.parametrize("longer_by", [0, 1, 1000])
def test_a_line_that_is_too_long_is_rejected_wherever_it_stands(tmp_path, monkeypatch, longer_by, ids):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 3000)
    for before in range(0, 60, 7):
        filler = "".join(credit("tt0000001") for _ in range(before))
        long = "tt0000003\t1\tnm0000001\tactor\t\\N\t".ljust(3000 + longer_by, "x") + "\n"
        path = write(tmp_path, HEADER + filler + long + credit("tt0000003", 2))
        kept, rejected = read(path, ids)
        assert [row[1] for row in kept] == [1] * before + [1] * (not longer_by) + [2]
        assert rejected.frame()["line"].to_list() == [before + 2] * (longer_by > 0)
        assert all(len(text) == 200 for text in rejected.frame()["text"])


def test_of_many_bad_rows_all_are_counted_and_the_first_are_kept(tmp_path):
    path = write(tmp_path, HEADER + "bad\n" * (SHOWN_REJECTED + 10) + credit("tt0000001"))
    kept, rejected = read(path)
    assert len(kept) == 1
    assert rejected.counts == {PRINCIPALS.file: SHOWN_REJECTED + 10}
    assert rejected.frame()["line"].to_list() == list(range(2, SHOWN_REJECTED + 2))


WANTED = ["tt0000001", "tt1234567", "tt12345678", "tt99999999"]
ODD = [
    "tt1",
    "x",
    "tt123456789",
    "xx1234567",
    "tt１２３",
    "ttabcdefg",
    "t\x011234567",
    "tt 234567",
    "nm1234567",
    "tt123456",
]
OTHER = ["tt0000002", "tt1234568", "tt12345679", "tt123456780", "tt00000001", "xx1234567", "tt2", "TT1234567"]


@pytest.mark.parametrize("wanted", [WANTED, WANTED + ODD, ODD, []], ids=["plain", "both", "odd", "none"])
@pytest.mark.parametrize("first", ["tconst", "nconst"])
def test_selecting_by_id_is_the_same_as_reading_all_and_filtering(tmp_path, line_limit, wanted, first):
    random.seed(0)
    ids = random.choices(WANTED + ODD + OTHER, k=400)
    order = sorted(PRINCIPALS.columns, key=lambda name: name != first)
    cells = {"ordering": "1", "nconst": "nm0000001", "category": "actor", "job": "x" * 20, "characters": "\\N"}
    lines = [
        "\t".join((cells | {"tconst": tconst, "ordering": str(n)})[name] for name in order)
        for n, tconst in enumerate(ids)
    ]
    path = write(tmp_path, "\n".join(["\t".join(order), *lines, ""]))
    kept, rejected = read(path, wanted, columns=("tconst", "ordering"))
    assert kept == [(tconst, n) for n, tconst in enumerate(ids) if tconst in wanted]
    assert not rejected.counts


@pytest.mark.parametrize("line", ["tt0000001", "tt12345678", "tt0000001\t", "\tx", "", "tt12345678\r"])
def test_a_short_row_of_a_wanted_id_or_of_none_is_rejected(tmp_path, line_limit, line):
    text = HEADER + credit("tt0000005") + line + "\n" + credit("tt0000001")
    kept, rejected = read(write(tmp_path, text), WANTED)
    assert len(kept) == 1
    assert rejected.frame()["line"].to_list() == [3]


def test_a_bad_row_of_an_id_that_is_not_wanted_costs_nothing(tmp_path, line_limit):
    kept, rejected = read(write(tmp_path, HEADER + "tt0000005\tone\n" + credit("tt0000001")), WANTED)
    assert len(kept) == 1
    assert not rejected.counts


def test_a_batch_gives_some_of_its_rows_and_checks_only_those(tmp_path, line_limit):
    text = "averageRating\ttconst\tnumVotes\n7.5\ttt0000001\t9\nhigh\ttt0000002\t9\n"
    text += "1.5\ttt0000003\t9\n9.5\ttt0000004\tno\n"
    rejected, kept = Rejected(), []
    for batch in read_batches(write(tmp_path, text, RATINGS), RATINGS, rejected):
        wanted = batch.peek("tconst")["tconst"].is_in(["tt0000001", "tt0000003", "tt0000004"])
        kept += batch.rows("tconst", "averageRating", where=wanted).rows()
    assert kept == [("tt0000001", 7.5), ("tt0000003", 1.5)]
    assert rejected.frame().select("line", "reason").rows() == [(5, "column numVotes: 'no' is not of type Int64")]
