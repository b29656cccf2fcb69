"""Engines on disk: what one is kept under, its files, and the cache."""
