"""Compress a network: one call from Python, or ``python -m edgesr.compress``."""

from edgesr.compress.api import compress

__all__ = ["compress"]
