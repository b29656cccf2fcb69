"""Graph surgery on the ND dialect, one rewrite a file."""
