"""Predictors of your own: every module in this folder is one, by the name of its file; see docs/extending.md."""
