"""Tests by behaviour, on real files, servers, runs and a real small encoder."""
