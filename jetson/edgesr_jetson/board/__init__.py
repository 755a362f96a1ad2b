"""What runs on the board: Python 3.8, the standard library, numpy, and TensorRT or onnxruntime."""

import os

# Read while onnxruntime is imported; without it, 1.29 and newer tell their maker what they run.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
