"""From bundles to models that run, and the repository that swaps them while it serves."""
