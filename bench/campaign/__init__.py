"""What campaigns cost and bear when everybody logs in at once. `python -m bench.campaign`."""
