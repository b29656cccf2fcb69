"""Bundles on Ray Serve: the application that replicas run, and the file that configures it.

`export.export_ray` writes the file. `deployment` imports Ray, which is installed only where
replicas run.
"""
