"""Settings for every test."""

import os

# Several workers that each run BLAS and PyTorch on all cores slow each other down tenfold. This
# stands before numpy's first import, which reads it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# ONNX Runtime reads this when it is imported, which some tests do before this package turns it off.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
