"""Examples that are documentation and tests at once."""
