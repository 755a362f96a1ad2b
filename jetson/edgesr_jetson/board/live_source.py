"""Where live data come from: pushbroom lines or tiles, of a file or a pipe, made fit for a network.

A network expects [0, 1]. Digital numbers get there only by the normalisation that the bundle
carries (``facts.normalisation``, fitted on training pixels); without one, or when the user says
that the source is normalised already, values outside [0, 1] are refused.
"""

from __future__ import annotations

import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Iterator

import numpy as np

from .contents import Bundle, normalisation
from .errors import BoardError

LAYOUTS = ("bil", "bip")
_SLACK = 0.01


@dataclass(frozen=True)
class Normalisation:
    """Linear map of each band to [0, 1]; None where the numbers are there already."""

    lower: np.ndarray | None
    upper: np.ndarray | None

    def apply(self, data: np.ndarray) -> tuple[np.ndarray, bool]:
        """Numbers [..., B, W] to float32 in [0, 1]; nodata (NaN) becomes 0 and is reported.

        Raises:
            BoardError: numbers outside [0, 1] and no map.
        """
        values = data.astype(np.float32)
        if self.lower is not None and self.upper is not None:
            span = (self.upper - self.lower)[:, None]
            values = np.clip((values - self.lower[:, None]) / span, 0.0, 1.0)
        valid = np.isfinite(values)
        holed = not valid.all()
        if holed:
            values = np.where(valid, values, np.float32(0.0))
        if values.min() < -_SLACK or values.max() > 1.0 + _SLACK:
            raise BoardError(
                f"the source has values from {values.min():g} to {values.max():g}, the network "
                "expects 0 to 1; give native numbers and a bundle with a normalisation, or "
                "normalise them"
            )
        return np.asarray(values, dtype=np.float32), holed

    def invert(self, data: np.ndarray) -> np.ndarray:
        """[0, 1] numbers [B, h, w] to native ones."""
        if self.lower is None or self.upper is None:
            return data
        span = (self.upper - self.lower)[:, None, None]
        return np.asarray(data * span + self.lower[:, None, None], dtype=np.float32)


def choose_normalisation(
    bundle: Bundle, dtype: np.dtype[Any], is_normalised: bool
) -> Normalisation:
    """Map for a source of ``dtype``: the bundle's, unless the source is in [0, 1] already.

    Raises:
        BoardError: integers without a map, or a map that does not fit the bundle.
    """
    stored = None if is_normalised else normalisation(bundle.facts, bundle.bands)
    if stored is None:
        if dtype.kind in "iu":
            raise BoardError(
                f"the source holds integers ({dtype}), the network expects 0 to 1; use a bundle "
                "with a normalisation, and leave --normalised out"
            )
        return Normalisation(None, None)
    lower, upper = (np.asarray(values, dtype=np.float32) for values in stored)
    return Normalisation(lower, upper)


@dataclass(frozen=True)
class Source:
    """Opened source.

    Attributes:
        name: as the user gave it.
        is_tiles: items are tiles [B, h, w]; else lines [B, W].
        width: samples of a line or tile.
        height: lines of an item.
        items: how many there are, None for a pipe.
        dtype: of the stored numbers.
        is_pipe: data come at their own pace.
    """

    name: str
    is_tiles: bool
    width: int
    height: int
    items: int | None
    dtype: np.dtype[Any]
    is_pipe: bool
    _data: Any
    _bands: int
    _is_bip: bool

    def __iter__(self) -> Iterator[np.ndarray]:
        if not self.is_pipe:
            for item in self._data:
                yield item.T if self._is_bip else item
            return
        shape = (self.width, self._bands) if self._is_bip else (self._bands, self.width)
        size = self.width * self._bands * self.dtype.itemsize
        while True:
            content = _read_fully(self._data, size)
            if len(content) < size:
                return  # the end, perhaps within a line that will never be complete
            line = np.frombuffer(content, self.dtype).reshape(shape)
            yield line.T if self._is_bip else line


def open_source(
    name: str, bands: int, width: int | None, dtype: str | None, layout: str | None
) -> Source:
    """Open ``-`` (standard input), a named pipe, a raw file or a ``.npy`` file.

    A ``.npy`` holds lines [lines, B, W] (``bil``) or [lines, W, B] (``bip``), or tiles
    [N, B, h, w]. Raw data are lines and need ``width``, ``dtype`` and ``layout``.

    Raises:
        BoardError: no such file, or numbers that do not fit the bundle.
    """
    path = Path(name)
    if name == "-":
        return _open_raw(name, sys.stdin.buffer, None, bands, width, dtype, layout)
    try:
        status = path.stat()
    except OSError as error:
        raise BoardError(f"{name} cannot be read ({error.strerror}); name a file or -") from error
    if path.suffix == ".npy" and stat.S_ISREG(status.st_mode):
        return _open_npy(path, bands, layout)
    size = status.st_size if stat.S_ISREG(status.st_mode) else None
    return _open_raw(name, path, size, bands, width, dtype, layout)


def _open_npy(path: Path, bands: int, layout: str | None) -> Source:
    try:
        data = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BoardError(f"{path} is not a usable .npy file ({error})") from error
    if data.dtype.kind not in "iuf" or data.ndim not in (3, 4) or data.size == 0:
        raise BoardError(
            f"{path} holds {data.dtype} {data.shape}; lines [lines, B, W], [lines, W, B] or tiles "
            f"[N, B, h, w] of numbers are needed, with B = {bands}"
        )
    if data.ndim == 4:
        _require_bands(path, data.shape[1], bands)
        return Source(
            str(path), True, data.shape[3], data.shape[2], len(data), data.dtype, False, data,
            bands, False,
        )  # fmt: skip
    fitting = [kind for kind, axis in (("bil", 1), ("bip", 2)) if data.shape[axis] == bands]
    if layout is None and len(fitting) == 2:
        raise BoardError(f"{path} {data.shape} is bil or bip alike; say which with --layout")
    chosen = layout or (fitting[0] if fitting else "bil")
    _require_bands(path, data.shape[1 if chosen == "bil" else 2], bands)
    width = data.shape[2 if chosen == "bil" else 1]
    return Source(
        str(path), False, width, 1, len(data), data.dtype, False, data, bands, chosen == "bip"
    )


def _open_raw(
    name: str,
    data: Any,
    size: int | None,
    bands: int,
    width: int | None,
    dtype: str | None,
    layout: str | None,
) -> Source:
    if width is None or dtype is None or layout is None:
        raise BoardError(f"{name} holds raw numbers: say --width, --dtype and --layout")
    try:
        kind = np.dtype(dtype)
    except TypeError as error:
        raise BoardError(f"--dtype {dtype} is unknown; use one such as uint16 or >u2") from error
    if kind.kind not in "iuf" or width < 1:
        raise BoardError(f"numbers and a width of at least 1 are needed, got {dtype} and {width}")
    if size is None:
        stream = data if not isinstance(data, Path) else data.open("rb")
        return Source(name, False, width, 1, None, kind, True, stream, bands, layout == "bip")
    line = width * bands * kind.itemsize
    if size == 0 or size % line:
        raise BoardError(
            f"{name} has {size} bytes, which is no multiple of a line of {line} ({bands} bands x "
            f"{width} samples of {kind}); check --width and --dtype"
        )
    shape = (size // line, width, bands) if layout == "bip" else (size // line, bands, width)
    mapped = np.memmap(data, dtype=kind, mode="r", shape=shape)
    return Source(name, False, width, 1, len(mapped), kind, False, mapped, bands, layout == "bip")


def _require_bands(path: Path, found: int, bands: int) -> None:
    if found != bands:
        raise BoardError(
            f"{path} has {found} bands, the bundle's network takes {bands}; select the bands that "
            "it was trained on"
        )


def _read_fully(stream: IO[bytes], size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0:
        part = stream.read(size)
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
