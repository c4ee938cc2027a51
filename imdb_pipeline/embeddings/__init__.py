"""From documents to vectors, neighbours and the map."""
