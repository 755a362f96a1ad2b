"""edgesr: compress hyperspectral super-resolution networks for the edge, and prove that they run there."""

__version__ = "0.1.0"
