"""What the header of a weights file says, checked as a whole before anything is built of it.

``header.schema.json`` describes it key by key: types, ranges, lengths. What JSON Schema cannot say
is checked here: which parts have to agree, and that the network is not larger than its file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from torch import Tensor

from edgesr.errors import DataError, ModelError
from edgesr.loading.python_source import literal
from edgesr.schema import find_fault
from edgesr.stored import parse_json

FORMAT = 1
LARGEST = 16 * 2**20
"""Characters of a header that is still read; that of the shipped teacher has 19 thousand."""

_EMPTY: dict[str, type] = {
    **{"model": str, "config": dict, "surgery": list, "data": dict, "training": dict},
    **{"call": dict, "complex": list, "extra_state": dict},
}


def parse_header(text: str, path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read the header of a weights file.

    Args:
        text: JSON; ``NaN`` may stand in what is only passed on, such as the nodata of a cube.
        path: of the file, for messages.
        tensors: of the file.

    Returns:
        All keys of the format; those that the file leaves out are empty.

    Raises:
        ModelError: it is no header, one of a newer version, or says what cannot be.
    """
    try:
        if len(text) > LARGEST:
            raise ValueError(f"it has more than {LARGEST // 2**20} MB")
        header = parse_json(text, finite=False)
    except ValueError as error:
        raise ModelError(f"{path} has a damaged header ({error}); fetch it again") from error
    version = header.get("format") if isinstance(header, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise ModelError(f"{path} has a header without a format number; use another file")
    if version > FORMAT:
        raise ModelError(
            f"{path} has format {version}, this version reads up to {FORMAT}; update edgesr"
        )
    header = {**{key: kind() for key, kind in _EMPTY.items()}, **header}
    fault = find_fault("edgesr.loading", "header.schema.json", header, strict=True)
    if fault is not None:
        _refuse(path, fault.place, fault.reason)
    _check_size(header, path, tensors)
    _check_data(header, path)
    if header["call"] and ":" not in header["model"]:
        _refuse(path, "call", "a network of edgesr is called plainly")
    try:
        literal(header["extra_state"])  # the loader beside a student repeats it
    except ModelError as error:
        _refuse(path, "extra_state", str(error))
    return header


def require_storable(data: Mapping[str, Any]) -> None:
    """Refuse data of which a header could be written, but not read again.

    Raises:
        DataError: a name too long, or numbers too large.
    """
    fault = find_fault(
        "edgesr.loading", "header.schema.json", {"data": data}, strict=True, parts=("data",)
    )
    if fault is not None:
        raise DataError(
            f"weights cannot say what they were trained on: at {fault.place}: {fault.reason}; "
            "correct it in the cube"
        )


def _refuse(path: Path, place: str, reason: str) -> NoReturn:
    key = place.partition(".")[0].partition("[")[0]
    raise ModelError(
        f"{path} has a header whose {key!r} is damaged (at {place}: {reason}); use another file"
    )


def _check_size(header: Mapping[str, Any], path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse more blocks than the file can hold; each has a tensor, or was removed."""
    most = len(tensors) + sum(len(change["layers"]) for change in header["surgery"])
    blocks = header["config"].get("blocks", 0)
    if blocks > most:
        _refuse(path, "config.blocks", f"{blocks} for a file of {len(tensors)} tensors")


def _check_data(header: Mapping[str, Any], path: Path) -> None:
    """Refuse data that contradict themselves or the network."""
    data, config = header["data"], header["config"]
    scale = data.get("scale")
    if scale and config.get("scale", scale) != scale:
        _refuse(path, "data.scale", f"{scale}, where the network has {config['scale']}")
    if "normalisation" not in data:
        return
    lengths = {
        "lower limits": len(data["normalisation"]["lower"]),
        "upper limits": len(data["normalisation"]["upper"]),
        "bands of the cube": _count(data["bands"]),
    }
    if config.get("bands"):
        lengths["bands of the network"] = config["bands"]
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{length} {name}" for name, length in lengths.items())
        _refuse(path, "data", told)


def _count(bands: str) -> int:
    """Number of bands in ``4-32,40``, as :func:`edgesr.cube.bands.format_bands` writes them: in
    ascending order. Of any other text, 0."""
    count, end = 0, -1
    for part in bands.split(","):
        first, _, last = part.partition("-")
        start, stop = int(first), int(last or first)
        if not end < start <= stop:
            return 0
        count, end = count + stop - start + 1, stop
    return count
