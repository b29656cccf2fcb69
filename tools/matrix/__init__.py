"""What tools/bench_matrix.py is made of."""
