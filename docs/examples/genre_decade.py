"""The mean rating of the training movies of the same first genre and decade, shrunken towards the mean of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imdb_pipeline.models.predictor import Predictor
from imdb_pipeline.models.saved import read_settings, write_settings
from imdb_pipeline.models.scale import mean_squared_error, on_scale

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import polars as pl

    from imdb_pipeline.models.examples import Examples, Inputs

PREDICTOR = Predictor(__name__, "GenreDecadeModel", reads_embeddings=False)


@dataclass(frozen=True, eq=False)
class GenreDecadeModel:
    """A rating by ``genre decade``, and one for all others; ``settings`` holds both."""

    settings: dict[str, Any]
    curve: list[dict[str, Any]]

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Return a rating for each of the n movies: float64, shape (n,)."""
        import numpy as np

        means, mean = self.settings["means"], self.settings["mean"]
        return on_scale(np.array([means.get(group, mean) for group in _groups(inputs.movies)]))

    def save(self, folder: Path) -> None:
        """Write the model into ``folder``."""
        write_settings(folder, self.settings, self.curve)

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> GenreDecadeModel:
        """Read what ``save`` wrote."""
        return cls(*read_settings(folder, {"means": dict, "mean": float}))


def fit(train: Examples, validation: Examples, *, seed: int, device: str) -> GenreDecadeModel:
    """Learn the means from ``train``; choose on ``validation`` how many movies the mean of all counts for."""
    tried = []
    for strength in (1, 3, 10, 30, 100):
        model = _learn(train, strength, [])
        mse = mean_squared_error(model.predict(validation.inputs), validation.ratings)
        tried.append({"strength": strength, "validation_mse": mse})
    best = min(tried, key=lambda each: each["validation_mse"])
    return _learn(train, best["strength"], tried)


def refit(model: GenreDecadeModel, rated: Examples, *, seed: int, device: str) -> GenreDecadeModel:
    """Learn the means from all of ``rated``, with the strength that was chosen."""
    return _learn(rated, model.settings["strength"], model.curve)


def _learn(examples: Examples, strength: float, curve: list[dict[str, Any]]) -> GenreDecadeModel:
    import polars as pl

    mean = float(examples.ratings.mean(dtype="float64"))
    rated = pl.DataFrame({"group": _groups(examples.inputs.movies), "rating": examples.ratings})
    shrunken = (pl.col("rating").cast(pl.Float64).sum() + strength * mean) / (pl.len() + strength)
    means = dict(rated.group_by("group").agg(shrunken).sort("group").iter_rows())
    settings = {"method": "shrunken means by genre and decade", "strength": strength, "mean": mean, "means": means}
    return GenreDecadeModel(settings, curve)


def _groups(movies: pl.DataFrame) -> list[str]:
    import polars as pl

    genre = pl.col("genres").list.first().fill_null("none")
    decade = (pl.col("release_year") // 10 * 10).cast(pl.String).fill_null("no year")
    return movies.select(group=pl.concat_str(genre, decade, separator=" "))["group"].to_list()
