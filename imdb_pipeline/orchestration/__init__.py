"""Dagster: assets, checks, resources, jobs, schedules and sensors. No stage's logic belongs here."""
