"""Measuring: quality, tiles, cost and latency."""
