"""What comes out at the end: predictions, figures, the report."""
