"""Images as requests: decoding within limits, and the classes that a model sees in them."""
