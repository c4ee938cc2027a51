"""How old the released data is. Telling somebody belongs to ``alerts``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from imdb_pipeline.dumps.tables import DUMPS

if TYPE_CHECKING:
    from imdb_pipeline.store import Revision, Store


@dataclass(frozen=True)
class Freshness:
    """The age of what is released.

    Attributes
    ----------
    day
        The released day.
    unchanged_since
        The first day that had the same four files; the day itself when they were new.
    published_at
        When the source published their content: the latest Last-Modified of that first day, UTC.
    """

    day: str
    unchanged_since: str
    published_at: datetime

    def age_hours(self, now: datetime) -> float:
        return (now - self.published_at).total_seconds() / 3600


def freshness(store: Store) -> Freshness | None:
    """Return how fresh the release is; None before the first, and for sources whose files bear no date."""
    current = store.current()
    if current is None:
        return None
    day = since = current["day"]
    newest = _dumps(store, day)
    for earlier in reversed(store.days(DUMPS[0].asset)):
        if earlier < since:
            held = _dumps(store, earlier)
            if [each.data_hash for each in held] != [each.data_hash for each in newest]:
                break
            since = earlier
    dates = [revision.manifest["info"]["origin"].get("last_modified") for revision in _dumps(store, since)]
    if not dates or None in dates:
        return None
    return Freshness(day, since, max(parsedate_to_datetime(date).astimezone(UTC) for date in dates))


def _dumps(store: Store, day: str) -> list[Revision]:
    found = (store.latest(dump.asset, day) for dump in DUMPS)
    return [revision for revision in found if revision is not None]
