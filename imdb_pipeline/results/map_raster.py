"""The map as small PNG files: each pixel in the mean colour of the movies on it, in one palette for each theme.

Drawn with numpy alone: a quarter of a million points take well under a second, where a plotting library takes many.
"""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

LEVELS = 40
"""Colours of the ramp; with the steps of density they fill a palette of 256."""
_DENSITIES = 6
_MISSING = LEVELS
# Viridis (van der Walt and Smith 2015) at eleven places; each theme leaves out the end that its paper would swallow.
_VIRIDIS = "440154 482475 414487 355f8d 2a788e 21918c 22a884 44bf70 7ad151 bddf26 fde725"
_ENDS = {"light": (0.0, 0.9), "dark": (0.26, 1.0)}
_GREY = {"light": (176, 176, 184), "dark": (92, 92, 102)}
_SMALLEST_DOT, _LARGEST_DOT = 1.2, 4.5
_OTHERS = 0.7
"""The size of a grey dot, by that of one in colour."""
_FAINT = 3
"""The highest step of density of grey dots: they are the ground."""


@dataclass(frozen=True)
class Picture:
    """The same picture for paper and for the dark, as addresses that hold it."""

    light: str
    dark: str
    width: int
    height: int


@dataclass(frozen=True)
class Frame:
    """The part of the map that is drawn: without the few movies that may be far away."""

    left: float
    right: float
    low: float
    high: float

    @classmethod
    def around(cls, x: np.ndarray, y: np.ndarray, *, shape: float) -> Frame:
        """Return the frame of these points, whose height is ``shape`` times its width; distances stay true."""
        import numpy as np

        sides = []
        for values in (x, y):
            low, high = np.quantile(values, (0.01, 0.99)) if len(values) else (0.0, 1.0)
            margin = 0.12 * (high - low) or 0.5
            sides.append(((low + high) / 2, (high - low) / 2 + margin))
        (middle_x, half_x), (middle_y, half_y) = sides
        half = max(half_x, half_y / shape)
        return cls(middle_x - half, middle_x + half, middle_y - half * shape, middle_y + half * shape)


def draw_points(
    x: np.ndarray, y: np.ndarray, values: np.ndarray, frame: Frame, *, width: int, low: float, high: float
) -> Picture:
    """Draw points coloured by value from ``low`` to ``high``; those with NaN are grey and lie below the others.

    Parameters
    ----------
    x, y, values
        float, shape (n,).
    width
        Of the picture, in pixels; its height follows from the frame.
    """
    import numpy as np

    height = round(width * (frame.high - frame.low) / (frame.right - frame.left))
    column = ((x - frame.left) / (frame.right - frame.left) * width).astype(np.int64)
    row = ((frame.high - y) / (frame.high - frame.low) * height).astype(np.int64)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    known = ~np.isnan(values)
    dots, others = inside & known, inside & ~known
    grey = _cover(column[others], row[others], None, _radius(len(x), width, height) * _OTHERS, width, height)[0]
    radius = _radius(int(dots.sum()), width, height)
    cover, sums = _cover(column[dots], row[dots], values[dots], radius, width, height)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.clip((sums / cover - low) / ((high - low) or 1.0), 0, 1)
    colour = np.where(cover > 0.05, (np.nan_to_num(share) * (LEVELS - 1)).round().astype(np.int64), _MISSING)
    density = np.where(cover > 0.05, _density(cover), np.minimum(_density(grey), _FAINT) * (grey > 0.05))
    index = np.where(density > 0, 1 + colour * _DENSITIES + density - 1, 0).astype(np.uint8)
    light, dark = (_address(index, theme) for theme in ("light", "dark"))
    return Picture(light, dark, width, height)


def draw_ramp() -> Picture:
    """Draw the colours from low to high, for a legend."""
    import numpy as np

    index = (1 + np.arange(LEVELS) * _DENSITIES + _DENSITIES - 1).astype(np.uint8)[None].repeat(4, axis=0)
    light, dark = (_address(index, theme) for theme in ("light", "dark"))
    return Picture(light, dark, LEVELS, 4)


def _cover(
    column: np.ndarray, row: np.ndarray, values: np.ndarray | None, radius: float, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return how much of each pixel dots cover, and the sum of their values weighted by it: float64, shape of both
    (height, width)."""
    import numpy as np

    cover, sums = np.zeros(height * width), np.zeros(height * width)
    reach = int(np.ceil(radius))
    for down in range(-reach, reach + 1):
        for across in range(-reach, reach + 1):
            weight = min(1.0, max(0.0, radius + 0.5 - (down**2 + across**2) ** 0.5))
            if weight == 0:
                continue
            y, x = row + down, column + across
            here = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            place = y[here] * width + x[here]
            cover += weight * np.bincount(place, minlength=height * width)
            if values is not None:
                sums += weight * np.bincount(place, values[here], minlength=height * width)
    return cover.reshape(height, width), sums.reshape(height, width)


def _radius(points: int, width: int, height: int) -> float:
    """Return the radius of a dot in pixels: so that they would cover a tenth of the paper, were they spread evenly."""
    even = (0.1 * width * height / (3.14 * max(1, points))) ** 0.5
    return min(_LARGEST_DOT * width / 1200 + 0.5, max(_SMALLEST_DOT, even))


def _density(cover: np.ndarray) -> np.ndarray:
    """Return the step of opacity, 1 to the highest: a pixel that many dots share is the more opaque."""
    import numpy as np

    return 1 + ((1 - 0.35**cover) * (_DENSITIES - 1)).round().astype(np.int64)


def _address(index: np.ndarray, theme: str) -> str:
    """Return a PNG with the theme's palette as an address that holds it; index 0 is transparent."""
    import numpy as np

    stops = np.array([[int(stop[place : place + 2], 16) for place in (0, 2, 4)] for stop in _VIRIDIS.split()])
    places = np.linspace(*_ENDS[theme], LEVELS) * (len(stops) - 1)
    parts = [np.interp(places, np.arange(len(stops)), stops[:, part]).round() for part in range(3)]
    ramp = np.stack(parts, axis=1).astype(int).tolist()
    colours, opacities = [[0, 0, 0]], [0]
    for colour in (*ramp, [*_GREY[theme]]):
        for step in range(_DENSITIES):
            colours.append(colour)
            opacities.append(round(255 * (0.3 + 0.7 * step / (_DENSITIES - 1))))
    height, width = index.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), index], axis=1)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", bytes(part for colour in colours for part in colour)),
            _chunk(b"tRNS", bytes(opacities)),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)),
            _chunk(b"IEND", b""),
        )
    )
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
