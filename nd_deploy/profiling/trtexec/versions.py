"""The versions of TensorRT whose trtexec is known."""

VERSIONS = ("10", "11")
