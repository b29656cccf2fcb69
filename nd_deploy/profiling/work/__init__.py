"""What a network has to compute and to move, and what the machine can do."""
