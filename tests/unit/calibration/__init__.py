"""Measuring, recommending and reckoning."""
