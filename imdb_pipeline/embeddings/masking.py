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
        float32, shape (n, dimension): unit vectors of the documents, and of ``title_documents``.
    movies
        genres and credits of the same movies in the same order, as in ``movies``.
    """

    def __init__(self, embeddings: np.ndarray, titles: np.ndarray, movies: pl.DataFrame) -> None:
        import polars as pl

        self._titles = _unit(titles - titles.mean(axis=0))
        centred = embeddings - embeddings.mean(axis=0)
        along = (centred * self._titles).sum(axis=1, keepdims=True)
        self._rest = _unit(centred - TAKEN_OUT * along * self._titles)
        self._people = _Incidence(movies["credits"].list.eval(pl.element().struct.field("nconst")))
        self._genres = _Incidence(movies["genres"])

    def cosines(self, row: int) -> np.ndarray:
        """Return how alike a movie and every movie are: float32, shape (n,), at most 1.

        It is the cosine of the vectors without their titles, raised towards 1 by the cosine of the titles times
        the support for it. Movies that share neither people nor genres have the former alone.
        """
        import numpy as np

        rest = self._rest @ self._rest[row]
        alike = np.maximum(self._titles @ self._titles[row], 0)
        return (1 - (1 - rest) * (1 - alike * self._support(row))).astype(np.float32)

    def _support(self, row: int) -> np.ndarray:
        """Return how far people or genres link a movie to every movie: shape (n,), 0 to 1.

        Each shared person supports by log(n / films) / log(n), which is next to 1 for who made two films and less for
        who is in many; supports add up as independent chances. Shared genres support by 1 less the root of the share
        of movies that would have them by chance, times their part of the genres of both, in bits.
        """
        import numpy as np

        n = len(self._rest)
        rarity = np.log(n / np.maximum(self._people.counts, 2)) / np.log(max(n, 2))
        unlinked = np.exp(self._people.shared(row, np.log1p(-np.minimum(rarity, 1 - 1e-6))))
        bits = np.log(n / np.maximum(self._genres.counts, 1))
        shared = self._genres.shared(row, bits)
        own = self._genres.sums(bits)
        either = np.maximum(own + own[row] - shared, 1e-9)
        return 1 - unlinked * (1 - shared / either * (1 - np.exp(-shared / 2)))


class _Incidence:
    """Which movie has which of some values, without repetitions."""

    def __init__(self, values: pl.Series) -> None:
        import polars as pl

        pairs = pl.DataFrame({"value": values}).with_row_index("movie").explode("value").drop_nulls().unique()
        codes = pairs["value"].rank("dense") - 1
        self._n = len(values)
        self._movies, self._codes = pairs["movie"].to_numpy(), codes.to_numpy()
        self.counts = pairs.group_by("value").len().sort("value")["len"].to_numpy()

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


def _unit(vectors: np.ndarray) -> np.ndarray:
    import numpy as np

    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
