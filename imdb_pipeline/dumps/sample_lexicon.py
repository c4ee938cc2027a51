"""What the movies of the synthetic catalogue are called: titles out of words, genres, and franchises with sequels.

Who is credited and how a title is rated is in ``sample_titles``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imdb_pipeline.dumps import sample_words as words
from imdb_pipeline.dumps.sample_people import CAST, DIRECTOR, LAST_YEAR, MEAN_AGE, WRITER, texts_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import polars as pl

    from imdb_pipeline.dumps.sample_people import People


def some_integers(rng: np.random.Generator, n: int, start: np.ndarray | int, count: np.ndarray | int) -> np.ndarray:
    """n integers from ``start`` up to, not including, ``start + count``."""
    return start + (rng.random(n) * count).astype("int64")


class Lexicon:
    """Titles out of words, and the sets of genres."""

    # A template is a row of columns of the choices in ``titles``.
    _NONE, _THE, _OF, _AND, _IN, _ADJECTIVE, _NOUN, _SECOND, _GIVEN, _OWNER, _PLACE = range(11)
    _ENGLISH = (
        (_THE, _ADJECTIVE, _NOUN, _NONE),
        (_THE, _ADJECTIVE, _NOUN, _NONE),
        (_ADJECTIVE, _NOUN, _NONE, _NONE),
        (_THE, _NOUN, _NONE, _NONE),
        (_NOUN, _OF, _SECOND, _NONE),
        (_NOUN, _AND, _SECOND, _NONE),
        (_THE, _NOUN, _OF, _GIVEN),
        (_NOUN, _NONE, _NONE, _NONE),
        (_OWNER, _NOUN, _NONE, _NONE),
        (_NOUN, _IN, _PLACE, _NONE),
    )
    _LOCAL = (
        (_NOUN, _NONE, _NONE, _NONE),
        (_NOUN, _ADJECTIVE, _NONE, _NONE),
        (_NOUN, _ADJECTIVE, _NONE, _NONE),
        (_NOUN, _AND, _SECOND, _NONE),
    )

    def __init__(self) -> None:
        import numpy as np
        import polars as pl

        texts = ["The", "of", "in"]

        def add(stock: Sequence[str]) -> int:
            texts.extend(stock)
            return len(texts) - len(stock)

        nouns = [t.split(",") for theme in words.THEMES for t in (theme.fine, theme.plain, theme.cheap)]
        self._nouns = np.array([add(stock) for stock in nouns]).reshape(-1, 3)
        self._noun_count = len(nouns[0])
        self._adjectives = np.array([add(stock.split(",")) for stock in words.ADJECTIVES])
        places = words.PLACES.split(",")
        self._places = add(places), len(places)
        given = [f"{flavour.men},{flavour.women}".split(",") for flavour in words.FLAVOURS]
        self._given = np.array([(add(stock), len(stock)) for stock in given])
        self._owners = np.array([add([f"{name}'s" for name in stock]) for stock in given])
        self._conjunctions = np.array([add([flavour.conjunction]) for flavour in words.FLAVOURS])
        self._phrases = np.array([add(list(flavour.phrases)) for flavour in words.FLAVOURS])
        self._second = np.array([add([p[0].lower() + p[1:] for p in f.phrases]) for f in words.FLAVOURS])
        self._tails = np.array([(add(list(flavour.tails)), len(flavour.tails)) for flavour in words.FLAVOURS])
        self._texts = pl.Series(texts)
        self._templates = np.array(self._ENGLISH + self._LOCAL)
        self.flavour_shares = np.array([flavour.share for flavour in words.FLAVOURS])
        self.theme_shares = np.array([theme.share for theme in words.THEMES])
        fixed = np.random.default_rng(0)
        self._draw_genres(fixed)
        self.traditions = fixed.standard_normal((len(self.flavour_shares), len(self.theme_shares)))

    def _draw_genres(self, rng: np.random.Generator) -> None:
        """Sets of up to three genres by theme with their worth; then those of adult, short and television titles."""
        import numpy as np
        import polars as pl

        cells, worth, self.sets_by_theme = [], [], 200
        for theme in words.THEMES:
            mains, also = theme.genres.split(","), theme.also.split(",")
            for _ in range(self.sets_by_theme):
                chosen = {str(rng.choice(mains)), *rng.choice(also, rng.choice(3, p=[0.3, 0.4, 0.3])).tolist()}
                cells.append(",".join(sorted(chosen)))
                worth.append(sum(words.GENRE_WORTH[genre] for genre in chosen) / len(chosen))
        short, television = words.SHORT_GENRES.split("|"), words.TV_GENRES.split("|")
        self.adult = len(cells)
        self.short = self.adult + 1, len(short)
        self.television = self.adult + 1 + len(short), len(television)
        cells += ["Adult", *short, *television]
        self.genres = pl.Series(cells)
        self.genre_worth = np.array(worth + [-1.0] * (len(cells) - len(worth)))

    def draw_flavour(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.choice(len(self.flavour_shares), n, p=self.flavour_shares)

    def draw_theme(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.choice(len(self.theme_shares), n, p=self.theme_shares)

    @staticmethod
    def draw_tone(rng: np.random.Generator, n: int) -> np.ndarray:
        """-1 cheap, 0 plain, 1 fine."""
        return rng.choice(3, n, p=[0.27, 0.46, 0.27]) - 1

    def titles(
        self, rng: np.random.Generator, flavour: np.ndarray, theme: np.ndarray, tone: np.ndarray, local: np.ndarray
    ) -> pl.Series:
        """A title each, in its language where ``local``, else in English."""
        import numpy as np
        import polars as pl

        n = len(flavour)

        def some(start: np.ndarray | int, count: np.ndarray | int) -> np.ndarray:
            return some_integers(rng, n, start, count)

        local = local & (flavour > 0)
        shelf = 1 - np.where(rng.random(n) < 0.85, tone, 0)
        nouns, third = self._nouns[theme, shelf], 6 * shelf
        choices = np.stack(
            [
                np.full(n, -1),
                np.full(n, 0),
                np.full(n, 1),
                self._conjunctions[np.where(local, flavour, 0)],
                np.full(n, 2),
                np.where(local, some(*self._tails[flavour].T), some(self._adjectives[shelf], 12)),
                np.where(local, some(self._phrases[flavour] + third, 6), some(nouns, self._noun_count)),
                np.where(local, some(self._second[flavour] + third, 6), some(nouns, self._noun_count)),
                given := some(*self._given[flavour].T),
                given - self._given[flavour, 0] + self._owners[flavour],
                some(*self._places),
            ],
            axis=1,
        )
        template = np.where(local, some(len(self._ENGLISH), len(self._LOCAL)), some(0, len(self._ENGLISH)))
        parts = np.take_along_axis(choices, self._templates[template], axis=1)
        columns = [texts_at(self._texts, part) for part in parts.T]
        return pl.select(pl.concat_str(columns, separator=" ", ignore_nulls=True)).to_series()


class Franchises:
    """Movies with sequels, one row per part in the order of the catalogue; and where the odd titles go."""

    def __init__(self, rng: np.random.Generator, people: People, lexicon: Lexicon, *, rated: np.ndarray) -> None:
        import numpy as np
        import polars as pl

        count = max(1, round(0.035 * len(rated)))
        sizes = np.minimum(1 + rng.geometric(0.5, count), 6)
        family = np.repeat(np.arange(count), sizes)
        part = np.arange(len(family)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        flavour, theme = lexicon.draw_flavour(rng, count), lexicon.draw_theme(rng, count)
        tone = lexicon.draw_tone(rng, count)
        first = np.maximum(LAST_YEAR - 3 * sizes - rng.exponential(0.7 * MEAN_AGE, count).astype(int), 1920)

        stem = lexicon.titles(rng, flavour, theme, tone, rng.random(count) < 0.5).gather(family)
        subtitle = lexicon.titles(rng, flavour[family], theme[family], tone[family], np.zeros(len(family), dtype=bool))
        numerals = pl.Series(["", " 2", " 3", " 4", " 5", " 6", " II", " III", " IV", " V", " VI"])
        style = rng.integers(0, 3, count)[family]
        numeral = numerals.gather(part + np.where((style == 1) & (part > 0), 5, 0))
        with_subtitle = pl.Series((style == 2) & (part > 0))
        title = pl.select(pl.when(with_subtitle).then(stem + ": " + subtitle).otherwise(stem + numeral)).to_series()

        # The director, three leads and the writer of the first part.
        cell = people.cell(np.array([DIRECTOR, CAST, CAST, CAST, WRITER]), flavour[:, None], first[:, None] + 3)
        woman = rng.random(cell.shape) < [0.15, 0.35, 0.45, 0.45, 0.3]
        team = people.draw(cell, rng.random(cell.shape) ** 2, woman)

        shuffled = rng.permutation(rated)
        self.odd = shuffled[: len(words.ODD_TITLES)]
        place = shuffled[len(self.odd) : len(self.odd) + len(family)]
        order = np.argsort(place)
        of = family[order]
        self.place, self.title = place[order], title.gather(order)
        self.flavour, self.theme, self.tone, self.team = flavour[of], theme[of], tone[of], team[of]
        self.year = np.minimum(first[of] + 3 * part[order], LAST_YEAR)
        self.worth = 0.35 * rng.standard_normal(count)[of] - 0.22 * part[order]
