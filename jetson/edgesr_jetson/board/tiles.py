"""Reference tiles: small arrays of a known kind, read from bytes that were hashed."""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from typing import Sequence, Tuple

import numpy as np

from .contents import Bundle, Model
from .errors import BoardError, one_line
from .hashes import Listed

Shape = Tuple[int, ...]


def load_inputs(bundle: Bundle) -> list[np.ndarray]:
    """Tiles [1, B, h, w], float32, that every model is asked; the first has the typical size.

    Raises:
        BoardError: changed, not such a file, or of a size outside the bundle's range.
    """
    tiles = _load(bundle.inputs)
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
    tiles = _load(model.outputs)
    found = [tile.shape for tile in tiles]
    needed = [bundle.output_shape(tile.shape) for tile in inputs]
    if found != needed:
        raise _damaged(model.outputs, f"it has tiles {found}, {needed} are needed")
    return tiles


def check_references(bundle: Bundle) -> None:
    """Raise :class:`BoardError` unless all reference tiles can be used, before time is spent."""
    inputs = load_inputs(bundle)
    for model in bundle.models:
        load_outputs(bundle, model, inputs)


def _load(file: Listed) -> list[np.ndarray]:
    """Arrays ``tile0``, ``tile1``, ... as the desktop stores them: float32, finite, uncompressed.

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
            return [_array(archive.read(f"tile{index}.npy")) for index in range(len(entries))]
    except Exception as error:  # zipfile and numpy raise anything on damaged files
        raise _damaged(file, one_line(error)) from error


def _array(content: bytes) -> np.ndarray:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"version {version} of the npy format")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype != np.dtype("<f4") or 4 * math.prod(shape) != len(content) - stream.tell():
        raise ValueError(f"{dtype} {shape} in {len(content)} bytes")
    stream.seek(0)
    array = np.ascontiguousarray(np.lib.format.read_array(stream, allow_pickle=False))
    if not np.isfinite(array).all():
        raise ValueError("values that are not finite")
    return array


def _damaged(file: Listed, reason: str) -> BoardError:
    return BoardError(f"{file.name} cannot be used ({reason}); make the bundle again")
