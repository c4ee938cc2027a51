"""Ridge regression on the embeddings: a line, as in ``linear``, with a penalty that is chosen on validation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from imdb_pipeline.models.linear import LinearModel, NormalEquations, along
from imdb_pipeline.models.scale import mean_squared_error
from imdb_pipeline.models.search import Axis, search

if TYPE_CHECKING:
    from imdb_pipeline.models.examples import Examples

ALPHAS = Axis((0.1, 0.3, 1.0, 3.0, 10.0), 3.0, 1e-6, 1e6)
"""The penalties; the study's lay between .5 and 2."""


def fit(train: Examples, validation: Examples, *, seed: int, device: str, alphas: Axis = ALPHAS) -> LinearModel:
    """Fit least squares with a penalty ``alpha`` on the squared weights, chosen on validation, in float64 on the CPU.

    ``seed`` and ``device`` make no difference.
    """
    equations = NormalEquations.of(train)

    def errors_of(points: list[dict[str, float]]) -> list[float]:
        lines = [equations.solve(point["alpha"]) for point in points]
        return [
            mean_squared_error(along(validation.inputs.embeddings, weights) + intercept, validation.ratings)
            for weights, intercept in lines
        ]

    found = search({"alpha": alphas}, errors_of)
    settings = {
        "method": "ridge regression",
        "alpha": found.best["alpha"],
        "limits": {"alpha": alphas.limits},
        "on_edge": found.on_edge,
        "chosen_on": "validation",
    }
    weights, intercept = equations.solve(found.best["alpha"])
    return LinearModel(weights, intercept, settings, found.tried)


def refit(model: LinearModel, rated: Examples, *, seed: int, device: str) -> LinearModel:
    """Fit anew on all of ``rated`` with the penalty that ``model`` chose."""
    weights, intercept = NormalEquations.of(rated).solve(model.settings["alpha"])
    return replace(model, weights=weights, intercept=intercept)
