"""Cloud Optimized GeoTIFF: overviews first, then the image, each tile compressed only once.

A block is kept as a GeoTIFF of one tile a band, which GDAL compresses while the network is at work,
and behind it, for the overviews, half of it as it is.
The final file has the same tiles, copied, behind directories that list them: GDAL's own directory
of an empty image with all metadata, with size and places of the tiles filled in.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from edgesr.errors import DataError
from edgesr.scenes.output.formats._base import Format, Progress, register
from edgesr.scenes.output.formats._gdal import crs_of, described, encoded
from edgesr.scenes.output.formats._overview import halved
from edgesr.scenes.output.formats._pyramid import (
    blocks_of,
    grid_of,
    halve,
    levels_of,
    size_of,
)
from edgesr.scenes.output.formats._tiff import (
    HEIGHT,
    LONG,
    SUBFILE,
    TILE_OFFSETS,
    TILE_SIZES,
    WIDTH,
    Directory,
    Entry,
    Layout,
    read_directory,
)
from edgesr.scenes.output.meta import SceneMeta
from edgesr.scenes.output.store import BlockStore

_DESCRIBING = {258, 259, 262, 277, 284, 317, 322, 323, 338, 339, 42113}
"""Tags that an overview shares with the image: bits, compression, bands, tiles, nodata."""

_CLASSIC = 2**32 - 2**16
"""Bytes of a file up to which 32 bits are enough for its offsets."""

# What a reader may rely on, in GDAL's words; it withdraws it itself when it changes the file.
_PROMISE = (
    b"LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n"
    b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED\nINTERLEAVE=TILE\nKNOWN_INCOMPATIBLE_EDITION=NO\n "
)
_PROMISE = b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n%s" % (len(_PROMISE), _PROMISE)
_AROUND = 8
"""Bytes around a tile: its size before it, its last four bytes again behind it."""


@register
class Cog(Format):
    """Tiles of 256 x 256 pixels band by band, zstd 1, predictor 2 (integers) or 3 (floats).

    Overviews are means of the valid pixels, down to 512 pixels. Bands carry wavelength, width, good
    or bad, gain and offset, as their own tags and in GDAL's IMAGERY domain.
    """

    name, title, suffixes = "cog", "Cloud Optimized GeoTIFF", (".tif", ".tiff")

    def check(self, target: Path, meta: SceneMeta) -> None:
        from rasterio.errors import CRSError

        try:
            kept = crs_of(described(meta, 16))
        except CRSError as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{target}: the crs cannot be written ({reason})") from error
        if meta.crs is not None and kept is None:
            raise DataError(f"{target}: a GeoTIFF cannot hold this crs; choose .zarr")

    def encode(self, pixels: np.ndarray, meta: SceneMeta, block: int) -> bytes:
        image = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        return encoded(image, meta, block) + halved(image, meta.nodata).tobytes()

    def added(self, store: BlockStore, row: int, col: int) -> None:
        """Make the overviews above a block that have all that they are made of."""
        for level in range(1, levels_of(store.meta)):
            row, col = row // 2, col // 2
            if not halve(store, level, row, col):
                return

    def assemble(self, store: BlockStore, folder: Path, progress: Progress) -> None:
        levels = range(levels_of(store.meta))
        for level in levels[1:]:
            for row, col in blocks_of(store, level):
                halve(store, level, row, col)
        description = read_directory(io.BytesIO(described(store.meta, store.block)))
        sizes = [_tile_sizes(store, level) for level in levels]
        with (folder / store.target.name).open("wb") as file:
            _write_directories(file, description, sizes, store)
            total = sum(size[0].size for size in sizes)
            done = 0
            for level in reversed(levels):
                for row, col in blocks_of(store, level):
                    with _block_file(store, level, row, col) as block:
                        for tile in _tiles(block):
                            file.writelines((struct.pack("<I", len(tile)), tile, tile[-4:]))
                    done += 1
                    progress(done, total)


@contextmanager
def _block_file(store: BlockStore, level: int, row: int, col: int) -> Iterator[BinaryIO]:
    path = store.path(level, row, col)
    assert path is not None
    with path.open("rb") as file:
        yield file


def _tiles(file: BinaryIO) -> Iterator[bytes]:
    """The compressed tiles of a block, in the order of the bands."""
    directory = read_directory(file)
    places = zip(directory[TILE_OFFSETS].numbers(), directory[TILE_SIZES].numbers(), strict=True)
    for offset, size in places:
        file.seek(int(offset))
        yield file.read(int(size))


def _tile_sizes(store: BlockStore, level: int) -> np.ndarray:
    """Bytes of the tiles of a level, uint64 [B, rows, columns]."""
    sizes = np.empty((store.meta.bands, *grid_of(store, level)), np.uint64)
    for row, col in blocks_of(store, level):
        with _block_file(store, level, row, col) as file:
            sizes[:, row, col] = read_directory(file)[TILE_SIZES].numbers()
    return sizes


def _write_directories(
    file: BinaryIO, description: Directory, sizes: list[np.ndarray], store: BlockStore
) -> None:
    """Header and directories: the image's first, then those of its overviews.

    Behind them come the tiles: the smallest overview first, the image last; in each block after
    block, and in a block band after band.
    """

    def directory(level: int, layout: Layout, start: int) -> Directory:
        height, width = size_of(store.meta, level)
        shared = {
            tag: entry for tag, entry in description.items() if level == 0 or tag in _DESCRIBING
        }
        in_order = sizes[level].transpose(1, 2, 0) + np.uint64(_AROUND)  # as they stand in the file
        ends = in_order.ravel().cumsum(dtype=np.uint64).reshape(in_order.shape)
        offsets = (ends - in_order + np.uint64(start + 4)).transpose(2, 0, 1)
        return {
            **shared,
            **({SUBFILE: Entry.of(1)} if level else {}),
            WIDTH: Entry.of(width),
            HEIGHT: Entry.of(height),
            TILE_OFFSETS: Entry.of(offsets, layout.offsets),
            TILE_SIZES: Entry.of(sizes[level], LONG),
        }

    levels = range(len(sizes))
    bytes_of = [int(size.sum()) + _AROUND * size.size for size in sizes]
    for layout in (Layout(big=False), Layout(big=True)):
        lengths = [layout.size(directory(level, layout, 0)) for level in levels]
        first = layout.header + len(_PROMISE) + len(_PROMISE) % 2
        data = first + sum(lengths)
        if data + sum(bytes_of) < _CLASSIC:
            break
    file.write(layout.pack_header(first))
    file.write(_PROMISE.ljust(first - layout.header, b"\0"))
    at = first
    for level in levels:
        following = at + lengths[level]
        start = data + sum(bytes_of[level + 1 :])
        last = level == levels[-1]
        file.write(layout.pack(directory(level, layout, start), at, 0 if last else following))
        at = following
