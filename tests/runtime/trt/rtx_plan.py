"""Builds an engine of y = x + x with TensorRT-RTX's own interface, into the file named."""

import sys
from pathlib import Path

import tensorrt_rtx as trt

logger = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(logger)
network = builder.create_network(0)
x = network.add_input("x", trt.float32, (-1, 3))
y = network.add_elementwise(x, x, trt.ElementWiseOperation.SUM).get_output(0)
y.name = "y"
network.mark_output(y)
config = builder.create_builder_config()
profile = builder.create_optimization_profile()
profile.set_shape("x", (1, 3), (2, 3), (4, 3))
config.add_optimization_profile(profile)
Path(sys.argv[1]).write_bytes(bytes(builder.build_serialized_network(network, config)))
