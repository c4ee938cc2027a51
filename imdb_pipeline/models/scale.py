"""IMDb's rating scale, which every prediction is kept on, and the embeddings a predictor can take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imdb_pipeline.errors import PipelineError

if TYPE_CHECKING:
    import numpy as np

    from imdb_pipeline.models.examples import Inputs

LOWEST_RATING = 1.0
HIGHEST_RATING = 10.0


def on_scale(predictions: np.ndarray) -> np.ndarray:
    """Return predictions as float64, kept between 1 and 10."""
    import numpy as np

    return np.clip(predictions.astype(np.float64), LOWEST_RATING, HIGHEST_RATING)


def mean_squared_error(predictions: np.ndarray, ratings: np.ndarray) -> float:
    """Return the mean squared error of predictions, kept on the scale, in float64."""
    import numpy as np

    return float(np.mean((on_scale(predictions) - ratings.astype(np.float64)) ** 2))


def embeddings_of(inputs: Inputs, dimension: int) -> np.ndarray:
    """Return the embeddings of ``inputs``, or raise ``PipelineError`` where they are not of ``dimension``."""
    if inputs.embeddings.shape[1] != dimension:
        raise PipelineError(
            f"the predictor was fitted on {dimension}-D embeddings, these are {inputs.embeddings.shape[1]}-D; "
            "embed with the encoder it was trained with, or fit it again with `imdb-pipeline run --force`"
        )
    return inputs.embeddings
