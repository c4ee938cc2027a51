"""The people of the synthetic catalogue: who there is, what they are called, and how good they are (``quality``).

They live in pools, one per credit group, language and span of years, so that careers recur and hang together. Which of
them a title gets is drawn in ``sample_titles``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imdb_pipeline.dumps import sample_words as words

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

LAST_YEAR = 2026
"""The catalogue's present: movies of later years are announced, none of them is rated."""
MEAN_AGE = 24.0
"""Of the rated movies, in years back from the present."""

# In the order in which a title lists its credits; "cast" is an actor or an actress.
GROUPS = (
    *("cast", "self", "director", "writer", "producer", "composer", "cinematographer", "editor"),
    *("casting_director", "production_designer", "archive_footage", "archive_sound"),
)
CAST, SELF, DIRECTOR, WRITER, PRODUCER, COMPOSER, CINEMATOGRAPHER = range(7)
CATEGORIES = ("actor", *GROUPS[1:], "actress")
ACTRESS = len(GROUPS)

_PER_RATED_MOVIE = (2.4, 0.8, 0.9, 1.0, 0.7, 0.3, 0.35, 0.35, 0.15, 0.2, 0.2, 0.02)  # people, by group
_COHORTS = (1895, 1935, 1955, 1970, 1985, 1997, 2008, LAST_YEAR + 4)  # edges of the spans of years
_PROFESSIONS = {"self": "miscellaneous", "archive_footage": "archive_footage", "archive_sound": "soundtrack"}


def id_numbers(rng: np.random.Generator, n: int) -> np.ndarray:
    """n different id numbers, two fifths of 7 digits and the rest of 8, in the order of their text."""
    import numpy as np

    def spread(count: int, low: int, high: int) -> np.ndarray:
        edges = np.linspace(low, high, count + 1).astype(np.int64)
        return edges[:-1] + (rng.random(count) * np.diff(edges)).astype(np.int64)

    short = min(round(0.4 * n), 6_000_000)
    numbers = np.concatenate(
        [spread(short, 1, 10_000_000), spread(n - short, 10_000_000, 40_000_000 if n < 2e7 else 99_000_000)]
    )
    # tt1000000 < tt10000000 < tt1000001: as if a 7-digit number had one digit more, and that before 0.
    order = np.argsort(np.where(numbers < 10_000_000, numbers * 20, numbers * 2 + 1))
    return numbers[order].astype(np.int32)


def id_texts(prefix: str, numbers: np.ndarray) -> pl.Series:
    """``tt0000001`` and the like."""
    import polars as pl

    return prefix + pl.Series(numbers).cast(pl.String).str.zfill(7)


def texts_at(texts: pl.Series, index: np.ndarray) -> pl.Series:
    """``texts`` at ``index``, null where the index is negative."""
    return texts.gather(mask(index, index >= 0))


def mask(values: np.ndarray, valid: np.ndarray) -> pl.Series:
    """``values``, null where not ``valid``."""
    import polars as pl

    return pl.select(pl.when(pl.Series(valid)).then(pl.Series(values))).to_series()


class Names:
    """Given and family names by language, as one list of texts and where each language begins in it."""

    def __init__(self) -> None:
        import numpy as np
        import polars as pl

        tokens: list[str] = []
        bounds = []
        for flavour in words.FLAVOURS:
            heads, tails = flavour.family_heads.split(","), flavour.family_tails.split(",")
            for stock in (
                flavour.men.split(","),
                flavour.women.split(","),
                [head + tail for head in heads for tail in tails],
            ):
                bounds.append((len(tokens), len(stock)))
                tokens += stock
        self.initials = len(tokens)
        tokens += [f"{letter}." for letter in "ABCDEFGHJKLMNOPRSTVW"]
        self.tokens = pl.Series(tokens)
        self._bounds = np.array(bounds).reshape(-1, 3, 2)

    def draw(self, rng: np.random.Generator, flavour: np.ndarray, stock: np.ndarray | int) -> np.ndarray:
        """Indices into ``tokens``; stock 0 is men, 1 women, 2 families."""
        start, size = self._bounds[flavour, stock].T
        return (start + rng.random(len(flavour)) * size).astype("int32")


class People:
    """Everyone: the pools, the crowd of television by language, and the ids that ``name.basics`` does not know."""

    def __init__(self, rng: np.random.Generator, movies: int, count: int) -> None:
        import numpy as np

        self.names = Names()
        shares = np.array([flavour.share for flavour in words.FLAVOURS])
        self._flavours, self._cohorts = len(shares), len(_COHORTS) - 1
        younger = np.exp((np.array(_COHORTS[1:-1]) - LAST_YEAR) / MEAN_AGE)
        cells = np.outer(shares, np.diff([0.0, *younger, 1.0])).ravel()
        # Sizes are even: an even number is a man, an odd one a woman.
        pools = 2 * np.maximum(1, np.rint(np.outer(_PER_RATED_MOVIE, cells).ravel() * movies / 2)).astype(np.int64)
        crowd = 2 * np.ceil(shares * max(count - pools.sum(), 20 * self._flavours) / 2).astype(np.int64)
        self._sizes = np.concatenate([pools, crowd])
        self._starts = np.concatenate([[0], np.cumsum(self._sizes)[:-1]])
        self.in_pools, self.named = int(pools.sum()), int(self._sizes.sum())
        total = self.named + max(2, self.named // 300)
        self.unnamed = np.arange(self.named, total)
        self.quality = rng.standard_normal(total, dtype=np.float32)
        numbers, place = id_numbers(rng, total), rng.permutation(total)
        self.nconst = id_texts("nm", numbers[place])
        self.in_order = np.argsort(place).astype(np.int32)
        self._titles = np.full((total, 4), -1, dtype=np.int32)
        self._categories = np.zeros(total, dtype=np.uint16)
        lead = self._starts[self.cell(CAST, np.array([0]), np.array([LAST_YEAR]))[0]]
        self._homonyms = lead + 1 + 2 * np.arange(words.HOMONYMS)

    def cell(self, group: np.ndarray | int, flavour: np.ndarray, year: np.ndarray) -> np.ndarray:
        """The pool of a credit group for a language and a year."""
        import numpy as np

        cohort = np.searchsorted(_COHORTS[1:-1], year, side="right")
        return (group * self._flavours + flavour) * self._cohorts + cohort

    def draw(self, cell: np.ndarray, luck: np.ndarray, woman: np.ndarray) -> np.ndarray:
        """People of pools; ``luck`` in [0, 1), near 0 the few who work all the time."""
        return self._starts[cell] + 2 * (luck * (self._sizes[cell] // 2)).astype("int64") + woman

    def draw_crowd(self, flavour: np.ndarray, luck: np.ndarray, woman: np.ndarray) -> np.ndarray:
        return self.draw(len(self._sizes) - self._flavours + flavour, luck, woman)

    def remember(self, person: np.ndarray, title: np.ndarray, category: np.ndarray) -> None:
        """Keep of each person up to four titles and the categories, for ``basics``."""
        import numpy as np

        self._titles[person, title % 4] = title
        for code in range(len(CATEGORIES)):
            self._categories[person[category == code]] |= np.uint16(1 << code)

    def basics(self, rng: np.random.Generator, span: slice, title_numbers: np.ndarray) -> pl.DataFrame:
        """Rows of name.basics: those of ``in_order[span]`` that have a name."""
        import numpy as np
        import polars as pl

        person = self.in_order[span]
        person = person[person < self.named]
        n = len(person)
        pool = np.searchsorted(self._starts, person, side="right") - 1
        crowd = pool >= len(self._sizes) - self._flavours
        flavour = np.where(crowd, pool - (len(self._sizes) - self._flavours), pool // self._cohorts % self._flavours)
        cohort = np.where(crowd, rng.integers(2, self._cohorts, n), pool % self._cohorts)
        born = np.array(_COHORTS)[cohort] - 32 + rng.integers(-8, 14, n)
        age = rng.integers(45, 96, n)
        busy = ~crowd & (person - self._starts[pool] < 0.1 * self._sizes[pool])
        born_known = rng.random(n) < np.where(busy, 0.8, 0.15)
        dead = born_known & (born + age <= LAST_YEAR) & (rng.random(n) < 0.7)

        style, sex = rng.random(n), person % 2
        middle = np.where(style < 0.15, self.names.draw(rng, flavour, sex), -1)
        initial = self.names.initials + rng.integers(0, 20, n)
        middle = np.where((style > 0.85) & (flavour == 0), initial, middle)
        tokens = self.names.draw(rng, flavour, sex), middle, self.names.draw(rng, flavour, 2)
        parts = [texts_at(self.names.tokens, index) for index in tokens]
        titles = [
            pl.when(pl.Series(index >= 0)).then(id_texts("tt", title_numbers[index]))
            for index in self._titles[person].T
        ]
        frame = pl.select(
            nconst=self.nconst.gather(person),
            primaryName=pl.concat_str(parts, separator=" ", ignore_nulls=True),
            birthYear=mask(born, born_known),
            deathYear=mask(born + age, dead),
            primaryProfession=texts_at(_professions(), self._categories[person].astype(np.int32) - 1),
            knownForTitles=pl.concat_str(titles, separator=",", ignore_nulls=True).replace("", None),
        )
        same = pl.Series(np.isin(person, self._homonyms))
        return frame.with_columns(
            primaryName=pl.when(same).then(pl.lit(words.HOMONYM)).otherwise(pl.col("primaryName"))
        )


def _professions() -> pl.Series:
    """The cell for each set of categories, the set being a number of bits, less 1."""
    import polars as pl

    names = [_PROFESSIONS.get(category, category) for category in CATEGORIES]
    return pl.Series(
        [
            ",".join([name for bit, name in enumerate(names) if code >> bit & 1][:3])
            for code in range(1, 1 << len(names))
        ]
    )
