"""What is said while documents are embedded: an estimate before long work, then how far it is and how long it takes."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imdb_pipeline.embeddings.encoder import Encoder

log = logging.getLogger(__name__)

SECONDS_BETWEEN = 30.0
LONG_SECONDS = 60.0
"""From here on an estimate is given beforehand."""


@dataclass
class Progress:
    """Counts of a run of the encoder; logged about every 30 seconds.

    Attributes
    ----------
    what
        What the documents are called.
    documents, held
        How many are to be embedded, how many were in the cache.
    tokens
        How many all of them have, as far as is known: the rest is reckoned from their bytes.
    """

    what: str
    documents: int
    held: int
    tokens: float = 0.0
    done_documents: int = 0
    done_tokens: int = 0
    done_slots: int = 0
    started: float = field(default_factory=time.monotonic)
    _told: float = field(default_factory=time.monotonic)

    def batch_done(self, documents: int, tokens: int, slots: int) -> None:
        """Count a batch: ``slots`` are its tokens with padding."""
        self.done_documents += documents
        self.done_tokens += tokens
        self.done_slots += slots
        if time.monotonic() - self._told >= SECONDS_BETWEEN:
            self._told = time.monotonic()
            log.info("%s", self.told())

    @property
    def padding(self) -> float:
        """The share of padding in what was computed."""
        return 1 - self.done_tokens / self.done_slots if self.done_slots else 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def told(self) -> str:
        """Return a line of how far it is."""
        rate = self.done_tokens / max(self.seconds, 1e-9)
        left = max(0.0, self.tokens - self.done_tokens) / rate if rate else 0.0
        return (
            f"embedded {self.done_documents:,} of {self.documents:,} {self.what}, {_rounded(self.done_tokens)} of "
            f"{_rounded(max(self.tokens, self.done_tokens))} tokens, "
            f"{self.done_documents / max(self.seconds, 1e-9):,.0f} a second, {self.padding:.1%} padding, "
            f"{_span(left)} left, {self.held:,} were held"
        )


def tell_estimate(encoder: Encoder, progress: Progress, *, tokens_per_second: float) -> None:
    """Log how long the work will take on this device, where it is long, and what would be faster."""
    seconds = progress.tokens / tokens_per_second
    if seconds < LONG_SECONDS:
        return
    log.info(
        "%d %s, about %s tokens: about %s on this %s at %.0f tokens a second%s",
        progress.documents,
        progress.what,
        _rounded(progress.tokens),
        _span(seconds),
        "GPU" if encoder.device == "cuda" else "CPU",
        tokens_per_second,
        _faster(encoder),
    )


def _faster(encoder: Encoder) -> str:
    from imdb_pipeline.embeddings.model_files import EMBEDDED

    ways = []
    if encoder.device == "cpu":
        ways.append("a CUDA GPU (--device cuda)")
    elif encoder.identity.dtype == "float32":
        ways.append("bfloat16")
    if encoder.identity.name != EMBEDDED:
        ways.append(f"--encoder {EMBEDDED} in a home of its own")
    return f"; faster: {', or '.join(ways)}" if ways else ""


def _rounded(tokens: float) -> str:
    return f"{tokens / 1e6:,.1f} M" if tokens >= 1e6 else f"{tokens / 1e3:,.0f} k"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
