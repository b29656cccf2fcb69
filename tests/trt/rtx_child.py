"""Parses and builds models with TensorRT-RTX, in a process of its own since plugins can abort one.

Reads what to do from the JSON file that is its argument, and prints one line of JSON a job.
"""

import json
import sys
from pathlib import Path

import tensorrt_rtx as trt

from nd_deploy.compat.trt import network_flags, plugin_of


class Log(trt.ILogger):
    """Keeps what is no mere information."""

    def __init__(self):
        trt.ILogger.__init__(self)
        self.lines = []

    def log(self, severity, message):
        if severity in (severity.INTERNAL_ERROR, severity.ERROR):
            self.lines.append(message)


def main(request):
    log = Log()
    # Alive until the end: engines and networks refer to what it registers.
    for namespace in request["twins"]:
        from nd_deploy.plugins import twin

        twin.register(trt, namespace)
    for library in request["libraries"]:
        trt.get_plugin_registry().load_library(library)
    builder = trt.Builder(log)
    for job in request["jobs"]:
        sys.stdout.write(json.dumps(work(builder, log, job, request["libraries"])) + "\n")
        sys.stdout.flush()


def work(builder, log, job, libraries):
    log.lines.clear()
    network = builder.create_network(network_flags(trt))
    parser = trt.OnnxParser(network, log)
    if job["override"]:
        parser.set_flag(trt.OnnxParserFlag.ENABLE_PLUGIN_OVERRIDE)
    parsed = parser.parse_from_file(job["model"])
    errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
    if not parsed:
        return {"errors": errors or log.lines, "layers": [], "plugins": [], "types": [], "bytes": 0}
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    kinds = [layer.type.name for layer in layers]
    types = {layer.get_output(0).dtype.name for layer in layers if layer.num_outputs}
    plugins = [plugin_of(trt, layer) for layer in layers if layer.type == trt.LayerType.PLUGIN_V3]
    found = {"errors": errors, "layers": kinds, "plugins": plugins, "types": sorted(types)}
    if not job["build"]:
        return found | {"bytes": 0}
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    for name, shapes in job["shapes"].items():
        profile.set_shape(name, *shapes)
    if job["shapes"]:
        config.add_optimization_profile(profile)
    if job["embed"]:
        config.plugins_to_serialize = libraries
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        return found | {"errors": [*errors, *log.lines], "bytes": 0}
    return found | {"bytes": engine.nbytes}


main(json.loads(Path(sys.argv[1]).read_text()))
