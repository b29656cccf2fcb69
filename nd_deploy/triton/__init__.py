"""Bundles served by NVIDIA's Triton: its model repository, and the containers around it.

`export.export_triton` writes a repository, and `check.check_repository` says what Triton would
refuse in one. Neither is imported here: the command line's help needs no ONNX.
"""
