"""Engines at work: loading, memory, CUDA graphs."""
