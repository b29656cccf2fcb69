"""Models in runtimes, made ready to be run on the same inputs time and again."""
