"""OpenVINO on the CPU, in float32 or bfloat16."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesr_export.errors import ExportError
from edgesr_export.targets._base import (
    Compare,
    Network,
    Row,
    Runtime,
    Target,
    not_installed,
    opened_later,
    register,
)

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from onnxscript.rewriter import RewriteRuleClassBase

    from edgesr_export.int8.scheme import QuantScheme
    from edgesr_export.profile import Profiled
    from edgesr_export.runner import Runner


@register
class OpenVino(Target):
    """Its halves are bfloat16, chosen when the file is loaded; so no file is made in float16."""

    name, label = "openvino", "OpenVINO, CPU"
    precisions = ("fp32", "int8")
    needs = {"openvino": "edgesr[openvino]"}  # noqa: RUF012 - never changed
    by_default = True

    @property
    def rules(self) -> Sequence[type[RewriteRuleClassBase]]:
        from edgesr_export.rewrite.channel_norm import ChannelNormInPlace
        from edgesr_export.rewrite.slabs_openvino import SlabsForOpenVino

        return ChannelNormInPlace, SlabsForOpenVino

    @property
    def scheme(self) -> QuantScheme:
        """Scales and zero points of any kind, which OpenVINO's transformations see through.

        It computes in int8 from the inputs alone and loses no precision behind the layer
        (LKCA-Net of rank 32, 1 thread, bfloat16: also 91 ms to 83).
        """
        import numpy as np

        from edgesr_export.int8.scheme import QuantScheme

        return QuantScheme(np.uint8, symmetric=False, outputs=False, timed=True)

    @property
    def runtimes(self) -> Sequence[Runtime]:
        return (
            Runtime(
                "openvino", partial(_open, "float32"), partial(not_installed, "openvino"), self.name
            ),
            Runtime("openvino-bf16", partial(_open, "bfloat16"), _lacks_bfloat16, self.name),
        )

    def refuse(self, model: onnx.ModelProto) -> None:
        """OpenVINO 2026.4 resizes without the filter and says nothing; enlarging needs none."""
        from edgesr_export.unsupported import refuse_antialias

        refuse_antialias(model, "OpenVINO leaves the filter out of", where_it_enlarges=False)

    def check(self, path: Path, compare: Compare, tolerance: float | None) -> Sequence[str]:
        """On OpenVINO, without which no file is written: it may take an operator otherwise."""
        from edgesr_export.openvino import openvino_session

        run = openvino_session(path)
        compare(run.name, run, tolerance)
        return ()

    def trial(self, path: Path, threads: int, *, timed: bool) -> Network:
        """For its speed, float is bfloat16 where the CPU has it; for its metrics, float32."""
        from edgesr_export.openvino import openvino_session

        return openvino_session(path, threads, "bfloat16" if timed and _has_bf16() else "float32")

    def measured(
        self,
        path: Path,
        precision: str,
        *,
        engine: Path | None,
        threads: int,
        shape: Sequence[int],
    ) -> list[Row]:
        """Float32 and, where the CPU has it, bfloat16; int8 in the better of the two alone.

        What is timed knows its one size beforehand.
        """
        from edgesr_export.openvino import openvino_session

        kinds = {"fp32": "float32"} | ({"bf16": "bfloat16"} if _has_bf16() else {})
        if precision == "int8":
            best = [*kinds][-1]
            kinds = {"int8" if best == "fp32" else f"int8, {best}": kinds[best]}
        return [
            Row(
                self.label,
                name,
                opened_later(partial(openvino_session, path, threads, kind)),
                openvino_session(path, threads, kind, shape),
            )
            for name, kind in kinds.items()
        ]

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
        """By OpenVINO's performance counters."""
        from edgesr_export.profile.openvino import openvino_profile

        kind = "bfloat16" if "bf16" in precision else "float32"
        return openvino_profile(path, image, threads=threads, precision=kind, runs=runs)

    def unrewritten(
        self, path: Path, threads: int, shape: Sequence[int]
    ) -> tuple[str, Network] | None:
        """Any file in bfloat16, which OpenVINO gives without our doing."""
        from edgesr_export.openvino import openvino_session

        with suppress(ExportError):  # not installed, or a CPU without it
            return "OpenVINO bf16", openvino_session(path, threads, "bfloat16", shape)
        return None


def _open(precision: str, source: Any, threads: int, _: int) -> Runner:
    from edgesr_export.openvino import openvino_session

    return openvino_session(source, threads, precision)


def _has_bf16() -> bool:
    from edgesr_export.openvino import HINTS, abilities

    return HINTS["bfloat16"][1] in abilities()


def _lacks_bfloat16() -> str:
    problem = not_installed("openvino")
    return problem or ("" if _has_bf16() else "this CPU does not compute in bfloat16")
