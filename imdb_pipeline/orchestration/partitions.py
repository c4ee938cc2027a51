"""The days: one partition each, named by the UTC date of the dumps."""

import dagster as dg

FIRST_DAY = "2020-01-01"
DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_DAY, timezone="UTC", end_offset=1)
