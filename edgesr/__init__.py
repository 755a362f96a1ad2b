"""edgesr compresses hyperspectral super-resolution networks for the edge, and proves it."""

import edgesr_export  # noqa: F401  (nothing heavy; keeps ONNX Runtime from telling, whoever imports it)

__version__ = "0.1.0"
