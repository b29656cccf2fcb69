"""The Open Inference Protocol over gRPC.

It is not called `grpc`, which is the library's own name.
"""
