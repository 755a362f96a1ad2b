"""What the library costs, measured; reads it and is read by nobody.

``make bench`` runs everything here, saves ``results/MACHINE.json`` and renders its tables; each
module says what it measures. ``README.md`` beside this file holds the tables.
"""

import edgesr_export  # noqa: F401  (keeps ONNX Runtime, which is imported here directly, from telling)
