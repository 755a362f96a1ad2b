"""What a target is, and the registry of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from edgesr_export.errors import ExportError
from edgesr_export.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from onnxscript.rewriter import RewriteRuleClassBase

    from edgesr_export.int8.scheme import QuantScheme
    from edgesr_export.profile import Profiled
    from edgesr_export.runner import Runner

    Network = Callable[[np.ndarray], np.ndarray]
    Compare = Callable[[str, Network, float | None], None]
else:
    Network = Compare = Callable
"""``Network``: from an image [N, C, H, W] to one [N, C', H', W'].
``Compare``: of a name, a network and the largest accepted difference, None for any."""

ALWAYS = "cpu"
"""The target that is always made: its runtime is the one that all files are compared in."""

PRECISIONS = ("fp32", "fp16", "int8")
"""What a file can be typed in; a target takes some of them."""


@dataclass(frozen=True)
class Runtime:
    """What runs a network.

    Attributes:
        name: such as "onnxruntime-cuda".
        open: loads a network: of the source, the threads of the CPU and the number of the GPU.
        missing: why it cannot run here and what to do; empty where it can.
        target: whose files it runs; empty where it takes a module.
        suffix: of those files; None where it takes a module.
    """

    name: str
    open: Callable[[Any, int, int], Runner]
    missing: Callable[[], str]
    target: str = ""
    suffix: str | None = ".onnx"


@dataclass(frozen=True)
class Row:
    """A file as one runtime runs it: a line of the table of measurements.

    Attributes:
        runtime: what runs it, for people.
        precision: what it computes in there, such as "int8, bf16".
        judge: computes its metrics, at any size that the file takes.
        timed: what is timed; None where it cannot run here.
        why_not_timed: then, why.
        judged_by: what computes the metrics, where that is another runtime.
    """

    runtime: str
    precision: str
    judge: Network
    timed: Network | None
    why_not_timed: str | None = None
    judged_by: str = ""


@dataclass(frozen=True)
class Built:
    """What was built of a file.

    Attributes:
        path: of the engine.
        precision: "fp32", "fp16" or "int8", read back from the engine.
        library: what built it, with its version.
        compute_capability: of the device that it is for.
        build_s: seconds that the build took.
        layers: number of layers by the precision that they compute in.
        why_one_size: why it serves one size where a range was asked for; None where it does not.
    """

    path: Path
    precision: str
    library: str
    compute_capability: str
    build_s: float
    layers: dict[str, int]
    why_one_size: str | None = None


def opened_later(opens: Callable[[], Network]) -> Network:
    """A network that is opened at its first call, for one that may never be called."""
    network = cache(opens)
    return lambda image: network()(image)


class Target:
    """What a network is made for. A subclass says what differs there, and nothing else does.

    Attributes:
        name: in options and reports; also the name of the file that it is in.
        label: what runs its files, for people.
        precisions: of :data:`PRECISIONS`, those worth making for it.
        opset: newest operator set that it reads; None for any.
        needs: what it cannot do without: what pip installs, by the name of the package.
        by_default: whether it is made where nobody names targets.
        bundled: whether the bundle for a board takes its files, which TensorRT builds there.
        engines: what builds engines of its files, for people; empty: they run as they are.
        sixteen_bits: whether its files take and give 16-bit integers, or else two bytes for each.
        quantises: whether it has ONNX Runtime's QuantizeLinear of 16 bits.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    opset: ClassVar[int | None] = None
    needs: ClassVar[Mapping[str, str]] = {}
    by_default: ClassVar[bool] = False
    bundled: ClassVar[bool] = False
    engines: ClassVar[str] = ""
    sixteen_bits: ClassVar[bool] = True
    quantises: ClassVar[bool] = False

    @property
    def rules(self) -> Sequence[type[RewriteRuleClassBase]]:
        """Exact rewrites that pay on this target alone; see :mod:`edgesr_export.rewrite`."""
        return ()

    @property
    def scheme(self) -> QuantScheme:
        """How values become int8.

        Raises:
            ExportError: it has no int8.
        """
        raise ExportError(f"the target {self.name} has no int8; choose another precision")

    @property
    def runtimes(self) -> Sequence[Runtime]:
        """What runs its files or engines, or files of others.

        The first that takes an ONNX file made for the target is its own.
        """
        return ()

    def missing(self, precision: str) -> str:
        """What a file of ``precision`` needs and is not installed here; empty where nothing is."""
        needs = {**self.needs, **({"nncf": "edgesr[int8]"} if precision == "int8" else {})}
        for package, wanted in needs.items():
            if find_spec(package) is None:
                return f"{package} is not installed: pip install '{wanted}'"
        return ""

    def refuse(self, model: onnx.ModelProto) -> None:
        """Refuse a network that the target cannot run, before any work.

        Raises:
            UnsupportedOperatorError: an operator that it lacks, with its layer.
        """

    def check(self, path: Path, compare: Compare, tolerance: float | None) -> Sequence[str]:
        """Compare the finished file on the target's own runtime.

        Args:
            path: the file.
            compare: does so, with the form of the network before.
            tolerance: largest accepted difference for its precision; None where metrics judge.

        Returns:
            What could not be checked, and why.
        """
        if problem := self.cannot_run():
            return (f"not run on {self.label}: {problem}",)
        run = self.open(path)
        compare(run.name, run, tolerance)
        return ()

    def cannot_run(self) -> str:
        """Why its files cannot run here, and what to do; empty where they can."""
        own = self._own_runtime()
        return own.missing() if own else "nothing here runs its files"

    def open(self, path: Path, threads: int = 1) -> Runner:
        """The file, loaded by the target's own runtime.

        Raises:
            ExportError: it cannot run here.
        """
        own = self._own_runtime()
        if own is None or own.missing():
            raise ExportError(f"{path} cannot run on {self.label}: {self.cannot_run()}")
        return own.open(path, threads, 0)

    def trial(self, path: Path, threads: int, *, timed: bool) -> Network:
        """A file of which some layers are int8, loaded for its metrics or for its speed.

        Where the target cannot run it, ONNX Runtime, which computes the same, does.
        """
        on = find_target(ALWAYS) if self.cannot_run() else self
        return on.open(path, threads)

    def measured(
        self,
        path: Path,
        precision: str,
        *,
        engine: Path | None,
        threads: int,
        shape: Sequence[int],
    ) -> list[Row]:
        """How the file is judged and timed here, on each runtime that is worth a line.

        Args:
            path: the file.
            precision: that it was made in.
            engine: what :meth:`build` made of it; None where nothing was.
            threads: of the CPU.
            shape: [1, B, h, w], the only one that will be timed.
        """
        if why := self.cannot_run():
            return [self.untimed(path, precision, threads, why)]
        run = self.open(path, threads)
        return [Row(self.label, precision, run, run)]

    def untimed(self, path: Path, precision: str, threads: int, why: str) -> Row:
        """The line of a file that cannot run here; ONNX Runtime judges it."""
        usual = find_target(ALWAYS)
        judge = opened_later(partial(usual.open, path, threads))
        return Row(self.label, precision, judge, None, why, judged_by=usual.label)

    def unrewritten(
        self, path: Path, threads: int, shape: Sequence[int]
    ) -> tuple[str, Network] | None:
        """A file that was not rewritten, as the target makes the best of it: label and network.

        None where that is no baseline of its own, or cannot run here.
        """
        return None

    @property
    def has_profiler(self) -> bool:
        """Whether :meth:`profile` tells anything."""
        return type(self).profile is not Target.profile

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
        """Milliseconds of every layer of the file, as its runtime executes them.

        Args:
            path: the file.
            precision: as :meth:`measured` tells it, such as "int8, bf16".
            image: what to run it on.
            engine: what :meth:`build` made of it; None where nothing was.
            threads: of the CPU.
            runs: measured runs.

        Raises:
            ExportError: the target has no profiler, or the file cannot run here.
        """
        raise ExportError(f"the target {self.name} has no profiler; profile a file for {ALWAYS}")

    def cannot_build(self) -> str:
        """Why no engine can be built here, and what to do; empty where one can."""
        return ""

    def check_capability(self, capability: str) -> None:
        """Refuse a GPU that no engine can be built for here, before any work.

        Raises:
            ExportError: there is no such compute capability, or what builds here lacks it.
        """

    def build(
        self,
        source: Path,
        folder: Path,
        precision: str,
        capability: str | None,
        tiles: tuple[int, int, int] | None = None,
    ) -> Built:
        """Build the engine of a file; of a target that has :attr:`engines`.

        Args:
            source: the file.
            folder: for the engine.
            precision: of the file.
            capability: of the GPU to build for; None for the one here, else a usual one.
            tiles: sides that it serves: least, tuned for, largest; None for the usual ones.

        Raises:
            ExportError: it is refused, or does not come out in that precision.
        """
        raise NotImplementedError

    def _own_runtime(self) -> Runtime | None:
        own = (one for one in self.runtimes if (one.target, one.suffix) == (self.name, ".onnx"))
        return next(own, None)


T = TypeVar("T", bound=type[Target])


def register(kind: T) -> T:
    """Register the decorated class.

    Raises:
        ExportError: the name is taken, or a precision is unknown.
    """
    unknown = set(kind.precisions) - set(PRECISIONS)
    if unknown:
        raise ExportError(
            f"a precision is one of {', '.join(PRECISIONS)}; the target {kind.name} names"
            f" {', '.join(sorted(unknown))}"
        )
    TARGETS.add(kind.name, kind())
    return kind


TARGETS: Registry[Target] = Registry(
    "target", "edgesr_export.targets", "edgesr.targets", lambda _, kind: register(kind)
)


def find_target(name: str) -> Target:
    """The target of that name.

    Raises:
        ExportError: there is none.
    """
    if name not in TARGETS:
        raise ExportError(f"a target is one of {', '.join(TARGETS)}, got {name!r}")
    return TARGETS[name]


def runtimes() -> dict[str, Runtime]:
    """What runs files, by name: the runtimes of all targets.

    Raises:
        ExportError: two have the same name.
    """
    found: dict[str, Runtime] = {}
    for target in TARGETS.load().values():
        for runtime in target.runtimes:
            if runtime.name in found:
                raise ExportError(
                    f"the targets {found[runtime.name].target} and {target.name} both declare a"
                    f" runtime {runtime.name}; rename one"
                )
            found[runtime.name] = runtime
    return found


def not_installed(package: str) -> str:
    """Why a runtime cannot run that needs ``package``; empty where it is here."""
    return "" if find_spec(package) else f"{package} is not installed; pip install {package}"
