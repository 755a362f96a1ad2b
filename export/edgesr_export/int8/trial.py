"""Any subset of a network's layers in int8, as something to run."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from edgesr_export.int8.calibrate import Calibration
from edgesr_export.int8.place import place
from edgesr_export.int8.scheme import QuantScheme
from edgesr_export.model_file import write_model
from edgesr_export.rewrite import rewrite
from edgesr_export.runtime import Session

Network = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Bench:
    """Where subsets are tried, in the form in which they will run.

    Attributes:
        model: the network in float32, before the rewrites of the target.
        calibration: of all layers that can be quantised.
        scheme: of the target.
        folder: for files that live as long as one trial.
        threads: of the sessions.
    """

    model: onnx.ModelProto
    calibration: Calibration
    scheme: QuantScheme
    folder: Path
    threads: int = 1

    def quantised(self, chosen: Collection[str]) -> onnx.ModelProto:
        """The network with the layers named in ``chosen`` in int8; all others in float32."""
        return place(self.model, self.calibration, chosen, self.scheme)

    def session(self, chosen: Collection[str]) -> Network:
        """The same after the rewrites of the target, loaded for its metrics: float is float32."""
        return self._load(chosen, "float32")

    def timed(self, chosen: Collection[str]) -> Network:
        """The same, loaded for its speed: with OpenVINO, float is bfloat16 where the CPU has it."""
        return self._load(chosen, "bfloat16")

    def _load(self, chosen: Collection[str], precision: str) -> Network:
        path = self.folder / "trial.onnx"
        model, _ = rewrite(self.quantised(chosen), self.scheme.name)
        write_model(model, path)
        try:
            if self.scheme.name != "openvino":
                return Session(path, self.threads)
            from edgesr_export.openvino import abilities, openvino_session

            known = precision if "BF16" in abilities() else "float32"
            return openvino_session(path, self.threads, known)
        finally:
            path.unlink()
