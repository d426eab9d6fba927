"""What operators ask over HTTP, on a port of its own (DESIGN 2, 5.8)."""
