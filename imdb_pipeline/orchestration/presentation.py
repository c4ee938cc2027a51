"""What the UI shows of an asset beside its lineage: tags, freshness, columns, pictures, and what is known of a result
that is held already. None of it is part of a key.
"""

import base64
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import dagster as dg

from imdb_pipeline.settings import Settings
from imdb_pipeline.store import Revision

MOST_PICTURE_BYTES = 60_000
"""A larger picture is left out: Dagster keeps every one of them in its database."""
_OWN = ("bytes", "seconds", "accelerator", "revision", "folder", "inputs", "served at", "reused")
"""What a materialization says of itself, beside names that begin with ``dagster/``."""
_COLUMNS = {
    "tconst": "IMDb's id of the movie",
    "title": "the title that IMDb shows",
    "original_title": "the title in the original language",
    "title_type": "movie or tvMovie",
    "is_adult": "whether IMDb calls it adult",
    "release_year": "year of release",
    "runtime_minutes": "length in minutes",
    "genres": "up to three genres",
    "average_rating": "IMDb's average rating, 1 to 10; null where nobody has voted",
    "num_votes": "votes behind the rating; null where nobody has voted",
    "credits": "person id, category and name, in billing order",
    "document_hash": "of the text that is embedded; the text itself is in the store's pool",
    "neighbours": "row numbers in this table, the nearest first",
    "cosines": "cosine similarity of each neighbour",
    "x": "place on the map, without a unit",
    "y": "place on the map, without a unit",
    "split": "train, validation or test, by a hash of the id",
    "split_by_time": "the same by release year: the newest movies test",
    "prediction": "predicted rating, 1 to 10",
    "low": "lower end of the 90 % interval",
    "high": "upper end of the 90 % interval",
    "basis": "held_out and out_of_fold: by a model fitted without the movie; future: the champion never saw it",
    "model": "id of the champion that predicted",
    "day": "UTC day of the dumps",
    "change": "added, removed or changed",
    "fields": "what changed in the document",
    "training_mean": "mean rating that the champion learnt from: what it has to beat",
}


def tags_of(*, group: str, gpu: bool, on_demand: bool) -> dict[str, str]:
    """Return the tags of an asset: ``device`` and ``runs``, to filter the catalogue and to select by."""
    runs = "on_demand" if on_demand else "training" if group == "models" else "daily"
    return {"device": "gpu" if gpu else "cpu", "runs": runs}


def is_watched(settings: Settings) -> bool:
    """Whether the source changes by itself, so that the sensor asks it and data can grow old: an address."""
    return settings.source.startswith(("http", "imdb"))


def expected_again(settings: Settings, *, trained: bool = False) -> dg.FreshnessPolicy | None:
    """Return within which time an asset is made again: ``[alerts] stale_hours``, of what is trained so long after
    ``[training] every_days``; None where no new data are to be expected.
    """
    if not is_watched(settings):
        return None
    hours = settings.alerts.stale_hours + (24 * settings.training.every_days if trained else 0)
    return dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=hours))


def columns(schema: Mapping[str, str]) -> dg.TableSchema:
    """Return a manifest's schema of a table as the UI shows it, with what is known of its columns."""
    return dg.TableSchema([dg.TableColumn(name, kind, _COLUMNS.get(name)) for name, kind in schema.items()])


def pictures(shown: Mapping[str, bytes]) -> dict[str, dg.MarkdownMetadataValue]:
    """Return PNGs by name as metadata that show at a click; without those that are too large."""
    return {
        name: dg.MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(png).decode()})")
        for name, png in shown.items()
        if len(png) <= MOST_PICTURE_BYTES
    }


def told_of(instance: dg.DagsterInstance, revision: Revision) -> dict[str, Any]:
    """Return what the newest materialization of a revision told of its data, nothing where Dagster does not know it.

    So a day that is the same as one before shows the same figures, and its plots have no gap.
    """
    wanted = dg.AssetRecordsFilter(dg.AssetKey(revision.asset), asset_partitions=[revision.day])
    for record in instance.fetch_materializations(wanted, limit=1).records:
        told = record.asset_materialization.metadata if record.asset_materialization else {}
        if told.get("revision") == dg.MetadataValue.text(revision.id):
            return {name: value for name, value in told.items() if name not in _OWN and not name.startswith("dagster/")}
    return {}
