"""What runs on the board: Python 3.8, the standard library, numpy, and TensorRT or onnxruntime."""
