"""TensorRT plugins for what cannot fold."""
