"""A key for the tests of engines."""

from nd_deploy.runtime.tensorrt.kept.engine_key import EngineKey

KEY = EngineKey(
    model_sha256="a" * 64,
    library="tensorrt",
    version="10.16.1",
    device="NVIDIA H200",
    compute_capability="9.0",
    precision="float32",
    tf32=False,
    profiles="x: 1x3x8x8",
)
