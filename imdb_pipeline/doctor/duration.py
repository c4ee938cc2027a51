"""How long a whole run would take on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imdb_pipeline.doctor.finding import Finding, ok

if TYPE_CHECKING:
    from imdb_pipeline.doctor.encoder_probe import Speed
    from imdb_pipeline.settings import Settings
    from imdb_pipeline.store import Store

IMDB_DOCUMENTS = 270_000
"""Movies with 30 votes or more, 242 thousand in the study's catalogue, and recent ones."""
TRAINING_SECONDS = 0.03
"""A document, on two cores: what a run on 28,785 took besides embedding, divided by them (benchmarks/RESULTS.md)."""
_RECENT = 1.1
"""Documents for each movie that is learnt from."""
_SAMPLE_RECENT = 1.2


def estimate(home: Path, settings: Settings, speed: Speed) -> Finding:
    """Reckon what a first run takes, or what another takes after what this home's last one took."""
    from imdb_pipeline.store import Store

    store = Store(home / "store")
    current = store.current()
    if current is not None:
        seconds = _spent(store, current["assets"])
        documents = store.released("movie_documents").manifest["rows"]
        whole = documents * speed.tokens_per_document / speed.tokens_per_second
        found = (
            f"a day like the last one about {_span(seconds)}, of which training is a part that comes every "
            f"{settings.training.every_days} days; embedding all {documents:,} documents anew about {_span(whole)}"
        )
        return ok("duration", found)
    documents, how = _documents(home, settings)
    embedding = documents * speed.tokens_per_document / speed.tokens_per_second
    rest = documents * TRAINING_SECONDS
    found = (
        f"a first run about {_span(embedding + rest)}: {_span(embedding)} to embed {how} {documents:,} documents, "
        f"{_span(rest)} for the rest; later days take what changed"
    )
    return ok("duration", found)


def _spent(store: Store, assets: object) -> float:
    """Return the seconds that the assets of the release took."""
    names = list(assets) if isinstance(assets, dict) else []
    return sum(float(store.released(name).manifest["info"].get("seconds", 0)) for name in names)


def _documents(home: Path, settings: Settings) -> tuple[int, str]:
    """Return how many documents a first run would embed, and how well that is known."""
    import polars as pl

    from imdb_pipeline.dumps.source import base_url
    from imdb_pipeline.dumps.tables import RATINGS

    if settings.source == "sample":
        return round(settings.sample.movies * _SAMPLE_RECENT), "about"
    path = home / settings.source / RATINGS.file
    if base_url(settings) or not path.is_file():
        return IMDB_DOCUMENTS, "about"
    votes = pl.scan_csv(path, separator="\t", quote_char=None, schema=dict.fromkeys(RATINGS.columns, pl.String))
    enough = pl.col("numVotes").cast(pl.Int64, strict=False) >= settings.catalogue.min_votes
    try:
        rated = votes.filter(enough).select(pl.len()).collect().item()
    except (OSError, pl.exceptions.PolarsError):  # the check of the source says what is wrong with it
        return IMDB_DOCUMENTS, "about"
    return round(rated * _RECENT), "at most some"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
