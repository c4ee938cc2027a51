"""``python -m imdb_pipeline.cli``."""

from imdb_pipeline.cli import main

main()
