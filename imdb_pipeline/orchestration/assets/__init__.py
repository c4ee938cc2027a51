"""One module a group, in the order of the data; importing this package registers every asset."""

from imdb_pipeline.orchestration.assets import dumps, catalogue, embeddings, models, champion, evaluation, results  # noqa: I001

__all__ = ["catalogue", "champion", "dumps", "embeddings", "evaluation", "models", "results"]
