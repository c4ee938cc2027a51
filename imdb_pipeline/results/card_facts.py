"""What the model card says, gathered from what is published; how it is worded belongs to ``model_card``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imdb_pipeline.champions import CHAMPION, INTERVALS, METRICS, UNSEEN

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from imdb_pipeline.store import Revision

FACTS_FILE = "facts.json"
PACKAGES = ("polars", "torch", "transformers", "scikit-learn", "lightgbm")
_BIASED = 0.3
"""Rating points of mean error from which a group is named among the limits."""
_FEWEST_BIASED = 100
_MOST_BIASED = 5


def card_facts(
    revisions: Mapping[str, Revision], *, day: str, source: str, min_votes: int, seed: int
) -> dict[str, Any]:
    """Return the facts of ``model_card.card_sections``, as JSON values.

    Parameters
    ----------
    revisions
        ``champion``, ``rating_predictions``, ``prediction_ledger``, ``movies``, ``rating_split``.
    source
        As in the settings, with no password in it; all but ``sample`` are IMDb's.
    seed
        Of the resampling.

    Returns
    -------
    dict
        The keys of ``card_sections``. Where there is no champion, nothing that is of one. ``groups`` and
        ``calibration`` are of the champion's predictions of test movies, by a model that had not seen them; a movie
        that is gone, or has no votes any more, is in no group.
    """
    import polars as pl

    from imdb_pipeline.models.conformal import SETTINGS_FILE
    from imdb_pipeline.results.report import SAMPLE_SHOWN

    movies = pl.read_parquet(revisions["movies"].file("movies.parquet"))
    champion = revisions["champion"]
    chosen = json.loads(champion.file(CHAMPION).read_bytes())
    facts: dict[str, Any] = {
        "day": day,
        "source": SAMPLE_SHOWN if source == "sample" else source,
        "imdb": source != "sample",
        "min_votes": min_votes,
        "champion": {"model": chosen["model"], "reason": chosen["reason"]},
        "counts": {
            "movies": len(movies),
            "of them rated": movies["average_rating"].count(),
            "with votes enough to learn from": revisions["rating_split"].manifest["rows"],
        },
        "ledger": json.loads(revisions["prediction_ledger"].file("score.json").read_bytes()),
        "made": {"versions of this day": versions()},
    }
    if chosen["model"] is None:
        return facts
    metrics = json.loads(champion.file(METRICS).read_bytes())
    unseen = pl.read_parquet(champion.file(UNSEEN))
    judged = {"by id": metrics["metrics"]} | ({"by time": metrics["by_time"]["metrics"]} if metrics["by_time"] else {})
    trained = {"by id": metrics["n_train"], "by time": (metrics["by_time"] or {}).get("n_train")}
    intervals = json.loads(champion.file(f"{INTERVALS}/{SETTINGS_FILE}").read_bytes())
    facts["counts"]["the champion was fitted on"] = chosen["rated"]
    facts |= {
        "champion": {
            **facts["champion"],
            "method": metrics["settings"].get("method"),
            "settings": metrics["settings"],
            "id": chosen["id"],
        },
        "splits": {
            split: {"train": trained[split], **{part: parts[part]["n"] for part in ("validation", "test")}}
            for split, parts in judged.items()
        },
        "metrics": judged,
        "intervals": {name: value for name, value in intervals.items() if name != "features"},
        "coverage": json.loads(revisions["rating_predictions"].file("coverage.json").read_bytes()),
        **_errors(unseen, movies, seed),
    }
    info = champion.manifest["info"]
    # What an older champion was made on stands in its own day's manifest.
    new = champion.day == chosen["trained"] and "challenger" not in chosen["challenge"]
    facts["made"] = {
        "fitted on the movies of": chosen["trained"],
        "last challenge": chosen["challenge"]["why"],
        **({"proof": chosen["proof"]["why"]} if "proof" in chosen else {}),
        "folds": chosen["folds"],
        "seed": info["seed"],
        **({"device": info["device_name"], "seconds of fitting": info["seconds"]} if new else {}),
        **facts["made"],
    }
    return facts | {"limits": _limits(facts)}


def _errors(unseen: pl.DataFrame, movies: pl.DataFrame, seed: int) -> dict[str, Any]:
    """Return errors by group and calibration of the test movies, and nothing where none of them is left."""
    import polars as pl

    from imdb_pipeline.models.evaluate import calibration
    from imdb_pipeline.models.groups import by_group, people_seen

    columns = ("tconst", "num_votes", "release_year", "genres", "credits")
    judged = (
        unseen.filter(split="test")
        .join(movies.select(columns), on="tconst", maintain_order="left")
        .filter(pl.col("num_votes").is_not_null())
    )
    if judged.is_empty():
        return {}
    training = movies.join(unseen.filter(split="train"), on="tconst", how="semi")
    judged = judged.with_columns(people_seen(judged, training))
    return {
        "groups": by_group(judged, seed=seed),
        "calibration": calibration(judged["prediction"].to_numpy(), judged["rating"].to_numpy(), seed=seed),
    }


def _limits(facts: Mapping[str, Any]) -> list[str]:
    """Return what this champion's own figures say against it."""
    limits = []
    by_id, by_time = (facts["metrics"].get(split, {}).get("test", {}) for split in ("by id", "by time"))
    if by_id.get("r2") is not None and by_time.get("r2") is not None:
        limits.append(
            f"Fitted on earlier years alone, its R² is {by_time['r2']:.3f} on movies of the years after; "
            f"on movies at random it is {by_id['r2']:.3f}."
        )
    if by_id.get("r2_low") is not None and by_id["r2_low"] <= 0:
        limits.append(
            f"On the {by_id['n']:,} movies of test it is not shown to be better than the mean: its R² is "
            f"{by_id['r2']:.3f} [{by_id['r2_low']:.3f}, {by_id['r2_high']:.3f}]."
        )
    level = facts["coverage"]["level"]
    limits += [
        f"Of movies with {bucket['votes']} votes the {100 * level:.0f} % interval held "
        f"{100 * bucket['coverage']:.1f} %."
        for bucket in facts["coverage"]["by_votes"]
        if bucket["n"] and bucket["coverage_high"] < level
    ]
    biased = [
        row
        for row in facts.get("groups", ())
        if row["n"] >= _FEWEST_BIASED and min(abs(row["bias_low"]), abs(row["bias_high"])) > _BIASED
        if row["bias_low"] * row["bias_high"] > 0
    ]
    for row in sorted(biased, key=lambda row: -abs(row["bias"]))[:_MOST_BIASED]:
        high = "high" if row["bias"] > 0 else "low"
        limits.append(f"It predicts {abs(row['bias']):.2f} too {high} for {row['grouping']}: {row['group']}.")
    return limits


def versions() -> dict[str, str]:
    """Return the versions of this package and of those whose results may differ from one to the next."""
    from importlib.metadata import version

    from imdb_pipeline import __version__

    return {"imdb_pipeline": __version__, **{name: version(name) for name in PACKAGES}}
