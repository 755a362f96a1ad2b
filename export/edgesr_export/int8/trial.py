"""Any subset of a network's layers in int8, as something to run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgesr_export.int8.calibrate import Calibration
from edgesr_export.int8.place import place
from edgesr_export.model_file import write_model
from edgesr_export.rewrite import rewrite
from edgesr_export.rewrite.transposed import by_convolutions
from edgesr_export.targets import Network, Target


@dataclass(frozen=True)
class Bench:
    """Where subsets are tried, in the form in which they will run.

    Attributes:
        model: the network in float32, before the rewrites of the target.
        calibration: of all layers that can be quantised, in the form in which they are int8.
        target: what it will run on.
        folder: for files that live as long as one trial.
        threads: of the sessions.
    """

    model: onnx.ModelProto
    calibration: Calibration
    target: Target
    folder: Path
    threads: int = 1

    def quantised(self, chosen: Collection[str]) -> onnx.ModelProto:
        """The network with the layers named in ``chosen`` in int8; all others in float32."""
        model = by_convolutions(self.model, chosen)
        return place(model, self.calibration, chosen, self.target.scheme)

    def session(self, chosen: Collection[str]) -> Network:
        """The same after the rewrites of the target, loaded for its metrics."""
        return self._load(chosen, timed=False)

    def timed(self, chosen: Collection[str]) -> Network:
        """The same, loaded for its speed."""
        return self._load(chosen, timed=True)

    def _load(self, chosen: Collection[str], *, timed: bool) -> Network:
        path = self.folder / "trial.onnx"
        model, _ = rewrite(self.quantised(chosen), self.target.rules)
        write_model(model, path)
        try:
            return self.target.trial(path, self.threads, timed=timed)
        finally:
            path.unlink()
