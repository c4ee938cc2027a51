"""The titles of the synthetic catalogue: what they are about, who is credited, how they are rated.

A movie's rating is its worth (genres, era, runtime, language, tone of the title, franchise, and the hidden quality of
its people) and noise that shrinks with votes; so a predictor has something to learn from each, and most from people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imdb_pipeline.dumps import sample_people as people_module
from imdb_pipeline.dumps import sample_words as words
from imdb_pipeline.dumps.sample_lexicon import some_integers
from imdb_pipeline.dumps.sample_people import CAST, DIRECTOR, GROUPS, LAST_YEAR, MEAN_AGE, SELF, WRITER, mask, texts_at

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from imdb_pipeline.dumps.sample_lexicon import Franchises, Lexicon
    from imdb_pipeline.dumps.sample_people import People

KINDS = (
    *("rated movie", "movie of few votes", "unrated movie", "tvEpisode", "short", "video", "tvSeries"),
    *("tvMiniSeries", "tvSpecial", "videoGame", "tvShort", "tvPilot"),
)
_RATED, _FEW, _UNRATED, _EPISODE, _SHORT, _VIDEO, _SERIES, _MINI_SERIES = range(8)
_MINUTES = (0, 0, 0, 40, 14, 75, 40, 55, 70, 40, 12, 45)

_AT_MOST = (10, 8, 3, 5, 5, 1, 1, 1, 1, 1, 2, 1)  # credits of a title, by group: 39 in all
_FEATURE = (4.6, 0.05, 1.08, 1.4, 0.9, 0.5, 0.5, 0.45, 0.1, 0.12, 0.02, 0.003)
_DOCUMENTARY = (0.3, 2.6, 1.12, 0.8, 0.9, 0.4, 0.5, 0.5, 0.0, 0.0, 0.3, 0.02)
_TELEVISION = (1.2, 0.4, 0.35, 0.5, 0.25, 0.1, 0.1, 0.1, 0.02, 0.03, 0.03, 0.003)
_ABOUT_DOCUMENTARY, _ABOUT_HORROR, _HINDI = 2, 3, 5  # indices into words.THEMES and words.FLAVOURS

# Rating points for one standard deviation of people's quality, and for one step of a title's tone.
_DIRECTOR_WORTH, _WRITER_WORTH, _CAST_WORTH, _CREW_WORTH, _TONE_WORTH = 0.56, 0.28, 0.42, 0.12, 0.42
_TRADITION_WORTH = 0.45  # one standard deviation, of a language's way with a theme
_NOISE, _NOISE_PER_VOTE = 0.16, 11.0  # variance of a rating around its movie's worth is a + b / votes
_MEAN_RATING = 6.4


class Titles:
    """Consecutive titles of the catalogue, from the row ``start`` on, with their credits and ratings."""

    def __init__(
        self,
        rng: np.random.Generator,
        start: int,
        kinds: np.ndarray,
        richness: np.ndarray,
        people: People,
        lexicon: Lexicon,
        franchises: Franchises,
    ) -> None:
        import numpy as np

        self._rng, self._start, self._kinds = rng, start, kinds
        self._people, self._lexicon, self._franchises = people, lexicon, franchises
        self._is_movie = kinds <= _UNRATED
        n = len(kinds)
        low, high = np.searchsorted(franchises.place, [start, start + n])
        self._part = slice(low, high)
        self._part_rows = franchises.place[self._part] - start
        self._flavour, self._theme = lexicon.draw_flavour(rng, n), lexicon.draw_theme(rng, n)
        self._tone = lexicon.draw_tone(rng, n)
        for mine, theirs in ((self._flavour, "flavour"), (self._theme, "theme"), (self._tone, "tone")):
            mine[self._part_rows] = getattr(franchises, theirs)[self._part]
        self._draw_years()
        self._draw_minutes()
        self._draw_genres()
        self._draw_credits(richness)

    def _draw_years(self) -> None:
        import numpy as np

        n = len(self._kinds)
        mean = np.where(self._kinds == _RATED, MEAN_AGE, np.where(self._is_movie, 1.6 * MEAN_AGE, 14.0))
        year = np.maximum(LAST_YEAR - (self._rng.exponential(mean) + 0.3).astype(int), 1896)
        year[self._part_rows] = self._franchises.year[self._part]
        announced = (self._kinds == _UNRATED) & (self._rng.random(n) < 0.012)
        self._year = np.where(announced, LAST_YEAR + self._rng.integers(1, 3, n), year)
        self._year_known = self._rng.random(n) >= np.array([0.003, 0.03, 0.08, *[0.05] * (len(KINDS) - 3)])[self._kinds]

    def _draw_minutes(self) -> None:
        import numpy as np

        n = len(self._kinds)
        mean = np.where(self._is_movie, np.array([t.runtime for t in words.THEMES])[self._theme], 0.0)
        mean += np.where(self._is_movie, 32.0 * (self._flavour == _HINDI) - 14.0 * (self._year < 1950), 0.0)
        mean += np.array(_MINUTES)[self._kinds]
        minutes = mean * np.exp(0.17 * self._rng.standard_normal(n)) + self._rng.exponential(4.0, n)
        self._minutes = np.where(self._is_movie, np.maximum(minutes, 45), np.maximum(minutes, 1)).astype(int)
        missing = np.array([0.03, 0.12, 0.4, *[0.45] * (len(KINDS) - 3)])[self._kinds]
        self._minutes_known = self._rng.random(n) >= missing

    def _draw_genres(self) -> None:
        import numpy as np

        rng, lexicon, kinds = self._rng, self._lexicon, self._kinds
        n = len(kinds)
        genres = self._theme * lexicon.sets_by_theme + rng.integers(0, lexicon.sets_by_theme, n)
        short = (kinds == _SHORT) | (kinds == KINDS.index("tvShort"))
        genres = np.where(short, some_integers(rng, n, *lexicon.short), genres)
        studio = ~self._is_movie & ~short & (kinds != _VIDEO) & (rng.random(n) < 0.8)
        genres = np.where(studio, some_integers(rng, n, *lexicon.television), genres)
        self._adult = rng.random(n) < np.where(kinds == _VIDEO, 0.1, np.where(self._is_movie, 0.005, 0.0))
        self._genres = np.where(self._adult, lexicon.adult, genres)
        self._genres_known = rng.random(n) >= np.array([0.01, 0.04, 0.12, *[0.05] * (len(KINDS) - 3)])[kinds]

    def _draw_credits(self, richness: np.ndarray) -> None:
        """Credits row after row: ``_row``, ``_group`` and ``_person``, in billing order."""
        import numpy as np
        import polars as pl

        rng, people, n = self._rng, self._people, len(self._kinds)
        style = np.where(self._is_movie, np.where(self._theme == _ABOUT_DOCUMENTARY, 1, 0), 2)
        mean = np.array([_FEATURE, _DOCUMENTARY, _TELEVISION])[style] * richness[:, None]
        mean *= np.where((self._kinds == _FEW) | (self._kinds == _UNRATED), 0.55, 1.0)[:, None]
        directors = (rng.random(n) < 0.985) + rng.poisson(0.08, n)
        counts = rng.poisson(mean)
        counts[:, DIRECTOR] = np.where(self._is_movie, directors, counts[:, DIRECTOR])
        counts = np.minimum(counts, _AT_MOST).ravel()
        slot = np.repeat(np.arange(len(counts)), counts)
        row, group = np.divmod(slot, len(GROUPS))
        nth = np.arange(len(slot)) - np.repeat(np.cumsum(counts) - counts, counts)

        kind, flavour = self._kinds[row], self._flavour[row]
        woman = rng.random(len(row)) < np.where(group == CAST, 0.42, 0.25)
        luck = rng.random(len(row)) ** np.where(group == SELF, 1.2, np.where(kind == _RATED, 2.1, 1.3))
        # Movie people mostly keep to a theme, each theme having its part of a pool.
        theme, share = self._theme[row], self._lexicon.theme_shares
        keeps = self._is_movie[row] & (rng.random(len(row)) < 0.75)
        luck = np.where(keeps, (np.cumsum(share) - share)[theme] + luck * share[theme], luck)
        year = self._year[row] + (5.0 * rng.standard_normal(len(row), dtype=np.float32)).astype(int)
        pooled = self._is_movie[row] | (rng.random(len(row)) < 0.05)
        person = np.empty(len(row), dtype=np.int64)
        cell = people.cell(group[pooled], flavour[pooled], year[pooled])
        person[pooled] = people.draw(cell, luck[pooled], woman[pooled])
        person[~pooled] = people.draw_crowd(flavour[~pooled], luck[~pooled], woman[~pooled])

        director = np.full(n, -1)
        first = (group == DIRECTOR) & (nth == 0)
        director[row[first]] = person[first]
        # Directors have regulars: drawn from the pools by a number that is the director's own.
        own = (0.6180339887 * director[row] + 0.7548776662 * (group + 3 * nth)) % 1.0
        place = (group == CAST) | (group == WRITER) | (group > people_module.PRODUCER)
        regular = self._is_movie[row] & (director[row] >= 0) & place & (nth < 2) & (rng.random(len(row)) < 0.5)
        cell = people.cell(group[regular], flavour[regular], self._year[row[regular]])
        person[regular] = people.draw(cell, own[regular], woman[regular])

        # Franchises keep their people, and first directors often write and sometimes produce.
        part_of = np.full(n, -1)
        part_of[self._part_rows] = np.arange(self._part.start, self._part.stop)
        team_slot = np.where(group == CAST, 1 + nth, np.where(group == DIRECTOR, 0, 4))
        wanted = np.where(group == CAST, nth < 3, ((group == DIRECTOR) | (group == WRITER)) & (nth == 0))
        stays = wanted & (part_of[row] >= 0) & (rng.random(len(row)) < 0.75)
        person[stays] = self._franchises.team[part_of[row[stays]], team_slot[stays]]
        director[row[first]] = person[first]
        also = np.array([0, 0, 0, 0.38, 0.12, *[0.01] * (len(GROUPS) - 5)])[group]
        also = (director[row] >= 0) & (nth == 0) & (rng.random(len(row)) < also)
        person[also] = director[row[also]]
        unnamed = rng.random(len(row)) < 0.005
        person[unnamed] = rng.choice(people.unnamed, unnamed.sum())

        once = pl.Series((row << 40) | (group << 32) | person).is_first_distinct().to_numpy()
        self._row, self._group, self._person, self._nth = row[once], group[once], person[once], nth[once]

    def basics(self, tconst: pl.Series) -> pl.DataFrame:
        """Rows of title.basics."""
        import numpy as np
        import polars as pl

        rng, kinds, n = self._rng, self._kinds, len(self._kinds)
        draw = (self._flavour, self._theme, self._tone)
        english = self._lexicon.titles(rng, *draw, np.zeros(n, dtype=bool))
        original = self._lexicon.titles(rng, *draw, self._flavour > 0)
        translated = pl.Series((self._flavour == 0) | (rng.random(n) < 0.45))
        number, day, month = (rng.integers(1, high, n) for high in (40, 29, 13))
        numbered = (kinds == _EPISODE) & (rng.random(n) < 0.35)
        dated = (kinds == _EPISODE) & ~numbered & (rng.random(n) < 0.15)
        months = pl.Series(words.MONTHS.split(","))
        type_names = ["movie"] * 3 + list(KINDS[3:])
        kind = np.where(self._is_movie & (rng.random(n) < 0.16), len(type_names), kinds)
        runs_on = (kinds == _SERIES) | (kinds == _MINI_SERIES)
        end = np.minimum(self._year + rng.geometric(0.4, n) - 1, LAST_YEAR)
        frame = pl.select(
            tconst=tconst,
            titleType=pl.Series([*type_names, "tvMovie"]).gather(kind),
            primaryTitle=pl.when(translated).then(english).otherwise(original),
            originalTitle=pl.when(pl.Series(self._flavour == 0)).then(english).otherwise(original),
            isAdult=pl.Series(self._adult.astype(np.int8)),
            startYear=mask(self._year, self._year_known),
            endYear=mask(end, runs_on & self._year_known & (rng.random(n) < 0.6) & (end >= self._year)),
            runtimeMinutes=mask(self._minutes, self._minutes_known),
            genres=texts_at(self._lexicon.genres, np.where(self._genres_known, self._genres, -1)),
            numbered=pl.Series(numbered),
            dated=pl.Series(dated),
        )
        generic = pl.when("numbered").then(pl.format("Episode #{}.{}", pl.Series(month), pl.Series(number)))
        generic = generic.when("dated").then(
            pl.format("Episode dated {} {} {}", pl.Series(day), months.gather(month - 1), pl.Series(self._year))
        )
        special = self._special_titles()
        return frame.with_columns(
            pl.coalesce(pl.lit(special[column]), generic.otherwise(pl.col(column))).alias(column)
            for column in ("primaryTitle", "originalTitle")
        )

    def _special_titles(self) -> dict[str, pl.Series]:
        """Titles of franchises and the odd ones, null elsewhere."""
        import polars as pl

        odd = self._franchises.odd - self._start
        titles = {}
        for column, name in enumerate(("primaryTitle", "originalTitle")):
            texts: list[str | None] = [None] * len(self._kinds)
            for row, title in zip(self._part_rows.tolist(), self._franchises.title[self._part], strict=True):
                texts[row] = title
            for row, pair in zip(odd.tolist(), words.ODD_TITLES, strict=True):
                if 0 <= row < len(texts):
                    texts[row] = pair[column]
            titles[name] = pl.Series(texts, dtype=pl.String)
        return titles

    def ratings(self, tconst: pl.Series) -> pl.DataFrame:
        """Rows of title.ratings."""
        import numpy as np
        import polars as pl

        rng, kinds = self._rng, self._kinds
        n = len(kinds)
        worth = np.where(self._is_movie, self._worth(), 7.1 + 0.9 * rng.standard_normal(n))
        fame = 1.5 * rng.gamma(1.35, 1.2, n) + np.where(kinds == _RATED, 0.25 * (worth - _MEAN_RATING), 0.0)
        fame[self._part_rows] += 1.5
        votes = np.where(kinds == _RATED, 30.0, 5.0) * np.exp(np.clip(fame, 0.0, 11.4))
        votes = np.where(kinds == _FEW, rng.integers(5, 30, n), votes.astype(np.int64))
        noise = rng.standard_normal(n) * np.sqrt(_NOISE + _NOISE_PER_VOTE / votes)
        rating = np.clip(np.rint(10.0 * (worth + noise)), 10, 100) / 10.0
        rated = (kinds == _RATED) | (kinds == _FEW) | (~self._is_movie & (rng.random(n) < 0.107))
        frame = pl.DataFrame({"tconst": tconst, "averageRating": rating, "numVotes": votes})
        return frame.filter(pl.Series(rated))

    def _worth(self) -> np.ndarray:
        """What a movie's rating would be without noise."""
        import numpy as np

        n = len(self._kinds)
        genre = 1.15 * self._lexicon.genre_worth[self._genres]
        # Old horror is not worse than other old films.
        genre = np.where(self._theme == _ABOUT_HORROR, genre * np.clip((self._year - 1940) / 50, 0.2, 1.0), genre)
        era = -0.25 * np.clip((self._year - 1998) / 22, -2.0, 1.0)
        length = 0.75 * np.tanh((self._minutes - 100) / 24) - 0.4 * ~self._minutes_known
        flavour = np.array([flavour.worth for flavour in words.FLAVOURS])[self._flavour]
        tradition = _TRADITION_WORTH * self._lexicon.traditions[self._flavour, self._theme]
        worth = genre + era + length + flavour + tradition + _TONE_WORTH * self._tone
        worth[self._part_rows] += self._franchises.worth[self._part]

        quality = self._people.quality[self._person]
        for group, points in enumerate(
            (_CAST_WORTH, 0.0, _DIRECTOR_WORTH, _WRITER_WORTH, 0.0, _CREW_WORTH, _CREW_WORTH)
        ):
            chosen = (self._group == group) & (self._nth < 3)
            # Leads weigh more the higher they are billed, directors and writers alike.
            weight = np.where(group == CAST, 1.0 / (1.0 + self._nth[chosen]), 1.0)
            total = np.bincount(self._row[chosen], weight * quality[chosen], n)
            worth += points * total / np.maximum(np.bincount(self._row[chosen], weight, n), 1.0)
        # A longer tail below than above.
        return _MEAN_RATING + worth - 0.1 * worth**2

    def principals(self, tconst: pl.Series) -> pl.DataFrame:
        """Rows of title.principals. Orderings follow each other as text does, 1, 10, 11, 2, as in older dumps."""
        import numpy as np
        import polars as pl

        rng, people, c = self._rng, self._people, len(self._row)
        counts = np.bincount(self._row, minlength=len(self._kinds))
        ordering = np.arange(c) - np.repeat(np.cumsum(counts) - counts, counts) + 1
        as_text = np.where(ordering < 10, 11 * ordering, ordering // 10 * 11 + ordering % 10 + 1)
        order = np.argsort(self._row * 1000 + as_text, kind="stable")
        row, group, person = self._row[order], self._group[order], self._person[order]
        category = np.where((group == CAST) & (person % 2 == 1), people_module.ACTRESS, group)
        people.remember(person, row + self._start, category)

        cells, given = _characters(people)
        plays = rng.random(c)
        name = people.names.draw(rng, self._flavour[row], person % 2)
        extra = given + 1 + rng.integers(0, len(cells) - given - 1, c)
        character = np.where(plays < 0.7, name, np.where(plays < 0.78, extra, -1))
        as_self = (group == SELF) | (group == people_module.GROUPS.index("archive_footage"))
        character = np.where(group == CAST, character, np.where(as_self & (plays < 0.9), given, -1))
        jobs = pl.Series([*words.WRITER_JOBS, "producer", "director of photography"])
        job = np.where((group == WRITER) & (plays < 0.5), (plays * 2 * len(words.WRITER_JOBS)).astype(int), -1)
        job = np.where((group == people_module.PRODUCER) & (plays < 0.95), len(jobs) - 2, job)
        job = np.where((group == people_module.CINEMATOGRAPHER) & (plays < 0.1), len(jobs) - 1, job)
        return pl.DataFrame(
            {
                "tconst": tconst.gather(row),
                "ordering": ordering[order],
                "nconst": people.nconst.gather(person),
                "category": pl.Series(people_module.CATEGORIES).gather(category),
                "job": texts_at(jobs, job),
                "characters": texts_at(cells, character),
            }
        )


def _characters(people: People) -> tuple[pl.Series, int]:
    """Cells of ``characters``: one for each of ``people.names``; then, from the index returned, Self and others."""
    import polars as pl

    cells = [f'["{name}"]' for name in people.names.tokens]
    others = ['["Self"]', *(f'["{name}"]' for name in words.OCCUPATIONS.split(",")), *words.ODD_CHARACTERS]
    return pl.Series(cells + others), len(cells)
