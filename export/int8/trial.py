"""Any subset of a network's layers in int8, as something to run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import onnx

from export.int8.calibrate import Calibration
from export.int8.flavour import Flavour
from export.int8.place import place
from export.model_file import write_model
from export.runtime import Session


@dataclass(frozen=True)
class Bench:
    """Where subsets are tried.

    Attributes:
        model: the network in float32.
        calibration: of all layers that can be quantised.
        flavour: of the target.
        folder: for files that live as long as one trial.
        threads: of the sessions.
    """

    model: onnx.ModelProto
    calibration: Calibration
    flavour: Flavour
    folder: Path
    threads: int = 1

    def quantised(self, chosen: Collection[str]) -> onnx.ModelProto:
        """The network with the layers named in ``chosen`` in int8; all others in float32."""
        return place(self.model, self.calibration, chosen, self.flavour)

    def session(self, chosen: Collection[str]) -> Session:
        """The same, loaded."""
        path = self.folder / "trial.onnx"
        write_model(self.quantised(chosen), path)
        try:
            return Session(path, self.threads)
        finally:
            path.unlink()
