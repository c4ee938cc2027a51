"""Similarity that is not fixated on the name: what a title says counts as far as people or genres support it.

Leaving the title out of the document would double what embedding costs, and lose the sequels. So the title alone is
embedded, some ten tokens a movie, most of its direction is taken out of the document's vector, and the likeness of two
titles is given back where the movies share people or genres. The measurements are in benchmarks/RESULTS.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

TAKEN_OUT = 0.7
"""How much of the title's direction leaves a document's vector: with 1, sequels by other people are lost as well."""


def title_documents(documents: pl.DataFrame) -> pl.DataFrame:
    """Return the documents cut off after the title: tconst, document_hash (of the text that is left), document.

    Parameters
    ----------
    documents
        Columns tconst and document, texts as ``catalogue.documents.document`` makes them.
    """
    import polars as pl

    from imdb_pipeline.catalogue.documents import document_hash

    # JSON escapes line breaks, so that a title is always one line: the second.
    cut = documents["document"].str.extract(r'^(\{\n  "title": .*),\n') + "\n}"
    hashes = pl.Series([document_hash(text) for text in cut], dtype=pl.String)
    return pl.DataFrame({"tconst": documents["tconst"], "document_hash": hashes, "document": cut})


class MaskedTitles:
    """The vectors of movies without their titles, and what supports a likeness of titles.

    Parameters
    ----------
    embeddings, titles
        float32, shape (n, dimension): unit vectors of the documents, and of ``title_documents``. They are not copied.
    movies
        genres and credits of the same movies in the same order, as in ``movies``.
    """

    def __init__(self, embeddings: np.ndarray, titles: np.ndarray, movies: pl.DataFrame) -> None:
        import numpy as np

        # Of d = embedding - mean and t = title - mean, only lengths and products are kept: at full size, copies of the
        # vectors would cost more than the answer.
        self._embeddings, self._titles = embeddings, titles
        self._mean, self._title_mean = embeddings.mean(axis=0), titles.mean(axis=0)
        self._per_title = _inverse_root(1 - 2 * (titles @ self._title_mean) + self._title_mean @ self._title_mean)
        products = np.einsum("ij,ij->i", embeddings, titles) - embeddings @ self._title_mean
        self._along = (products - titles @ self._mean + self._mean @ self._title_mean) * self._per_title
        squares = 1 - 2 * (embeddings @ self._mean) + self._mean @ self._mean
        self._per_rest = _inverse_root(squares - TAKEN_OUT * (2 - TAKEN_OUT) * self._along**2)
        self._support = Support(movies)

    def cosines(self, row: int) -> np.ndarray:
        """Return how alike a movie and every movie are: float32, shape (n,), at most 1.

        It is the cosine of the vectors without their titles, raised towards 1 by the cosine of the titles times
        the support for it. Movies that share neither people nor genres have the former alone.
        """
        import numpy as np

        title = (self._titles[row] - self._title_mean) * self._per_title[row]
        rest = self._embeddings[row] - self._mean - TAKEN_OUT * self._along[row] * title
        rest = rest * self._per_rest[row]
        along_rest = (self._titles @ rest - self._title_mean @ rest) * self._per_title
        cosines = self._embeddings @ rest - self._mean @ rest - TAKEN_OUT * self._along * along_rest
        cosines = np.clip(cosines * self._per_rest, -1, 1)
        alike = np.clip((self._titles @ title - self._title_mean @ title) * self._per_title, 0, 1)
        return (1 - (1 - cosines) * (1 - alike * self._support.of(row))).astype(np.float32)


class Support:
    """How far people or genres link movies, which is what a likeness of their titles needs to count.

    Each shared person supports by log(n / films) / log(n), which is next to 1 for who made two films and less for who
    is in many; several support as independent chances do. Shared genres support by 1 less the root of the share of
    movies that would have them by chance, times their part of the genres of both by rarity.

    Parameters
    ----------
    movies
        Columns genres and credits, as in ``movies``.
    """

    def __init__(self, movies: pl.DataFrame) -> None:
        import polars as pl

        self._n = len(movies)
        self._people = _Incidence(movies["credits"].list.eval(pl.element().struct.field("nconst")))
        self._genres = _Incidence(movies["genres"])

    def of(self, row: int) -> np.ndarray:
        """Return how far a movie and every movie are linked: float64, shape (n,), 0 to 1."""
        import numpy as np

        n = self._n
        rarity = np.log(n / np.maximum(self._people.counts, 2)) / np.log(max(n, 2))
        unlinked = np.exp(self._people.shared(row, np.log1p(-np.minimum(rarity, 1 - 1e-6))))
        idf = np.log(n / np.maximum(self._genres.counts, 1))
        shared = self._genres.shared(row, idf)
        own = self._genres.sums(idf)
        either = np.maximum(own + own[row] - shared, 1e-9)
        return 1 - unlinked * (1 - shared / either * (1 - np.exp(-shared / 2)))


class _Incidence:
    """Which movie has which of some values, without repetitions."""

    def __init__(self, values: pl.Series) -> None:
        import polars as pl

        pairs = pl.DataFrame({"value": values}).with_row_index("movie").explode("value").drop_nulls()
        pairs = pairs.unique(maintain_order=True)
        held = pairs.group_by("value").len().with_row_index("code")
        pairs = pairs.join(held, on="value", how="left", maintain_order="left")
        self._n = len(values)
        self._movies, self._codes = pairs["movie"].to_numpy(), pairs["code"].to_numpy()
        self.counts = held["len"].to_numpy()

    def shared(self, row: int, weights: np.ndarray) -> np.ndarray:
        """Return for every movie the sum of the weights of the values that it shares with one: shape (n,)."""
        import numpy as np

        held = np.zeros(len(weights), dtype=bool)
        held[self._codes[self._movies == row]] = True
        pairs = held[self._codes]
        return np.bincount(self._movies[pairs], weights=weights[self._codes[pairs]], minlength=self._n)

    def sums(self, weights: np.ndarray) -> np.ndarray:
        """Return for every movie the sum of the weights of its values: shape (n,)."""
        import numpy as np

        return np.bincount(self._movies, weights=weights[self._codes], minlength=self._n)


def _inverse_root(squares: np.ndarray) -> np.ndarray:
    """Return 1 / sqrt, and 0 of what is 0 but for rounding: such a vector has no direction."""
    import numpy as np

    return np.where(squares > 1e-6, np.maximum(squares, 1e-6) ** -0.5, 0).astype(np.float32)
