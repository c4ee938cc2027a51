"""How far similar movies are fixated on the name, and what several ways to mend it do and cost.

    python benchmarks/similar.py [--source DIR] [--quick] [--json]

Without a source, a synthetic sample. Encoder: the embedded MiniLM. Definitions, all from the data alone:

- A title word has three characters or more, is no number, and is none of a few articles and prepositions. It is
  distinctive when at most 0.3 % of the movies, or 10, have it in their titles.
- Franchise, by people: two movies share a person, and a distinctive title word or any two.
- Sequels, by name: the titles are the same up to a number or a colon, but not the same, and the movies share a person
  or at least half of all their genres.
- A neighbour is name-only when it shares a title word with the movie, and no person, no genre, and neither of these.

Columns: extra tokens a movie that the way embeds; name-only neighbours among the first ten of 1,000 random movies, in
per cent; those that share a title word and no person, whatever their genres; the share of the fellows of a franchise,
and of the sequels, that are among the first ten (at most 600 movies that have any); CPU seconds to make the vectors,
and their ratio to embedding the documents. The cases, where the catalogue has them: the first ten of Frozen (tt2294629)
hold no other title with that word and seven animations; of Age of Ultron (tt2395427) The Avengers, and an Iron Man or
a Captain America; the first five of The Fellowship of the Ring (tt0120737) both sequels.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import sys
import tempfile
import time
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    import polars as pl

    from imdb_pipeline.embeddings.encoder import Encoder

    Scores = Callable[[int], np.ndarray]

QUICK_MOVIES, SAMPLE_MOVIES, QUERIES, FELLOWS_OF = 400, 3000, 1000, 600
FILES = "title.basics", "title.ratings", "title.principals", "name.basics"
SMALL_WORDS = frozenset(["the", "and", "for", "from", "with", "der", "die", "das", "les", "des", "los", "las", "una"])
NUMBERED = re.compile(r"[:\s-]+(part\s+)?(\d{1,2}|ii|iii|iv|v|vi|vii|viii|ix|x|two|three|four|five)$")


class Facts:
    """What the data says of pairs of movies."""

    def __init__(self, movies: pl.DataFrame) -> None:
        self.n = n = len(movies)
        self.rows = {tconst: row for row, tconst in enumerate(movies["tconst"])}
        self.titles = movies["title"].to_list()
        self.genres = [set(genres or ()) for genres in movies["genres"].to_list()]
        self.people = [{credit["nconst"] for credit in credits} for credits in movies["credits"].to_list()]
        self.words = [set(re.findall(r"\w{3,}", title.lower())) for title in self.titles]
        self.words = [{word for word in words if not word.isdigit()} - SMALL_WORDS for words in self.words]
        common = Counter(word for words in self.words for word in words)
        self.franchise, self.sequels = defaultdict(set), defaultdict(set)
        films = _holding(self.people)
        for a, b in {pair for each in films.values() for pair in combinations(each, 2)}:
            shared = self.words[a] & self.words[b]
            if len(shared) > 1 or any(common[word] <= max(10, 0.003 * n) for word in shared):
                self.franchise[a].add(b)
                self.franchise[b].add(a)
        for same in _holding([{_stem(title)} for title in self.titles]).values():
            for a, b in combinations(same, 2):
                other_title = self.titles[a].lower() != self.titles[b].lower()
                genres = 2 * len(self.genres[a] & self.genres[b]) >= len(self.genres[a] | self.genres[b]) > 0
                if other_title and (genres or self.people[a] & self.people[b]):
                    self.sequels[a].add(b)
                    self.sequels[b].add(a)

    def only_a_word(self, a: int, b: int) -> bool:
        """Whether two movies share a title word, and neither a person nor a franchise."""
        fellows = b in self.franchise[a] or b in self.sequels[a]
        return bool(self.words[a] & self.words[b]) and not self.people[a] & self.people[b] and not fellows

    def cases(self, ten: Callable[[int], list[int]]) -> str:
        """Return pass or fail for each of the three, a dash where the catalogue lacks the movie."""
        told = []
        for tconst in ("tt2294629", "tt2395427", "tt0120737"):
            if tconst not in self.rows:
                told.append("-")
                continue
            found = ten(self.rows[tconst])
            names = [self.titles[row] for row in found]
            if tconst == "tt2294629":
                named = any("frozen" in name.lower() and "Frozen II" not in name for name in names)
                good = not named and sum("Animation" in self.genres[row] for row in found) >= 7
            elif tconst == "tt2395427":
                good = "The Avengers" in names and any(name.startswith(("Iron Man", "Captain Am")) for name in names)
            else:
                good = {self.rows.get("tt0167260"), self.rows.get("tt0167261")} <= set(found[:5])
            told.append("pass" if good else "fail")
        return " ".join(told)


def _holding(values: list[set[str]]) -> dict[str, list[int]]:
    rows = defaultdict(list)
    for row, held in enumerate(values):
        for value in held:
            rows[value].append(row)
    return rows


def _stem(title: str) -> str:
    head = re.split(r":\s|\s-\s", title.lower())[0]
    return re.sub(r"^(the|a|an)\s+", "", NUMBERED.sub("", head)).strip()


def measured(facts: Facts, scores: Scores) -> dict[str, Any]:
    """Return what a way's first ten hold."""
    import numpy as np

    def ten(row: int) -> list[int]:
        values = scores(row).copy()
        values[row] = -np.inf
        return np.argsort(-values, kind="stable")[:10].tolist()

    def recall(fellows: dict[int, set[int]]) -> float:
        rows = [row for row in sorted(fellows) if fellows[row]]
        chosen = np.random.default_rng(0).permutation(len(rows))[:FELLOWS_OF]
        found = [len(fellows[rows[i]] & set(ten(rows[i]))) / min(10, len(fellows[rows[i]])) for i in chosen]
        return round(float(np.mean(found)), 3) if found else float("nan")

    queries = np.random.default_rng(1).permutation(facts.n)[:QUERIES].tolist()
    words = [(a, b) for a in queries for b in ten(a) if facts.only_a_word(a, b)]
    alone = sum(not facts.genres[a] & facts.genres[b] for a, b in words)
    return {
        "name_only": round(100 * alone / (10 * len(queries)), 2),
        "title_word": round(100 * len(words) / (10 * len(queries)), 2),
        "franchise_recall": recall(facts.franchise),
        "sequel_recall": recall(facts.sequels),
        "cases": facts.cases(ten),
    }


class Texts:
    """The texts of the movies, embedded when somebody asks for them, with what that took."""

    def __init__(self, documents: list[str], titles: list[str], encoder: Encoder) -> None:
        lines = [text.split("\n") for text in documents]
        first = [next(i for i, line in enumerate(each) if line.startswith('  "directors"')) for each in lines]
        self.texts = {
            "documents": documents,
            "titles": titles,
            "untitled": ["\n".join([each[0], *each[2:]]) for each in lines],
            "facts": ["\n".join(["{", *each[2:end], "}"]) for each, end in zip(lines, first, strict=True)],
            "people": ["\n".join(["{", *each[end:]]) for each, end in zip(lines, first, strict=True)],
        }
        self._encoder = encoder
        self._made: dict[str, tuple[np.ndarray, float, float]] = {}

    def __call__(self, name: str) -> tuple[np.ndarray, float, float]:
        """Return vectors, tokens a text, and CPU seconds."""
        if name not in self._made:
            started = time.process_time()
            tokens = self._encoder.tokenize(self.texts[name])
            vectors = self._encoder.encode(tokens)()
            self._made[name] = vectors, float(tokens.lengths.mean()), time.process_time() - started
        return self._made[name]


def ways(texts: Texts, movies: pl.DataFrame, facts: Facts) -> Iterator[tuple[str, tuple[str, ...], Scores]]:
    """Yield name, the texts embedded besides the documents, and the scores of a movie with all."""
    import numpy as np

    from imdb_pipeline.embeddings.masking import MaskedTitles, Support

    def unit(vectors: np.ndarray) -> np.ndarray:
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    def centred(name: str) -> np.ndarray:
        return unit(texts(name)[0] - texts(name)[0].mean(axis=0))

    def cosine(vectors: np.ndarray) -> Scores:
        return lambda row: vectors @ vectors[row]

    def without_common(vectors: np.ndarray, k: int) -> np.ndarray:
        _, directions = np.linalg.eigh(vectors.T @ vectors)
        return unit(vectors - vectors @ directions[:, -k:] @ directions[:, -k:].T)

    documents = centred("documents")
    yield "documents", (), cosine(texts("documents")[0])
    yield "documents, centred", (), cosine(documents)
    yield "less 2 common directions", (), cosine(without_common(documents, 2))
    yield "less 5 common directions", (), cosine(without_common(documents, 5))
    titles = centred("titles")
    for ridge in (1, 10, 100):
        weights = np.linalg.solve(titles.T @ titles + ridge * np.eye(titles.shape[1]), titles.T @ documents)
        yield f"titles regressed out, ridge {ridge}", ("titles",), cosine(unit(documents - titles @ weights))

    def projected(part: float) -> np.ndarray:
        return unit(documents - part * (documents * titles).sum(axis=1, keepdims=True) * titles)

    yield "title projected out, 0.7", ("titles",), cosine(projected(0.7))
    yield "title projected out, all", ("titles",), cosine(projected(1))
    told, people = centred("facts"), centred("people")
    yield "facts and people, embedded apart", ("facts", "people"), lambda row: told @ told[row] + people @ people[row]
    yield "documents without title", ("untitled",), cosine(texts("untitled")[0])
    untitled = centred("untitled")
    yield "without title, centred", ("untitled",), cosine(untitled)
    support = Support(movies)

    def supported(rest: np.ndarray) -> Scores:
        def scores(row: int) -> np.ndarray:
            return 1 - (1 - rest @ rest[row]) * (1 - np.maximum(titles @ titles[row], 0) * support.of(row))

        return scores

    yield "without title, as supported", ("untitled", "titles"), supported(untitled)
    yield "all projected out, as supported", ("titles",), supported(projected(1))
    yield "0.4 projected out, as supported", ("titles",), supported(projected(0.4))
    yield (
        "--mask-title: 0.7, as supported",
        ("titles",),
        MaskedTitles(texts("documents")[0], texts("titles")[0], movies).cosines,
    )

    common = Counter(word for words in facts.words for word in words)
    rarity = {word: np.log(facts.n / held) for word, held in common.items()}
    norms = np.array([np.sqrt(sum(rarity[word] ** 2 for word in words)) for words in facts.words])
    holding = _holding(facts.words)

    def overlap(row: int) -> np.ndarray:
        found = np.zeros(facts.n)
        for word in facts.words[row]:
            found[holding[word]] += rarity[word] ** 2
        return found / np.maximum(norms * norms[row], 1e-9)

    some = [(overlap(row), documents @ documents[row], row) for row in range(0, facts.n, max(1, facts.n // 300))]
    both = [(np.delete(words, row), np.delete(cosines, row)) for words, cosines, row in some]
    slope = sum(words @ cosines for words, cosines in both) / max(1e-9, sum(words @ words for words, _ in both))

    def less_words(row: int) -> np.ndarray:
        return documents @ documents[row] - slope * overlap(row)

    yield "less what common words explain", (), less_words
    yield (
        "less common words, as supported",
        (),
        lambda row: 1 - (1 - less_words(row)) * (1 - overlap(row) * support.of(row)),
    )


def rows_of(source: Path) -> Iterator[dict[str, Any]]:
    """Yield a row a way."""
    import polars as pl

    from imdb_pipeline.catalogue.documents import documents_of, with_documents
    from imdb_pipeline.catalogue.movies import DumpPaths, build_movies
    from imdb_pipeline.embeddings.encoder import Encoder
    from imdb_pipeline.embeddings.masking import title_documents
    from imdb_pipeline.embeddings.model_files import EMBEDDED, choose_encoder

    movies = build_movies(DumpPaths(*(source / f"{name}.tsv.gz" for name in FILES))).movies
    movies = with_documents(movies, min_votes=30, recent_years=2, day_year=2026)
    documents = pl.DataFrame({"tconst": movies["tconst"], "document": documents_of(movies)})
    encoder = Encoder(choose_encoder(EMBEDDED), device="cpu", dtype="float32")
    texts = Texts(documents["document"].to_list(), title_documents(documents)["document"].to_list(), encoder)
    facts = Facts(movies)
    _, tokens, reference = texts("documents")
    print(
        f"{facts.n:,} movies, {tokens:.0f} tokens a document, {len(facts.franchise):,} in a franchise, "
        f"{len(facts.sequels):,} with sequels",
        file=sys.stderr,
    )
    for name, extra, scores in ways(texts, movies, facts):
        seconds = sum(texts(each)[2] for each in extra) if extra else 0.0 if name != "documents" else reference
        started = time.monotonic()
        row = {
            "name": name,
            "extra_tokens": round(sum(texts(each)[1] for each in extra), 1),
            **measured(facts, scores),
            "cpu_seconds": round(seconds, 1),
        }
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        ratio = round(seconds / reference, 3)
        yield {**row, "wall_seconds": round(time.monotonic() - started, 1), "peak_mb": round(peak), "ratio": ratio}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="a folder with the four dumps; otherwise a sample")
    parser.add_argument("--quick", action="store_true", help=f"a sample of {QUICK_MOVIES} rated movies")
    parser.add_argument("--json", action="store_true", help="print a list of rows")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        source = arguments.source
        if arguments.quick or source is None:
            from imdb_pipeline.dumps.sample import write_sample

            source = Path(name)
            write_sample(source, movies=QUICK_MOVIES if arguments.quick else SAMPLE_MOVIES)
        rows = rows_of(source)
        if arguments.json:
            print(json.dumps(list(rows), indent=2))
            return
        heads = ("tokens", "name-only", "a word", "franchise", "sequels", "CPU s", "ratio")
        print(f"{'':<34}" + "".join(f"{head:>10}" for head in heads) + "  cases")
        for row in rows:
            print(
                f"{row['name']:<34}{row['extra_tokens']:>10.1f}{row['name_only']:>9.2f}%{row['title_word']:>9.2f}%"
                f"{row['franchise_recall']:>10.3f}{row['sequel_recall']:>10.3f}{row['cpu_seconds']:>10.1f}"
                f"{row['ratio']:>10.3f}  {row['cases']}",
                flush=True,
            )


if __name__ == "__main__":
    main()
