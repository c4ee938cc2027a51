"""The report's section on what a day changed against the previous good one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from imdb_pipeline.store import Revision

TOP = 25
"""Movies in a list; the page folds what is beyond the first ten."""


def changes_section(revision: Revision | None) -> dict[str, Any] | None:
    """Return what the section on the day's changes shows; None leaves it out."""
    import polars as pl

    from imdb_pipeline.catalogue.changes import read_changes

    if revision is None:
        return None
    changes = read_changes(revision.folder)
    counts, listed = changes.counts, changes.changes
    fields = listed.filter(pl.col("change") == "changed")["fields"]
    named = fields.drop_nulls().explode(keep_nulls=False).value_counts(sort=True, name="documents")

    def most_voted(frame: pl.DataFrame, column: str, value: str, votes: str = "num_votes") -> list[dict[str, Any]]:
        chosen = frame.filter(pl.col(column) == value)
        return chosen.sort(votes, "tconst", descending=[True, False], nulls_last=True).head(TOP).to_dicts()

    return {
        "previous_day": counts["previous_day"],
        "share": counts["share_changed"],
        "min_votes": changes.min_votes,
        "counts": {
            "movies added": counts["added"],
            "movies removed": counts["removed"],
            "documents changed": counts["changed"],
            "ratings changed": counts["ratings_changed"],
            "votes changed": counts["votes_changed"],
            f"reached {changes.min_votes} votes": counts["crossed_up"],
            f"fell below {changes.min_votes} votes": counts["crossed_down"],
        },
        "movers": changes.movers.head(TOP).to_dicts(),
        "up": most_voted(changes.crossed, "direction", "up"),
        "down": most_voted(changes.crossed, "direction", "down", "num_votes_before"),
        "added": most_voted(listed, "change", "added"),
        "removed": most_voted(listed, "change", "removed"),
        "fields": named.sort("documents", "fields", descending=[True, False]).to_dicts(),
        "fields_unknown": fields.null_count(),
        "names": [
            {"what": what, "name": name, "count": count}
            for what, names in (
                ("new credit category", changes.new_categories),
                ("credit category gone", changes.gone_categories),
                ("new genre", changes.new_genres),
                ("genre gone", changes.gone_genres),
                ("new title type", changes.new_title_types),
                ("title type gone", changes.gone_title_types),
            )
            for name, count in names.items()
        ],
    }
