"""From what a user, or a bundle, names to a network of PyTorch."""
