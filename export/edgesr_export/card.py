"""What a model file says of itself: the card that every file carries.

A network in a file takes numbers of one kind: certain bands of one sensor, normalised by limits of
its training data, at one scale. The card says so, as one JSON value in the metadata of an ONNX file
(key :data:`KEY`), in the side file of an engine, and in the header of weights. It is typed and
bounded; :func:`schema` is its description for other programs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import onnx
from msgspec import Meta, Struct

from edgesr_export.errors import ExportError, one_line
from edgesr_export.model_file import load_model, read_graph, write_model

KEY = "edgesr.card"
"""Of the ONNX metadata entry."""

FORMAT = 1
"""Raised when a field changes its meaning."""

GLOBAL = "global"
"""The context of a network whose every output pixel depends on the whole input."""

_MOST_BANDS = 65536
_LARGEST = 16 * 2**20  # characters

Dtype = Literal["uint8", "uint16", "int16", "int32", "uint32", "float32", "float64"]
Number = Annotated[float, Meta(ge=-1e30, le=1e30)]
Numbers = Annotated[tuple[Number, ...], Meta(min_length=1, max_length=_MOST_BANDS)]
Index = Annotated[int, Meta(ge=0, lt=_MOST_BANDS)]
Side = Annotated[int, Meta(ge=1, le=1 << 20)]
Text = Annotated[str, Meta(max_length=1000)]


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class BandList(_Part, frozen=True, kw_only=True):
    """Which bands of which sensor, B of them.

    Attributes:
        index: of each in the cube that the network was trained on, from 0.
        count: bands of that cube.
        wavelengths_nm: centres, where they are known.
        fwhm_nm: full widths at half maximum, where they are known.
    """

    index: Annotated[tuple[Index, ...], Meta(min_length=1, max_length=_MOST_BANDS)]
    count: Annotated[int, Meta(ge=1, le=_MOST_BANDS)]
    wavelengths_nm: Numbers | None = None
    fwhm_nm: Numbers | None = None


class Limits(_Part, frozen=True, kw_only=True):
    """The native numbers [B] that become 0 and 1 at the network's input."""

    lower: Numbers
    upper: Numbers
    mode: Literal["scene", "band"] = "band"


class NativeNumbers(_Part, frozen=True, kw_only=True):
    """The numbers of the training data, as its files hold them.

    Attributes:
        dtype: of the training cube.
        low, high: extremes [B] of the training pixels.
        fill: what stands in for nodata [B]: the median of the training pixels.
        nodata: the number that stood for "no measurement" there; text for NaN and infinities.
        gain, offset: physical value = gain * number + offset, [B] or one for all.
    """

    dtype: Dtype
    low: Numbers
    high: Numbers
    fill: Numbers
    nodata: float | Literal["nan", "inf", "-inf"] | None = None
    gain: Numbers | None = None
    offset: Numbers | None = None


class Port(_Part, frozen=True, kw_only=True):
    """What goes into the file, or comes out of it.

    Attributes:
        kind: "normalised" to [0, 1], or "native".
        dtype: of the array.
        bands: "network" where it has the network's bands alone, "sensor" where it has all.
        as_bytes: 16-bit numbers as a last axis of two bytes, low one first.
    """

    kind: Literal["normalised", "native"] = "normalised"
    dtype: Dtype = "float32"
    bands: Literal["network", "sensor"] = "network"
    as_bytes: bool = False


class ModelCard(_Part, frozen=True, kw_only=True):
    """All that a program needs to use a model file on data of its own.

    Attributes:
        scale: output pixels per input pixel, along an axis.
        bands: that the network takes.
        normalisation: of its input, and back of its output.
        native: the numbers that it was trained on.
        context: LR pixels around a tile that its result depends on, or "global"; None where it was
            not measured.
        input, output: of this file.
        size: height and width that the file is fixed to; None where they are free.
        precision: of this file.
        int8_layers: layers that are computed in int8.
        network: its name.
        student: SHA-256 of the float32 weights that the file was made of.
        data: name of the training cube.
        version: of edgesr.
        format: of the card.
    """

    scale: Annotated[int, Meta(ge=1, le=64)]
    bands: BandList
    normalisation: Limits
    native: NativeNumbers
    context: Annotated[int, Meta(ge=0, le=1 << 16)] | Literal["global"] | None = None
    input: Port = Port()
    output: Port = Port()
    size: tuple[Side | None, Side | None] = (None, None)
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    int8_layers: Annotated[int, Meta(ge=0, le=1 << 20)] = 0
    network: Text = ""
    student: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""
    data: Text = ""
    version: Text = ""
    format: int = FORMAT

    def __post_init__(self) -> None:
        count = len(self.bands.index)
        native, limits = self.native, self.normalisation
        lists = {
            "bands.wavelengths_nm": self.bands.wavelengths_nm,
            "bands.fwhm_nm": self.bands.fwhm_nm,
            "normalisation.lower": limits.lower,
            "normalisation.upper": limits.upper,
            "native.low": native.low,
            "native.high": native.high,
            "native.fill": native.fill,
            "native.gain": native.gain,
            "native.offset": native.offset,
        }
        for name, values in lists.items():
            if values is not None and len(values) != count:
                raise ValueError(f"{name} has {len(values)} numbers for {count} bands")
        if max(self.bands.index) >= self.bands.count:
            raise ValueError(
                f"bands.index reaches {max(self.bands.index)} of {self.bands.count} bands"
            )
        if any(low >= high for low, high in zip(limits.lower, limits.upper, strict=True)):
            raise ValueError("normalisation.upper is not above normalisation.lower everywhere")

    @property
    def nodata(self) -> float | None:
        """The nodata number of the training cube."""
        return None if self.native.nodata is None else float(self.native.nodata)

    def to_json(self) -> str:
        """As it is stored: keys in a fixed order."""
        return msgspec.json.encode(self).decode()


def parse_card(text: str | bytes, where: str) -> ModelCard:
    """Read a card.

    Args:
        text: JSON.
        where: it stands, for messages.

    Raises:
        ExportError: damaged, or of a newer version.
    """
    try:
        if len(text) > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST // 2**20} MB")
        version = msgspec.json.decode(text, type=_Version).format
        if version > FORMAT:
            raise ExportError(
                f"{where} has a model card of format {version} and this version reads up to "
                f"{FORMAT}; update edgesr"
            )
        return msgspec.json.decode(text, type=ModelCard)
    except (ValueError, RecursionError) as error:  # msgspec's own are among them
        raise ExportError(
            f"{where} has a damaged model card ({one_line(error)}); make the file again"
        ) from error


class _Version(Struct):
    format: int = FORMAT


def read_card(path: Path | str) -> ModelCard | None:
    """The card of an ONNX file; None where it has none, such as a file of another tool.

    Raises:
        ExportError: the file cannot be read, or its card is damaged or of a newer version.
    """
    return card_of(read_graph(Path(path)), str(path))


def card_of(model: onnx.ModelProto, where: str) -> ModelCard | None:
    """The card of a model in memory; see :func:`read_card`."""
    text = next((entry.value for entry in model.metadata_props if entry.key == KEY), None)
    return None if text is None else parse_card(text, where)


def attach(model: onnx.ModelProto, card: ModelCard) -> None:
    """Put a card into a model in memory, in place of an earlier one.

    Raises:
        ExportError: the card could not be read again.
    """
    parse_card(card.to_json(), "what is to be written")  # the ranges are checked on reading alone
    others = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**others, KEY: card.to_json()})


def write_card(path: Path | str, card: ModelCard) -> None:
    """Put a card into an ONNX file, in place of an earlier one; the file is replaced at once.

    Raises:
        ExportError: the file cannot be read or written.
    """
    model = load_model(path)
    attach(model, card)
    write_model(model, path)


def schema() -> dict[str, Any]:
    """JSON Schema of the card."""
    return msgspec.json.schema(ModelCard)
