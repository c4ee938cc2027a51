"""The HTTP service: the answers of a home's current release, and its pages."""
