"""A measurement in the formats that people and programs read."""
