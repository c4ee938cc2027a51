"""From the dumps to movies and documents."""
