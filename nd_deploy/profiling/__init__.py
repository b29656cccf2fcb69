"""How long models take, measured so that the figures can be compared."""
