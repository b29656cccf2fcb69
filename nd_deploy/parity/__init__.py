"""Proof that the deployed model is the trained network."""
