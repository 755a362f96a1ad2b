"""A whole scene through a model, at constant memory: windows in, blocks out.

``upscale`` reads windows of the scene, runs a model file over a grid of tiles that follows from
scene and model alone, and writes finished blocks; so the result does not depend on memory, threads,
window or interruptions, and an interrupted run goes on where it was.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from edgesr_export.native.io import DTYPES as IN_GRAPH

from edgesr import __version__
from edgesr.cube import Window
from edgesr.cube.control import magnified, magnified_transform, moved, moved_transform
from edgesr.cube.matching import check_numbers
from edgesr.cube.memory import held_memory, most_held_memory
from edgesr.cube.nodata import held_nodata
from edgesr.cube.opened import OpenCube
from edgesr.cube.parts import cube_files
from edgesr.cube.pixels import ArrayPixels
from edgesr.cube.readers import gdal_address, open_cube, split_spec
from edgesr.cube.scaling import per_band
from edgesr.errors import EdgesrWarning, OptionError
from edgesr.files import file_sha256
from edgesr.outputs import check_folder, check_outputs
from edgesr.progress import log
from edgesr.scenes.bicubic import Bicubic
from edgesr.scenes.grid import BLOCK, Grid
from edgesr.scenes.network import (
    ENGINE,
    ModelFile,
    Numbers,
    TileNetwork,
    numbers_of,
    open_model,
    open_network,
    require_finite,
)
from edgesr.scenes.options import SceneOptions
from edgesr.scenes.ortho import SENSOR, on_the_ground
from edgesr.scenes.output import (
    BlockStore,
    SceneMeta,
    check_target,
    finish,
    interrupted,
    written_files,
)
from edgesr.scenes.output.meta import DTYPES
from edgesr.scenes.output.stac import ACQUIRED
from edgesr.scenes.pieces import Pieces
from edgesr.scenes.progress import Progress
from edgesr.scenes.receipt import Receipt
from edgesr.scenes.tiles import Blank, Run, Source

_LOOKED_AT = 16  # windows of a scene that tell whether its numbers are of the right kind
_LOOK = 32  # LR side of each
_BARE = 150 * 10**6  # bytes of a process that has imported little
_TIMED = 3  # tiles that a dry run times


@dataclass(frozen=True)
class Plan:
    """What a run would do, of ``--dry-run``.

    Attributes:
        tiles: that the network is run on at most.
        tile: height and width of a tile, LR pixels.
        overhead: pixels that the network sees, divided by those of the scene.
        workers: tiles at once.
        memory: bytes at the peak, about.
        disk: bytes that are needed meanwhile, about.
        output: bytes of the pixels that are written, before compression.
        seconds: of the network, about.
    """

    tiles: int
    tile: tuple[int, int]
    overhead: float
    workers: int
    memory: int
    disk: int
    output: int
    seconds: float


def upscale(
    source: str | Path,
    target: str | Path,
    model: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> Receipt:
    """Super-resolve the scene ``source`` and write it to ``target``.

    Args:
        source: as :func:`edgesr.read_cube` takes it, in the numbers of the sensor.
        target: file to write; ``.tif`` (COG), ``.zarr``, ``.img`` or ``.hdr`` (ENVI).
        model: ``.onnx`` or ``.engine`` of a run, or its ``.safetensors``.
        resume: go on where an interrupted call was.
        overwrite: replace what exists.
        options: see :class:`edgesr.scenes.options.SceneOptions`.

    Returns:
        What was done: pixels, seconds, hashes.

    Raises:
        OptionError: an option that cannot be, or an output that exists.
        DataError: a scene that the model does not fit, or that cannot be read or written.
        ModelError, ExportError: a model that cannot be used.
    """
    chosen = SceneOptions.of({"model": str(model), **options})
    target = Path(target)
    inputs = [*cube_files(source), Path(model)]
    _check_outputs(target, inputs, chosen.stac, overwrite or (resume and interrupted(target)))
    with SceneWork(str(source), chosen) as scene:
        return scene.write(target, resume=resume, overwrite=overwrite)


def upscale_scene(source: str, target: str, options: Mapping[str, Any]) -> Receipt:
    """As :func:`upscale`, for an archive: goes on with what was interrupted, replaces the rest."""
    place = Path(target)
    left = interrupted(place)
    try:
        return upscale(source, place, resume=left, overwrite=not left, **options)
    except OptionError:
        if not left:
            raise
        return upscale(source, place, overwrite=True, **options)  # begun with other options


def plan(source: str | Path, target: str | Path, model: str | Path, **options: Any) -> Plan:
    """What :func:`upscale` would do, from a few tiles that are timed; nothing is written."""
    chosen = SceneOptions.of({"model": str(model), **options})
    with SceneWork(str(source), chosen) as scene:
        check_target(Path(target), scene.meta)
        return scene.plan()


class SceneWork:
    """A scene and a model that fits it."""

    def __init__(self, spec: str, options: SceneOptions) -> None:
        self._held = held_memory()
        os.environ.setdefault("GDAL_CACHEMAX", "64")  # MB; its own share is 5 % of the machine
        self.spec, self.options = spec, options
        self.model: ModelFile = open_model(Path(options.model), options.factory, options.given_card)
        self.cube: OpenCube = open_cube(spec, options.reading)
        try:
            self.numbers: Numbers = numbers_of(self.model.card, self.cube, options.factors)
            require_finite(self.numbers, self.cube.name)
            if options.ortho and self.cube.glt is None:
                raise OptionError(
                    f"{self.cube.name} has no geographic look-up table, as products of EMIT have;"
                    " leave out --ortho"
                )
            self._check_kind()
        except BaseException:
            self.cube.close()
            raise

    def __enter__(self) -> SceneWork:
        return self

    def __exit__(self, *_: object) -> None:
        self.cube.close()
        if "network" in vars(self):
            self.network.close()

    def _check_kind(self) -> None:
        """Refuse numbers of another kind, from windows that are spread over the scene."""
        if self.options.rescale is not None:
            return
        numbers, cube = self.numbers, self.cube
        height, width = cube.shape[:2]
        found = []
        count = int(np.sqrt(_LOOKED_AT))
        for row in np.linspace(0, max(0, height - _LOOK), count).astype(int):
            for col in np.linspace(0, max(0, width - _LOOK), count).astype(int):
                window = Window(int(row), int(col), min(_LOOK, height), min(_LOOK, width))
                values = cube.read(window, numbers.index)
                valid = ~cube.invalid(window, numbers.index, values)
                found.append(values[valid])
        pixels = np.concatenate(found)
        told = check_numbers(pixels, numbers.low, numbers.high, numbers.fill, cube.name)
        if told is not None:
            warnings.warn(told, EdgesrWarning, stacklevel=2)

    @cached_property
    def scale(self) -> int:
        return self.model.card.scale

    @cached_property
    def grid(self) -> Grid:
        height, width = self.cube.shape[:2]
        return Grid.of(height, width, self.scale, self.model.card.context, self.model.size)

    @cached_property
    def part(self) -> Window:
        """The HR window that is written."""
        height, width = self.cube.shape[:2]
        part = self.options.part or self.cube.extent
        if not part.inside(self.cube.extent):
            raise OptionError(
                f"--window {self.options.window} is not inside the scene of {height} x {width}"
                " pixels"
            )
        return Window(*(number * self.scale for number in (
            part.row, part.col, part.height, part.width)))  # fmt: skip

    @cached_property
    def dtype(self) -> np.dtype:
        """Of the output."""
        name = self.cube.dtype.name if self.options.dtype == "source" else self.options.dtype
        return np.dtype(name if name in DTYPES else "float32")

    @cached_property
    def computed(self) -> np.dtype:
        """Of what the network gives: the output's type, or float32 where a graph has it not."""
        return self.dtype if self.dtype.name in IN_GRAPH else np.dtype("float32")

    @cached_property
    def taken(self) -> np.dtype:
        """Of the tiles that it takes."""
        known = self.cube.dtype.name in IN_GRAPH
        return np.dtype(self.cube.dtype.name if known else "float32")

    @cached_property
    def nodata(self) -> float | None:
        """Of the output; None where no pixel can be without a measurement."""
        cube, dtype = self.cube, self.dtype
        held = held_nodata(cube.nodata, dtype)
        if held is not None:
            return held
        if dtype.kind == "f":
            return float("nan")
        measured = cube.nodata is None and cube.quality is None and cube.dtype.kind != "f"
        if measured and not self.options.ortho:
            return None
        return float(np.iinfo(dtype).min)

    @cached_property
    def network(self) -> TileNetwork:
        return open_network(
            self.model, self.options.runtime, self.numbers, (self.taken.name, self.computed.name)
        )

    @cached_property
    def others(self) -> list[int]:
        """Bands that are interpolated."""
        if self.options.bands != "all":
            return []
        own = set(self.numbers.index)
        return [band for band in range(self.cube.bands) if band not in own]

    @cached_property
    def order(self) -> list[int]:
        """The output's bands, as indices into the scene."""
        return sorted([*self.numbers.index, *self.others]) if self.others else self.numbers.index

    @cached_property
    def meta(self) -> SceneMeta:
        """Of the output."""
        glt = self.cube.glt
        if glt is None or not self.options.ortho:
            return self.image
        height, width = (length * self.scale for length in glt.shape)
        transform = magnified_transform(glt.transform, self.scale)
        return replace(
            self.image, height=height, width=width, crs=glt.crs, transform=transform,
            gcps=(), rpcs=None,
        )  # fmt: skip

    @cached_property
    def image(self) -> SceneMeta:
        """Of what the network makes of the scene, as it lies in the source."""
        cube, part, scale = self.cube, self.part, self.scale
        order = self.order
        row, col = part.row // scale, part.col // scale
        transform = magnified_transform(moved_transform(cube.transform, row, col), scale)
        gcps, rpcs = magnified(*moved(cube.gcps, cube.rpcs, row, col), scale)

        def picked(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[order]

        gain, offset = cube.gain, cube.offset
        names = cube.band_names
        known = gain is not None or offset is not None
        return SceneMeta(
            height=part.height,
            width=part.width,
            bands=len(order),
            dtype=self.dtype.name,
            nodata=self.nodata,
            wavelengths=picked(cube.wavelengths),
            fwhm=picked(cube.fwhm),
            bad_bands=picked(cube.bad_bands),
            band_names=None if names is None else tuple(names[band] for band in order),
            gain=per_band(gain, cube.bands, 1.0)[order] if known else None,
            offset=per_band(offset, cube.bands, 0.0)[order] if known else None,
            crs=cube.crs,
            transform=transform,
            gcps=gcps,
            rpcs=rpcs,
            scale=scale,
            interpolated=np.isin(order, self.others) if self.others else None,
            tags={
                "edgesr": __version__,
                "model_sha256": self.model_sha256,
                **({} if cube.acquired is None else {ACQUIRED: cube.acquired}),
            },
            source=Path(cube.source).name or cube.name,  # without folders, which are this machine's
        )

    @cached_property
    def model_sha256(self) -> str:
        return file_sha256(self.model.path)

    @cached_property
    def key(self) -> dict[str, str]:
        """All that the pixels depend on, by what messages call it."""
        deciding = asdict(self.options)
        for indifferent in ("model", "memory", "threads"):
            del deciding[indifferent]
        return {
            "source": _identity(self.spec, self.cube),
            "model": self.model_sha256,
            "options": repr(deciding),
            "version of edgesr": __version__,
        }

    def write(self, target: Path, *, resume: bool, overwrite: bool) -> Receipt:
        """Super-resolve all of it."""
        started = time.perf_counter()
        check_target(target, self.meta, stac=self.options.stac)
        pieces = Pieces(self.grid, self.part, self.block)
        run = self.prepare(pieces)  # what cannot be is refused before anything is written
        with self._store(target, resume=resume, overwrite=overwrite) as store:
            if not store.finished:
                fill = self._fill_ground if self.options.ortho else self._fill
                fill(store, run, pieces)
            finish(store)
        return Receipt(
            source=self.spec,
            target=str(target),
            pixels=self.meta.height * self.meta.width,
            seconds=time.perf_counter() - started,
            sha256=content_sha256(target),
            version=__version__,
            model_sha256=self.model_sha256,
        )

    def begin(self, target: Path) -> int:
        """Begin an output that several processes fill; return its rows of blocks."""
        check_target(target, self.meta, stac=self.options.stac)
        try:
            store = self._store(target, rows=(0, 0))  # begun already
        except OptionError:
            store = self._store(target, overwrite=True)
        with store:
            return store.grid[0]

    def write_rows(self, target: Path, rows: tuple[int, int]) -> None:
        """Make those rows of blocks of an output that was begun."""
        with self._store(target, rows=rows) as store:
            if store.missing:
                pieces = Pieces(self.grid, self.part, self.block)
                self._fill(store, self.prepare(pieces), pieces)

    def _store(self, target: Path, **how: Any) -> BlockStore:
        return BlockStore.open(
            target,
            self.meta,
            key=self.key,
            stac=self.options.stac,
            block=BLOCK if self.options.ortho else self.block,
            **how,
        )

    @cached_property
    def block(self) -> int:
        """HR side of the blocks that are written."""
        side = math.gcd(*(axis.block * self.scale for axis in (self.grid.rows, self.grid.cols)))
        return side if side < 2 * BLOCK and side % 16 == 0 else BLOCK

    def _fill(self, store: BlockStore, run: Run, pieces: Pieces) -> None:
        """Write the blocks that are not there yet."""
        wanted = pieces.wanted(store.done)
        with Progress(f"super-resolve {self.cube.name}", len(wanted)) as progress:
            for row, col, found in run.blocks(wanted):
                for place, block in pieces.add(row, col, found):
                    store.write(*place, _as(block, self.dtype).transpose(1, 2, 0))
                progress.add(found.shape[1] * found.shape[2])

    def _fill_ground(self, store: BlockStore, run: Run, pieces: Pieces) -> None:
        """Write the blocks that are not there yet from the whole image, which is made first."""
        path = store.folder / SENSOR
        if not path.is_file():
            with BlockStore.open(
                path, self.image, key=self.key, resume=True, block=self.block
            ) as image:
                self._fill(image, run, pieces)
                finish(image)
        pixels = ArrayPixels(np.load(path, mmap_mode="r"))
        assert self.cube.glt is not None
        assert self.nodata is not None
        with Progress(f"put {self.cube.name} on the ground", len(store.missing)) as progress:
            for row, col in store.missing:
                height, width, _ = store.shape(row, col)
                window = Window(row * store.block, col * store.block, height, width)
                with self.cube.reading():
                    block = on_the_ground(pixels, self.cube.glt, window, self.scale, self.nodata)
                store.write(row, col, block)
                progress.add(window.pixels)

    def prepare(self, pieces: Pieces) -> Run:
        """The run, with as many tiles at once as the memory allows; one shows what it takes.

        Raises:
            OptionError: not even one.
        """
        source = Source(self.cube, self.numbers, self.taken, self.model.size)
        blank = Blank(self.nodata, self.computed, self.scale, self._reach())
        more = Bicubic(self.cube, self.others, self.scale, self.computed) if self.others else None
        order = [self._position(band) for band in self.order] if self.others else None
        run = Run(source, self.network, self.grid, blank, len(self.order), 1, more, order)
        before, earlier = held_memory(), most_held_memory()
        shown = run.first(self.grid.needed(pieces.wanted(set()))) is not None
        peak = most_held_memory()
        grown = (peak if peak > earlier else held_memory()) - before
        height, width = (side * self.scale for side in self.grid.tile)
        depth = len(self.order) * self.computed.itemsize
        result = height * width * depth
        self._cost = max(2 * result, grown if shown else 6 * result)
        carried = self.grid.cols.length * self.scale * self.grid.rows.fade * self.scale * depth
        grown_since = max(before - self._held, 0)  # a program may have let go of some
        own = grown_since + min(self._held, _BARE)  # what it held is not ours
        self._needed = own + carried + pieces.bytes(self.image)
        run.workers = self._workers()
        height, width = self.grid.tile
        log(
            f"tiles of {height} x {width} pixels, {run.workers} at once, about"
            f" {self._memory(run.workers) / 1e6:.0f} MB of memory"
        )
        return run

    def _memory(self, workers: int) -> int:
        """Bytes at the peak; one more result may wait to be written."""
        return self._needed + self._cost * (workers + 1)

    def _workers(self) -> int:
        """Tiles at once that the memory allows."""
        limit = self.options.memory_bytes
        most = self.options.threads or len(os.sched_getaffinity(0))
        if self.model.path.suffix == ENGINE:
            most = 1
        while most > 1 and self._memory(most) > limit:
            most -= 1
        if self._memory(most) > limit:
            least = math.ceil(self._memory(most) / 1e8) / 10
            raise OptionError(
                f"--memory {self.options.memory} is too little for {self.cube.name}: one tile at a"
                f" time needs about {least:g} GB; pass --memory {least:g}GB"
            )
        return most

    def _position(self, band: int) -> int:
        """Where a band of the scene is in what a tile gives."""
        index = self.numbers.index
        if band in index:
            return index.index(band)
        return len(index) + self.others.index(band)

    def _reach(self) -> tuple[float, float]:
        """What the network may answer, generously."""
        limits = self.numbers.normalisation
        span = limits.upper - limits.lower
        low, high = (limits.lower - span).min(), (limits.upper + span).max()
        if self.others:
            return -np.inf, np.inf
        if self.dtype.kind != "f":  # saturated
            low, high = (float(np.clip(one, *_range(self.dtype))) for one in (low, high))
        return float(low), float(high)

    def plan(self) -> Plan:
        """What would be done."""
        pieces = Pieces(self.grid, self.part, self.block)
        run = self.prepare(pieces)
        run.kept.clear()  # it is timed, too
        tiles = self.grid.needed(pieces.wanted(set()))
        step = max(1, len(tiles) // _TIMED)
        seconds = []
        for row, col in tiles[::step][: _TIMED + 1]:
            began = time.perf_counter()
            run.tile(row, col)
            seconds.append(time.perf_counter() - began)
        return Plan(
            tiles=len(tiles),
            tile=self.grid.tile,
            overhead=self.grid.overhead,
            workers=run.workers,
            memory=self._memory(run.workers),
            disk=2 * (self.meta.nbytes + self.image.nbytes * self.options.ortho),
            output=self.meta.nbytes,
            seconds=float(np.median(seconds)) * len(tiles) / run.workers,
        )


def _check_outputs(target: Path, inputs: Sequence[Path], stac: bool, replaces: bool) -> None:
    """Refuse outputs that are inputs, that exist unasked, or that cannot be written."""
    written = written_files(target, stac=stac)
    folders = [path for path in written if path.suffix == ".zarr" and path.is_dir()]
    check_outputs([path for path in written if path not in folders], inputs, overwrite=replaces)
    for folder in folders:
        check_folder(folder, inputs)
        if not replaces:
            raise OptionError(f"{folder} exists; pass --overwrite or another name")
        if any(folder.iterdir()) and not (folder / "zarr.json").is_file():
            raise OptionError(f"{folder} is a folder that edgesr did not write; move it away")


def content_sha256(target: Path) -> str:
    """SHA-256 of a file; of a folder, of the names and hashes of all files in it."""
    if target.is_file():
        return file_sha256(target)
    digest = hashlib.sha256()
    for path in sorted(target.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(target)}\0{content_sha256(path)}\n".encode())
    return digest.hexdigest()


def _identity(spec: str, cube: OpenCube) -> str:
    """What a source is, so that another one is not gone on with."""
    if gdal_address(spec) is not None:
        return f"{cube.source} {cube.shape} {cube.dtype}"
    path, variable = split_spec(spec)
    if not path.exists():
        return spec
    state = path.stat()
    return f"{path.resolve()} {variable} {state.st_size} {state.st_mtime_ns}"


def _as(block: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A block in the output's type, little-endian."""
    if block.dtype != dtype and dtype.kind != "f":
        block = np.clip(np.rint(block.astype(np.float64)), *_range(dtype))
    return block.astype(dtype.newbyteorder("<"), copy=False)


def _range(dtype: np.dtype) -> tuple[int, int]:
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)
