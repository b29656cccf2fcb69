"""Between requests and a loaded model: waiting, deadlines, joining, and the threads that run it."""
