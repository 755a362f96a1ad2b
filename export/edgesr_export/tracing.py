"""A ladder of ways to write a network as ONNX; the first whose file is right is taken.

::

    torch.export, free size --> recorded, free size --> torch.export, fixed --> recorded, fixed

``torch.export`` follows sizes as symbols and refuses Python that asks for a value. Recording runs
the network once on real input, and the file then takes the branches which that input took. Either
may freeze a size, some without a word; so every file is compared with its network, on real images
of several sizes and on images that hurt.

A recorded file that is right on every real image and wrong on some of the others is taken where
nothing better is found: those others show that the network decides by values, and the images that
it is wrong for are named in the file (:func:`tracing`) for whoever flies it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from edgesr_export.errors import ExportError
from edgesr_export.frozen import first_difference
from edgesr_export.limited import TooLongError
from edgesr_export.model_file import read_graph, write_bytes
from edgesr_export.onnx import AXES, EXPORTED, HINT, RECORDED, export_onnx
from edgesr_export.records import read_record
from edgesr_export.sizes import FREE, Shape, fit, input_shape
from edgesr_export.verify import Agreement, DisagreementError, compare, takes

if TYPE_CHECKING:
    import torch
    from torch import nn

_KEY = "tracing"
_ALL, _SIZE, _BATCH = ("batch", "height", "width"), ("height", "width"), ("batch",)


@dataclass(frozen=True)
class ExportStrategy:
    """One way of writing a file.

    Attributes:
        how: "torch.export" or "recorded".
        free: names of the axes that stay free.
        odd: traced at an odd size, where networks that pad to a multiple do pad; the example's
            own size may need no padding, and a branch not taken is a branch not written.
    """

    how: str
    free: tuple[str, ...]
    odd: bool = False

    def example(self, image: torch.Tensor, tile: torch.Tensor) -> torch.Tensor:
        """What to trace with: of ``image`` where the size stays free, ``tile`` where it is not."""
        if "height" not in self.free:
            return tile
        height, width = image.shape[2:]
        return image[:, :, : height - 3, : width - 5] if self.odd else image


STRATEGIES = (
    ExportStrategy(EXPORTED, _ALL),
    ExportStrategy(EXPORTED, _ALL, odd=True),
    ExportStrategy(RECORDED, _ALL, odd=True),
    ExportStrategy(RECORDED, _ALL),
    ExportStrategy(RECORDED, _SIZE, odd=True),
    ExportStrategy(RECORDED, _SIZE),
    ExportStrategy(EXPORTED, _BATCH),
    ExportStrategy(EXPORTED, ()),
    ExportStrategy(RECORDED, _BATCH),
    ExportStrategy(RECORDED, ()),
)
ONE_SIZE = tuple(one for one in STRATEGIES if "height" not in one.free)
"""For a file that is to take one size and no other."""
FIXED = (ExportStrategy(EXPORTED, ()), ExportStrategy(RECORDED, ()))
"""For a file that is only timed, at one size."""


@dataclass(frozen=True)
class Tracing:
    """How a file was written.

    Attributes:
        how: "torch.export" or "recorded".
        free: names of the axes that are free.
        odd: traced at an odd size.
        why: why no strategy above it served; empty on the first.
        differs: largest absolute difference to the network by the name of each image that the
            file is wrong for; only a recorded one is ever taken so.
        rounding: what float32 may differ by in this network; see
            :class:`edgesr_export.verify.Agreement`.
    """

    how: str
    free: tuple[str, ...]
    odd: bool = False
    why: str = ""
    differs: dict[str, float] = field(default_factory=dict)
    rounding: float = 0.0

    @property
    def strategies(self) -> tuple[ExportStrategy, ...]:
        """The strategy of the file, for a relative of its network, and those below."""
        own = ExportStrategy(self.how, self.free, self.odd)
        return STRATEGIES[STRATEGIES.index(own) :] if own in STRATEGIES else (own,)


def export_with_fallbacks(
    module: nn.Module,
    path: Path | str,
    real: Sequence[torch.Tensor],
    tile: torch.Tensor,
    adversarial: Mapping[str, torch.Tensor] | None = None,
    *,
    strategies: Sequence[ExportStrategy] = STRATEGIES,
    **options: Any,
) -> tuple[Tracing, Agreement]:
    """Write ``module`` in the first way that gives a right file.

    Args:
        module: network of one [N, C, H, W] input and one output.
        path: file to write; it appears only when compared.
        real: images [N, C, H, W] of the data, of several sizes; the first is traced with. The
            file has to be right on each that the module itself takes.
        tile: real image [1, C, h, w] of the one size that the file has where no size can be free.
        adversarial: images by name that are no data; a recorded file may be wrong for them.
        strategies: what to try, in order.
        options: ``opset`` and ``rewrite`` of :func:`edgesr_export.onnx.export_onnx`.

    Returns:
        How the file was written, and on what it agrees with ``module``.

    Raises:
        ExportError: no way serves; the message tells of the first and of the last.
    """
    failures: list[str] = []
    fallback: tuple[bytes, Tracing, Agreement] | None = None
    was_written, frozen, too_long = True, "", ""
    with tempfile.TemporaryDirectory() as folder:
        for strategy in strategies:
            if strategy.odd and strategy.how == EXPORTED and not was_written:
                continue  # what stopped it has nothing to do with the size
            if too_long and strategy.how == RECORDED:
                continue  # nor would it be shorter
            file, was_written = Path(folder) / "model.onnx", False
            try:
                example = strategy.example(real[0], tile)
                export_onnx(
                    module, example, file, dynamic=strategy.free, how=strategy.how, **options
                )
                was_written = True
                agreement, differs = _judged(file, module, real, adversarial or {})
            except ExportError as error:
                too_long = str(error) if isinstance(error, TooLongError) else too_long
                failures.append(str(error).replace(str(file), "the file").removesuffix(HINT))
                if was_written and not frozen:
                    frozen = _frozen_by(module, strategy, real, file, options)
                continue
            why = failures[0] + frozen if failures else ""
            found = Tracing(
                strategy.how, strategy.free, strategy.odd, why, differs, agreement.rounding
            )
            if not differs:
                return _kept(file.read_bytes(), found, agreement, Path(path))
            failures.append(f"it differs from the network on {', '.join(differs)}")
            if strategy.how == RECORDED and fallback is None:
                fallback = file.read_bytes(), found, agreement
    if fallback is not None:
        return _kept(*fallback, Path(path))
    first, last = failures[0], too_long or failures[-1]
    raise ExportError(first if first == last else f"{first}; recorded on real input: {last}")


def tracing(path: Path | str) -> Tracing:
    """How :func:`export_with_fallbacks` wrote the file; of another file, what its input tells."""
    if (found := noted(read_graph(Path(path)))) is not None:
        return found
    shape = input_shape(path)
    return Tracing(EXPORTED, tuple(name for axis, name in AXES.items() if shape[axis] is None))


def noted(model: onnx.ModelProto) -> Tracing | None:
    """What the model itself says of how it was written, if it does."""
    return read_record(model, _KEY, Tracing)


def note(model: onnx.ModelProto, found: Tracing) -> None:
    """Write into the model how it was written."""
    entries = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**entries, _KEY: json.dumps(asdict(found))})


def usable(
    module: nn.Module, images: Sequence[torch.Tensor], shape: Shape = FREE
) -> list[torch.Tensor]:
    """The ``images`` [N, C, H, W] as a file of that input takes them, if the module does, too."""
    return [image for image in (fit(one, shape) for one in images) if takes(module, image)]


def _frozen_by(
    module: nn.Module,
    strategy: ExportStrategy,
    real: Sequence[torch.Tensor],
    file: Path,
    options: Mapping[str, Any],
) -> str:
    """Where a file of free size keeps that of its example, in words; empty where nothing tells.

    The network is written once more, of another size: what then differs was no free size.
    """
    if "height" not in strategy.free:
        return ""
    example, again = strategy.example(real[0], real[0]), file.with_name("again.onnx")
    height, width = example.shape[2:]
    other = fit(example, (None, None, height + 8, width + 16))
    try:
        export_onnx(module, other, again, dynamic=strategy.free, how=strategy.how, **options)
        found = first_difference(read_graph(file), read_graph(again))
    except ExportError:
        return ""
    return f"; the size of the image is frozen in {found}" if found else ""


def _judged(
    file: Path,
    module: nn.Module,
    real: Sequence[torch.Tensor],
    adversarial: Mapping[str, torch.Tensor],
) -> tuple[Agreement, dict[str, float]]:
    """On what the file agrees with the module, and the adversarial images on which it does not.

    Raises:
        ExportError: it is wrong on a real image.
    """
    shape = input_shape(file)
    agreed = [compare(file, module, usable(module, real, shape))]
    differs: dict[str, float] = {}
    for name, image in adversarial.items():
        for one in usable(module, [image], shape):
            try:
                agreed.append(compare(file, module, [one]))
            except DisagreementError as error:
                differs[name] = error.difference
    inputs = tuple(shape for one in agreed for shape in one.inputs)
    rounding = max(one.rounding for one in agreed)
    return Agreement(max(one.max_abs_difference for one in agreed), inputs, rounding), differs


def _kept(
    content: bytes, found: Tracing, agreement: Agreement, path: Path
) -> tuple[Tracing, Agreement]:
    model = onnx.load_model_from_string(content)
    note(model, found)
    write_bytes(model.SerializeToString(deterministic=True), path)
    return found, agreement
