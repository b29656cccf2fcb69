"""The parts of tools/bench_serve.py."""
