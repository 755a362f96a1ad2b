"""A target as another distribution would bring it: the reference implementation of ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from edgesr_export.targets import Runtime, Target
from onnx.helper import tensor_dtype_to_np_dtype
from onnx.reference import ReferenceEvaluator


class ReferenceRunner:
    """In NumPy: slow, and nobody's kernels."""

    name, device, threads = "ONNX reference", "cpu", 1

    def __init__(self, path: Path) -> None:
        self._evaluator = ReferenceEvaluator(str(path))
        kind = self._evaluator.input_types_[0].tensor_type.elem_type
        self._dtype = tensor_dtype_to_np_dtype(kind)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        feed = {self._evaluator.input_names[0]: image.astype(self._dtype)}
        answer: np.ndarray = self._evaluator.run(None, feed)[0]
        return answer


class NumpyTarget(Target):
    """Takes what ONNX Runtime takes."""

    name, label = "numpy", "ONNX reference"
    precisions = ("fp32", "fp16")

    @property
    def runtimes(self) -> Sequence[Runtime]:
        return (Runtime("numpy", lambda path, *_: ReferenceRunner(path), lambda: "", self.name),)
