"""The algebra of folding D into linear layers, in float64 and free of any graph."""
