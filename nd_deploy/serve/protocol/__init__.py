"""The Open Inference Protocol: between the bytes of clients and the types of the server.

Pure functions: nothing here reads a socket, waits or knows which framework carries the bytes.
"""
