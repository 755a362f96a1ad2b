"""edgesr compresses hyperspectral super-resolution networks for the edge, and proves it."""

__version__ = "0.1.0"
