"""The encoder: that it is there and works, how fast it is here, and whether it gives the study's cosines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imdb_pipeline.doctor.finding import Finding, fail, ok, warn
from imdb_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from pathlib import Path

    from imdb_pipeline.embeddings.encoder import Encoder
    from imdb_pipeline.settings import Settings

STUDY_ENCODER = "Alibaba-NLP/gte-modernbert-base"
STUDY_QUERY = "tt0120737"
STUDY_COSINES = {"tt0167261": 0.922, "tt0167260": 0.920}
"""The Fellowship of the Ring with The Two Towers and The Return of the King (M. Woolf, "Predicting Average IMDb Movie
Ratings Using Text Embeddings of Movie Metadata", 2025)."""
TOLERANCE = 0.02
"""IMDb's credits have changed since."""
_PROBED = 64
_SAMPLED = 60


@dataclass(frozen=True, eq=False)
class Speed:
    """What the home's encoder does on this machine, by documents of the home, else of a small sample.

    Attributes
    ----------
    tokens_per_document
        The mean, after cutting at the encoder's maximum length.
    """

    encoder: Encoder
    tokens_per_second: float
    tokens_per_document: float


def examine(home: Path, settings: Settings) -> tuple[Speed | None, list[Finding]]:
    """Load the encoder that a run would take, and embed a few documents; the speed is None where that fails."""
    import numpy as np

    from imdb_pipeline.compute import choose_compute
    from imdb_pipeline.embeddings.encoder import Encoder
    from imdb_pipeline.embeddings.model_files import choose_encoder, first_line

    try:
        choice = choose_encoder(settings.encoder, settings.encoder_revision, device=settings.device)
        compute = choose_compute(device=settings.device)
        encoder = Encoder(choice, device=compute.device, dtype=compute.dtype)
        tokens = encoder.tokenize(_documents(home))
        vectors = encoder.encode(tokens)()
        speed = Speed(encoder, encoder.tokens_per_second(tokens), float(tokens.lengths.mean()))
    except PipelineError as error:
        return None, [fail("encoder", str(error), "give another with --encoder, in a home of its own")]
    except RuntimeError as error:  # CUDA's, while the model is moved to a GPU that is full, too old or taken
        advice = 'see the line of the GPU; device = "cpu" in settings.toml does without it'
        return None, [fail("encoder", f"it cannot be computed with ({first_line(error)})", advice)]
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.allclose(lengths, 1, atol=1e-3):
        found = f"{choice.name}: vectors of length {lengths.min():.3f} to {lengths.max():.3f}, not 1"
        return None, [fail("encoder", found, "its files are damaged, or this torch computes wrongly on this device")]
    found = (
        f"{choice.name}, {vectors.shape[1]}-D, {compute.dtype} on {compute.device_name}: "
        f"{speed.tokens_per_second:,.0f} tokens a second"
    )
    return speed, [ok("encoder", found)]


def _documents(home: Path) -> list[str]:
    """Return some documents of the home's release, spread over it; of a small sample where it has none."""
    import tempfile
    from pathlib import Path

    import polars as pl

    from imdb_pipeline.catalogue.documents import documents_of, read_documents
    from imdb_pipeline.catalogue.movies import DumpPaths, build_movies
    from imdb_pipeline.dumps.sample import write_sample
    from imdb_pipeline.dumps.tables import DUMPS
    from imdb_pipeline.store import Store

    store = Store(home / "store")
    current = store.current()
    if current is not None and "movie_documents" in current["assets"]:
        listed = pl.read_parquet(store.released("movie_documents").file("documents.parquet"))
        some = listed.gather_every(max(1, len(listed) // _PROBED)).head(_PROBED)
        return read_documents(some, store.pool("documents"))["document"].to_list()
    with tempfile.TemporaryDirectory() as folder:
        write_sample(Path(folder), movies=_SAMPLED)
        movies = build_movies(DumpPaths(*(Path(folder) / dump.file for dump in DUMPS))).movies
    return documents_of(movies.head(_PROBED)).to_list()


def compare_with_study(home: Path, encoder: Encoder) -> Finding:
    """Compare cosines of three movies of the home with those that the study printed."""
    import polars as pl

    from imdb_pipeline.catalogue.documents import read_documents
    from imdb_pipeline.store import Store

    name = encoder.identity.name
    if name != STUDY_ENCODER:
        advice = f"a home with --encoder {STUDY_ENCODER} can be compared"
        return warn("study's cosines", f"they are of {STUDY_ENCODER}, this home's encoder is {name}", advice)
    store = Store(home / "store")
    wanted = [STUDY_QUERY, *STUDY_COSINES]
    held = pl.DataFrame(schema={"tconst": pl.String})
    if store.current() is not None:
        listed = pl.read_parquet(store.released("movie_documents").file("documents.parquet"))
        held = read_documents(listed.filter(pl.col("tconst").is_in(wanted)), store.pool("documents"))
    if len(held) < len(wanted):
        found = "this home does not hold The Lord of the Rings, whose cosines the study printed"
        return warn("study's cosines", found, "they can be compared in a home of IMDb's data")
    texts = dict(held.select("tconst", "document").iter_rows())
    vectors = encoder.encode(encoder.tokenize([texts[each] for each in wanted]))()
    cosines = dict(zip(STUDY_COSINES, (vectors[1:] @ vectors[0]).tolist(), strict=True))
    found = ", ".join(f"{each} {cosines[each]:.3f} (study {STUDY_COSINES[each]:.3f})" for each in STUDY_COSINES)
    if any(abs(cosines[each] - cosine) > TOLERANCE for each, cosine in STUDY_COSINES.items()):
        return fail("study's cosines", found, f"further off than {TOLERANCE}: another revision, pooling or precision")
    return ok("study's cosines", found)
