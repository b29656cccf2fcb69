"""Bundles served over the Open Inference Protocol, from one process."""
