"""Reference tiles: small arrays of a known kind, read from bytes that were hashed."""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from typing import Any, Sequence, Tuple

import numpy as np

from .contents import Bundle, Model, Native
from .errors import BoardError, one_line
from .hashes import Listed

Shape = Tuple[int, ...]


def load_inputs(bundle: Bundle) -> list[np.ndarray]:
    """Tiles [1, B, h, w], float32, that every model is asked; the first has the typical size.

    Raises:
        BoardError: changed, not such a file, or of a size outside the bundle's range.
    """
    tiles = _unit_tiles(bundle.inputs)
    for tile in tiles:
        bundle.profile.require(tile.shape)
    if not tiles or tiles[0].shape != bundle.profile.typical:
        raise _damaged(bundle.inputs, f"its first tile is not {bundle.profile.typical}")
    return tiles


def load_outputs(bundle: Bundle, model: Model, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What ``model`` must answer to ``inputs``, [1, B, r*h, r*w] each.

    Raises:
        BoardError: changed, not such a file, or of other shapes.
    """
    tiles = _unit_tiles(model.outputs)
    found = [tile.shape for tile in tiles]
    needed = [bundle.output_shape(tile.shape) for tile in inputs]
    if found != needed:
        raise _damaged(model.outputs, f"it has tiles {found}, {needed} are needed")
    return tiles


def load_native(bundle: Bundle, native: Native) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of [1, C, h, w] and [1, B, r*h, r*w] in the numbers of a native model.

    Raises:
        BoardError: changed, not such a file, or of other shapes.
    """
    types = (np.dtype(native.input_dtype), np.dtype(native.output_dtype))
    given, expected = _load(native.outputs, input=types[0], output=types[1])
    for one, other in zip(given, expected):
        fits = one.ndim == 4 and one.shape[:2] == (1, native.sensor_bands)
        if not fits or other.shape != bundle.output_shape(one.shape):
            raise _damaged(native.outputs, f"it has {one.shape} and {other.shape}")
        bundle.profile.require((1, bundle.bands, *one.shape[2:]))
    if not given:
        raise _damaged(native.outputs, "it is empty")
    return list(zip(given, expected))


def check_references(bundle: Bundle) -> None:
    """Raise :class:`BoardError` unless all reference tiles can be used, before time is spent."""
    inputs = load_inputs(bundle)
    for model in bundle.models:
        load_outputs(bundle, model, inputs)
        native = model.native
        while native is not None:
            load_native(bundle, native)
            native = native.integers


def _unit_tiles(file: Listed) -> list[np.ndarray]:
    """Tiles of finite float32."""
    (tiles,) = _load(file, tile=np.dtype("<f4"))
    if not all(np.isfinite(tile).all() for tile in tiles):
        raise _damaged(file, "values that are not finite")
    return tiles


def _load(file: Listed, **kinds: np.dtype[Any]) -> list[list[np.ndarray]]:
    """Arrays ``tile0``, ``tile1``, ... of each kind, as the desktop stores them: uncompressed.

    Nothing is allocated that the file does not hold.
    """
    content = file.read()
    try:
        with warnings.catch_warnings(), zipfile.ZipFile(io.BytesIO(content)) as archive:
            warnings.simplefilter("error")
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise ValueError("it is compressed")
            if sum(entry.file_size for entry in entries) > len(content):
                raise ValueError("its sizes do not fit its content")
            if len(entries) % len(kinds):
                raise ValueError(f"it has {len(entries)} arrays")
            return [
                [
                    _array(archive.read(f"{name}{index}.npy"), dtype)
                    for index in range(len(entries) // len(kinds))
                ]
                for name, dtype in kinds.items()
            ]
    except Exception as error:  # zipfile and numpy raise anything on damaged files
        raise _damaged(file, one_line(error)) from error


def _array(content: bytes, expected: np.dtype[Any]) -> np.ndarray:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"version {version} of the npy format")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    size = expected.itemsize * math.prod(shape)
    if dtype != expected or size != len(content) - stream.tell():
        raise ValueError(f"{dtype} {shape} in {len(content)} bytes")
    stream.seek(0)
    array = np.ascontiguousarray(np.lib.format.read_array(stream, allow_pickle=False))
    return array


def _damaged(file: Listed, reason: str) -> BoardError:
    return BoardError(f"{file.name} cannot be used ({reason}); make the bundle again")
