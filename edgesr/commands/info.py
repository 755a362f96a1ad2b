"""``edgesr info MODEL``: what a model file says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgesr_export.card import GLOBAL, BandList, ModelCard, Port
from edgesr_export.sizes import input_shape
from msgspec.structs import replace

from edgesr.cube.bands import format_bands
from edgesr.errors import ModelError, OptionError, shown
from edgesr.loading.card_files import (
    ONNX,
    SUFFIXES,
    WEIGHTS,
    find_card,
    fitting_card,
    given_card,
    without_card,
)


def is_model(name: str) -> bool:
    """Whether the name is that of a model file, and of no cube."""
    return Path(name).suffix.lower() in SUFFIXES


def describe_model(path: Path, card: Path | None = None) -> ModelCard:
    """The card of an ONNX file, an engine or weights, or what another file says of it.

    Raises:
        ModelError: it has none, or is not there.
        OptionError: ``card`` for weights, which have their own.
        ExportError: it cannot be read, or the card is damaged, of a newer version, or of another
            network.
    """
    if card is not None and path.suffix.lower() == WEIGHTS:
        raise OptionError(f"{path} says itself what it was trained on; leave out --card")
    if not path.is_file():
        raise ModelError(f"{path} does not exist or is no file; name the model file")
    found = find_card(path) if card is None else given_card(card)
    if found is None:
        raise without_card(path)
    if card is None or path.suffix.lower() != ONNX:
        return found
    shape = input_shape(path)
    return replace(fitting_card(path, shape[1], found), size=shape[2:])


def render_card(card: ModelCard) -> str:
    """A card as aligned lines."""
    native, limits = card.native, card.normalisation
    lines = {
        "network": f"{card.network or 'unnamed'}, x{card.scale}",
        "trained on": card.data or "unknown",
        "bands": f"{len(card.bands.index)} of {card.bands.count}:"
        f" {_listed_bands(card.bands.index)}",
        "wavelengths": _wavelengths(card.bands),
        "input": _port(card.input, card),
        "output": _port(card.output, card),
        "range": f"{_span(native.low, native.high)}, {native.dtype}, of the training pixels",
        "normalised": f"{_span(limits.lower, limits.upper)} to [0, 1], by {limits.mode}",
        "units": _units(native.gain, native.offset),
        "nodata": f"{_number(native.nodata)}, filled by {_range(native.fill)}",
        "context": _context(card.context),
        "size": _size(*card.size),
        "precision": card.precision
        + (f", {card.int8_layers} layers in int8" if card.precision == "int8" else ""),
        "weights": card.student or "unknown",
        "version": f"edgesr {card.version or 'unknown'}, card format {card.format}",
    }
    return "\n".join(f"{key:<13} {shown(value)}" for key, value in lines.items())


def _listed_bands(index: Sequence[int]) -> str:
    """Ranges where they rise, else one by one."""
    return format_bands(index) if list(index) == sorted(index) else ",".join(map(str, index))


def _wavelengths(bands: BandList) -> str:
    if bands.wavelengths_nm is None:
        return "unknown"
    widths = "" if bands.fwhm_nm is None else f", FWHM {_range(bands.fwhm_nm)} nm"
    return f"{_range(bands.wavelengths_nm)} nm{widths}"


def _port(port: Port, card: ModelCard) -> str:
    if port.kind == "normalised":
        return f"{port.dtype} in [0, 1], {len(card.bands.index)} bands"
    bands = card.bands.count if port.bands == "sensor" else len(card.bands.index)
    form = ", as two bytes" if port.as_bytes else ""
    return f"native {port.dtype}{form}, {bands} bands of the {port.bands}"


def _size(height: int | None, width: int | None) -> str:
    if height is None and width is None:
        return "any"
    return f"{height or 'any'} x {width or 'any'} LR pixels"


def _context(context: int | str | None) -> str:
    if context is None:
        return "not measured"
    return "the whole input" if context == GLOBAL else f"{context} LR pixels around a tile"


def _units(gain: Sequence[float] | None, offset: Sequence[float] | None) -> str:
    if gain is None and offset is None:
        return "unknown"
    factor = "" if gain is None else f"{_range(gain)} x "
    return f"{factor}number" + ("" if offset is None else f" + {_range(offset)}")


def _number(nodata: float | str | None) -> str:
    return "no number" if nodata is None else f"{float(nodata):g}"


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _span(lower: Sequence[float], upper: Sequence[float]) -> str:
    """From the least to the largest number of any band."""
    return f"{min(lower):g} to {max(upper):g}"
