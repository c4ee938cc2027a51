"""IMDb's daily dumps, turned into validated tables, documents, embeddings and honestly compared rating predictors.

The way of the data, one package a stage:

    dumps/       the four ``.tsv.gz`` files of a day, verified
    catalogue/   movies, and one JSON document per movie
    embeddings/  a vector per document, the nearest neighbours, the map
    models/      the split, the predictors, their comparison
    results/     predictions and the report

``store`` publishes what each stage made, ``orchestration`` wraps the stages as Dagster assets, ``cli`` and ``api`` are
the ways in. Stages are plain functions on paths and frames and do not know Dagster.
"""

__version__ = "0.1.0"
