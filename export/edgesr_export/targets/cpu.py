"""ONNX Runtime: on the CPU, which the files are made for, and on a GPU, which runs them too."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesr_export.targets._base import Compare, Runtime, Target, not_installed, register

if TYPE_CHECKING:
    import numpy as np
    from onnxscript.rewriter import RewriteRuleClassBase

    from edgesr_export.int8.scheme import QuantScheme
    from edgesr_export.profile import Profiled
    from edgesr_export.runner import Runner


@register
class Cpu(Target):
    """What every run makes, and what the other files are compared in."""

    name, label = "cpu", "ONNX Runtime, CPU"
    precisions = ("fp32", "fp16", "int8")
    by_default = True
    quantises = True

    @property
    def rules(self) -> Sequence[type[RewriteRuleClassBase]]:
        from edgesr_export.rewrite.gated_concat import GatedConcatChannelsLast
        from edgesr_export.rewrite.mean_of_parts import MeanOfParts
        from edgesr_export.rewrite.slabs import SlabsOfBands

        return SlabsOfBands, GatedConcatChannelsLast, MeanOfParts

    @property
    def scheme(self) -> QuantScheme:
        """uint8 activations: kernels of ONNX Runtime for int8 activations are slower than those.

        It has no int8 convolution of float output, so pairs stand behind the layers too; on the
        inputs alone they would be two passes over the data for nothing.
        """
        import numpy as np

        from edgesr_export.int8.scheme import QuantScheme

        return QuantScheme(np.uint8, symmetric=False, outputs=True, timed=True)

    @property
    def runtimes(self) -> Sequence[Runtime]:
        return (
            Runtime("onnxruntime", partial(_open, "cpu"), partial(_missing, "cpu"), "cpu"),
            *(
                Runtime(f"onnxruntime-{kind}", partial(_open, kind), partial(_missing, kind), "cpu")
                for kind in ("cuda", "tensorrt")
            ),
        )

    def check(self, path: Path, compare: Compare, tolerance: float | None) -> Sequence[str]:
        """Nothing: every form of the network was compared in ONNX Runtime."""
        return ()

    def profile(
        self,
        path: Path,
        precision: str,
        image: np.ndarray,
        *,
        engine: Path | None = None,
        threads: int = 1,
        runs: int = 20,
    ) -> Profiled:
        """By ONNX Runtime's profiler."""
        from edgesr_export.profile.ort import ort_profile

        return ort_profile(path, image, threads=threads, runs=runs)


def _open(provider: str, source: Any, threads: int, device: int) -> Runner:
    from edgesr_export.runtime import session

    return session(source, threads, provider=provider, device=0 if provider == "cpu" else device)


def _missing(provider: str) -> str:
    problem = not_installed("onnxruntime")
    if problem or provider == "cpu":
        return problem
    from edgesr_export.runtime import missing_provider
    from edgesr_export.tensorrt.cuda import NO_GPU, find_device

    return missing_provider(provider) or ("" if find_device() else NO_GPU)
