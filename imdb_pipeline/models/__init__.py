"""The split, the predictors, and how they are judged. What they predict for the catalogue belongs to ``results``."""
