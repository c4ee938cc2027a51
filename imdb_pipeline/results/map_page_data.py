"""The data of the map page: columns of numbers and lines of text, one after the other, gzipped.

Rows are in the order in which they are drawn: movies without votes first, those with most last, so that these lie on
top, and a search ranks by row. ``map_page_js/data.js`` reads it.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

NEIGHBOURS = 5
"""How many of each movie the page shows."""
_REST = 0.01
"""The share of the movies that may lie outside of what is seen first, on each side."""
_FAR = 4.0
"""Where these begin at 1, a movie further away than this is drawn here."""
_CONTROL = r"[\p{Cc}\u2028\u2029]+"
_TURNING = r"[\u202a-\u202e\u2066-\u2069]"
"""Characters that turn the direction of what follows them."""


@dataclass(frozen=True)
class PageData:
    """What the page holds.

    Attributes
    ----------
    packed
        gzip of: the length of a header (uint32), the header (JSON: rows, half, genreLists, bases, columns with type,
        offset and bytes, counted from the header's end), then each column, from a multiple of 8: lines of UTF-8, or
        the first bytes of all its numbers, then the second ones, and so on, the lowest first.
    places
        x, y, average_rating of its rows, where the map has them.
    counts
        movies, rated, predicted, unseen (predicted by a model that had not seen the rating that they have), directors.
    """

    packed: bytes
    places: pl.DataFrame
    counts: dict[str, int]


def page_data(
    points: pl.DataFrame, movies: pl.LazyFrame, neighbours: pl.DataFrame, predictions: pl.DataFrame
) -> PageData:
    """Return the data of the page; see ``map_page.write_map_page``."""
    import numpy as np
    import polars as pl

    if not points["tconst"].equals(neighbours["tconst"]):
        raise ValueError("the map and the neighbours are not of the same movies in the same order")
    rows = (
        points.with_row_index("place")
        .join(_described(movies, points), on="tconst", how="left", maintain_order="left")
        .join(predictions.select("tconst", "prediction", "low", "high", "basis"), on="tconst", how="left")
        .sort("num_votes", "tconst", nulls_last=False)
    )
    bases = rows["basis"].drop_nulls().unique().sort().to_list()
    genres, genre_lists = _numbered(rows["genres"].list.join("\n"))
    directors, people = _directors(rows)
    x, y, half = _positions(rows)
    columns: dict[str, np.ndarray | list[str]] = {
        "x": x,
        "y": y,
        "year": _whole(rows["release_year"], np.uint16),
        "genres": genres.astype(np.uint16 if len(genre_lists) < 1 << 16 else np.uint32),
        "rating": _whole(rows["average_rating"] * 10, np.uint8),
        "votes": _whole(rows["num_votes"], np.uint32),
        "directors": directors[0],
        "directed": directors[1],
        "neighbours": _neighbour_rows(rows["place"].to_numpy(), neighbours),
        "cosines": _neighbour_cosines(rows["place"].to_numpy(), neighbours),
        "titles": _lines(rows["title"].fill_null(rows["tconst"])),
        "ids": _lines(rows["tconst"].str.strip_prefix("tt")),
        "people": _lines(people),
    }
    if len(predictions):
        columns |= {name: _whole(rows[name] * 100, np.uint16) for name in ("prediction", "low", "high")}
        columns["basis"] = _whole(rows["basis"].replace_strict(bases, list(range(1, len(bases) + 1))), np.uint8)
    seen = pl.col("basis").is_in(["out_of_fold", "held_out"])
    counts = {
        "movies": len(rows),
        "rated": rows["average_rating"].count(),
        "predicted": rows["prediction"].count(),
        "unseen": rows.filter(seen, pl.col("average_rating").is_not_null()).height,
        "directors": len(people),
    }
    listed = [each.split("\n") if each else [] for each in genre_lists]
    header = {"rows": len(rows), "half": half, "genreLists": listed, "bases": bases}
    return PageData(_packed(header, columns), rows.select("x", "y", "average_rating"), counts)


def _described(movies: pl.LazyFrame, points: pl.DataFrame) -> pl.DataFrame:
    """Return what the page tells of the movies that are on the map, directors as structs of nconst and name."""
    import polars as pl

    person = pl.element().struct
    directed = pl.element().filter(person.field("category") == "director")
    return (
        movies.select("tconst", "title", "release_year", "genres", "average_rating", "num_votes", "credits")
        .join(points.lazy().select("tconst"), on="tconst", how="semi")
        .with_columns(directors=pl.col("credits").list.eval(directed))
        .drop("credits")
        .collect()
    )


def _directors(rows: pl.DataFrame) -> tuple[tuple[np.ndarray, np.ndarray], pl.Series]:
    """Return how many directors each row has (uint16), their places in the table of people one row after the other
    (uint32), and that table: names, an id where there is none."""
    import numpy as np
    import polars as pl

    listed = rows.select("place", "directors").explode("directors", empty_as_null=False, keep_nulls=False)
    listed = listed.unnest("directors").unique(["place", "nconst"], keep="first", maintain_order=True)
    people = listed.unique("nconst", keep="first", maintain_order=True).with_row_index("person")
    counts = rows.select("place").join(listed.group_by("place").len(), on="place", how="left", maintain_order="left")
    places = listed.join(people.select("nconst", "person"), on="nconst", how="left", maintain_order="left")
    return (
        (counts["len"].fill_null(0).to_numpy().astype(np.uint16), places["person"].to_numpy().astype(np.uint32)),
        people.select(pl.coalesce("name", "nconst")).to_series(),
    )


def _positions(rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Return x and y (float32) with the middle at 0, and how far nearly all movies reach from it in both directions: 1
    in the one in which they reach further."""
    import numpy as np

    placed = rows.select("x", "y").to_numpy().astype(np.float64)
    if not len(placed):
        return np.zeros(0, np.float32), np.zeros(0, np.float32), (1.0, 1.0)
    low, high = np.quantile(placed, [_REST, 1 - _REST], axis=0)
    half = np.maximum(high - low, 1e-6) / 2
    placed = np.clip((placed - (low + high) / 2) / half.max(), -_FAR, _FAR)
    wide, tall = np.maximum(half / half.max(), 0.2).tolist()
    return placed[:, 0].astype(np.float32), placed[:, 1].astype(np.float32), (wide, tall)


def _neighbour_rows(order: np.ndarray, neighbours: pl.DataFrame) -> np.ndarray:
    """Return the nearest (uint32, n x k): rows of the page, in whose order row i is ``order[i]``; k is 5 or fewer."""
    import numpy as np

    nearest = _nearest(neighbours, "neighbours")
    placed = np.empty(len(order), np.uint32)
    placed[order] = np.arange(len(order), dtype=np.uint32)
    return placed[nearest[order]]


def _neighbour_cosines(order: np.ndarray, neighbours: pl.DataFrame) -> np.ndarray:
    """Return their cosines in thousandths (int16, n x k)."""
    import numpy as np

    return np.rint(_nearest(neighbours, "cosines")[order] * 1000).astype(np.int16)


def _nearest(neighbours: pl.DataFrame, column: str) -> np.ndarray:
    listed = neighbours[column]
    k = min(NEIGHBOURS, int(listed.list.len().min() or 0))  # pyright: ignore[reportArgumentType]
    return listed.list.head(k).list.to_array(k).to_numpy().reshape(len(listed), k)


def _numbered(texts: pl.Series) -> tuple[np.ndarray, list[str]]:
    """Return for each text its place among the different ones, and those; a missing one is empty."""
    texts = texts.fill_null("")
    different = texts.unique(maintain_order=True)
    frame = texts.to_frame("text").join(
        different.to_frame("text").with_row_index("place"), on="text", how="left", maintain_order="left"
    )
    return frame["place"].to_numpy(), different.to_list()


def _whole(values: pl.Series, dtype: Any) -> np.ndarray:
    """Return whole numbers, what is missing as 0."""
    import polars as pl

    return values.cast(pl.Float64).round().fill_null(0).to_numpy().astype(dtype)


def _lines(texts: pl.Series) -> list[str]:
    """Return each text as one line, with nothing that ends it or turns it around."""
    return texts.str.replace_all(_CONTROL, " ").str.replace_all(_TURNING, "").to_list()


def _packed(header: dict[str, Any], columns: dict[str, np.ndarray | list[str]]) -> bytes:
    import numpy as np

    parts, offset, told = [], 0, {}
    for name, column in columns.items():
        if isinstance(column, list):
            kind, content = "text", "\n".join(column).encode()
        else:
            # All first bytes, then all second ones, and so on: gzip makes a tenth less of it, and sooner.
            planes = column.astype(column.dtype.newbyteorder("<")).reshape(-1, 1).view(np.uint8).T
            kind, content = str(column.dtype), planes.tobytes()
        told[name] = {"type": kind, "offset": offset, "bytes": len(content)}
        padded = content + bytes(-len(content) % 8)
        parts.append(padded)
        offset += len(padded)
    text = json.dumps({**header, "columns": told}).encode()
    text += b" " * (-(len(text) + 4) % 8)
    packer = zlib.compressobj(6, wbits=31)
    return packer.compress(b"".join([len(text).to_bytes(4, "little"), text, *parts])) + packer.flush()
