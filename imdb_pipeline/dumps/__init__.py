"""The four dumps of a day: where they come from, whether they are whole, what their columns are; and the sample."""
