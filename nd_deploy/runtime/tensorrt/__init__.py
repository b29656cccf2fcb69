"""Builds TensorRT and TensorRT-RTX engines, and runs them."""
