"""What a measurement was made on."""
