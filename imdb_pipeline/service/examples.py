"""Worked examples for OpenAPI: of the synthetic sample catalogue, never of real data."""

from __future__ import annotations

from typing import Any

TCONST = "tt21660287"
TITLE = "Breven"

MOVIE = {
    "tconst": TCONST,
    "title": TITLE,
    "original_title": TITLE,
    "title_type": "movie",
    "is_adult": False,
    "release_year": 2013,
    "runtime_minutes": 101,
    "genres": ["Documentary", "History"],
    "average_rating": 7.5,
    "num_votes": 2679651,
    "credits": [
        {"nconst": "nm12386578", "category": "actor", "name": "Sven Granström"},
        {"nconst": "nm2938879", "category": "director", "name": "Rune Sandman"},
    ],
}

DESCRIBED = {
    "title": "The Lighthouse Keeper's Ledger",
    "genres": ["Drama", "Mystery"],
    "release_year": 2027,
    "directors": ["Rune Sandman"],
    "actors": ["Cleo Invented"],
}
"""A movie that somebody describes."""

SIMILAR = [
    {
        "tconst": "tt26077008",
        "title": "Huset",
        "release_year": 2020,
        "average_rating": 5.6,
        "num_votes": 43,
        "cosine": 0.91966,
    },
    {
        "tconst": "tt25012157",
        "title": "Hämnden i norr",
        "release_year": 2019,
        "average_rating": 7.2,
        "num_votes": 192023,
        "cosine": 0.91611,
    },
]

LISTED = [{name: value for name, value in row.items() if name != "cosine"} for row in SIMILAR]

_CHAMPION = {"model": "boosting", "model_id": "boosting-2026-11-23-dcbfef01"}

PREDICTION = {
    "tconst": TCONST,
    "title": TITLE,
    "release_year": 2013,
    **_CHAMPION,
    "prediction": 7.27,
    "low": 5.8,
    "high": 8.74,
    "basis": "out_of_fold",
    "split": "train",
    "average_rating": 7.5,
    "num_votes": 2679651,
}

_NOTES: dict[str, Any] = {
    "ambiguous": [
        {
            "field": "directors",
            "name": "Rune Sandman",
            "people_of_that_name": 2,
            "nconst": "nm2938879",
            "credits": 3,
            "others": [{"nconst": "nm30518226", "credits": 1}],
        }
    ],
    "unknown": [{"field": "actors", "person": "Cleo Invented"}],
    "unknown_genres": [],
    "unknown_categories": [],
    "repeated": [],
    "missing": ["is_adult", "runtime_minutes", "writers", "producers", "principals"],
}

DESCRIBED_PREDICTION = {
    "title": DESCRIBED["title"],
    "release_year": 2027,
    **_CHAMPION,
    "prediction": 6.41,
    "low": 4.9,
    "high": 7.92,
    "basis": "future",
    **_NOTES,
}

_EFFECTS: dict[str, Any] = {
    "prediction": 7.28,
    "fields": [{"field": "genres", "prediction": 7.18, "effect": 0.1}],
    "people": [
        {"field": "directors", "name": "Rune Sandman", "nconst": "nm2938879", "prediction": 7.26, "effect": 0.02}
    ],
    "other_directors": [],
    "low": 5.82,
    "high": 8.75,
    **_CHAMPION,
    "contributions": {
        "model": "boosting",
        "base": 6.12,
        "fields": [{"field": "genres", "effect": 0.63}, {"field": "directors", "effect": 0.53}],
        "prediction": 7.28,
    },
    "says": "Each effect is of one change alone, so they do not add up.",
}

EXPLANATION = {
    "tconst": TCONST,
    "title": TITLE,
    "release_year": 2013,
    **_EFFECTS,
    "ambiguous": [],
    "unknown": [],
    "learned": True,
}

DESCRIBED_EXPLANATION = {"title": DESCRIBED["title"], "release_year": 2027, **_EFFECTS, **_NOTES, "learned": False}

LEADERBOARD = [
    {
        "model": "boosting",
        "n_train": 324,
        "validation_mse": 0.631,
        "test_mse": 1.073,
        "r2": 0.406,
        "r2_low": 0.135,
        "r2_high": 0.547,
        "fit_seconds": 4.1,
        "device": "cpu",
    }
]

HEALTH = {
    "status": "behind",
    "day": "2026-03-04",
    "release": "2026-03-04-5d2a91c7",
    "released_at": "2026-03-04T06:12:07+00:00",
    "age_hours": 7.5,
    "problem": "store/movies/2026-03-05/20260305T061207.000001-9c31e0aa: the manifest cannot be read",
    "version": "0.1.0",
}

SEVERAL = {
    "detail": "2 movies are called Twin: give one of tt0000005 (1999), tt0000006 (2004), "
    "or the year in brackets after the title",
    "movies": [
        {"tconst": "tt0000005", "title": "Twin", "release_year": 1999},
        {"tconst": "tt0000006", "title": "Twin", "release_year": 2004},
    ],
}
