"""Blocks of a scene on the disk: each complete or absent, whenever the process ends."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from edgesr.errors import DataError, OptionError
from edgesr.files import PART, atomic_path
from edgesr.locks import Lock
from edgesr.scenes.output.formats import Format
from edgesr.scenes.output.meta import SceneMeta
from edgesr.scenes.output.target import format_of, written_files
from edgesr.stored import read_json, typed

BLOCK = 256
JOURNAL, BLOCKS, DRAFT = "journal.json", "blocks", "draft"
_NAME = re.compile(r"(\d+)-(\d+)-(\d+)\.([0-9a-f]{8})")  # level, row, column, CRC-32


@dataclass(frozen=True)
class Journal:
    """What a store belongs to.

    Attributes:
        version: of the store's layout.
        key: what the pixels depend on, by what it is called in messages.
        finished: the final files are in their places; only the store has to go.
    """

    version: int
    key: dict[str, str]
    finished: bool = False


def store_folder(target: Path) -> Path:
    """Where the blocks of ``target`` are kept until it is complete."""
    return target.with_name(f".{target.name}.part")


def interrupted(target: Path) -> bool:
    """Whether there is something to resume: what then exists of ``target`` is its own."""
    with suppress(OSError):  # a name that is too long
        return (store_folder(target) / JOURNAL).is_file()
    return False


class BlockStore:
    """The blocks of one output, kept in a folder beside it; see :meth:`open`.

    ::

        .NAME.part/
          journal.json          what the blocks were made from
          blocks/0-3-7.1f2e3d4c level 0 (the image; overviews above it), row 3, column 7 of blocks,
                                CRC-32 of the content, which is as the format keeps it
          draft/                the final file, while it is put together
        .NAME.lock              held by the process that is at work

    Several processes may fill one store, each its own rows of blocks.

    A block has a temporary name until it is complete. What the system lost of one (a power cut) is
    found by its checksum when the store is opened again, and the block counts as absent.

    Attributes:
        target: the final file.
        meta: of the scene.
        format: of the final file.
        block: height and width of the blocks, less at the lower and right edge.
        stac: whether a STAC item is written beside it.
        rows: of blocks that are made here: the first, and the one behind the last.
        finished: the final file is in its place.
    """

    def __init__(
        self,
        target: Path,
        meta: SceneMeta,
        block: int,
        stac: bool,
        rows: tuple[int, int] | None = None,
    ) -> None:
        self.target, self.meta, self.block, self.stac = target, meta, block, stac
        self.format: Format = format_of(target)
        self.folder = store_folder(target)
        self.rows = rows or (0, self.grid[0])
        self._blocks: dict[tuple[int, int, int], Path] = {}
        self._lock = Lock(target.with_name(f".{target.name}.lock"), target)
        self._journal = Journal(1, {})

    @classmethod
    def open(
        cls,
        target: Path,
        meta: SceneMeta,
        *,
        key: Mapping[str, str],
        resume: bool = False,
        overwrite: bool = False,
        stac: bool = False,
        block: int = BLOCK,
        rows: tuple[int, int] | None = None,
    ) -> BlockStore:
        """Begin an output, or go on with one, until :meth:`close`.

        Args:
            target: the final file; its suffix chooses the format.
            meta: of the scene.
            key: everything that the pixels depend on, by its name for people, such as "source",
                "model", "options", "edgesr".
            resume: go on where an interrupted run of the same key was; begin if there is none.
            overwrite: begin again, whatever an interrupted run has left.
            stac: write a STAC item beside the file, too.
            block: height and width of the blocks, a multiple of 16.
            rows: make these rows of blocks alone, of an output that was begun, while others may
                make the other rows; the first, and the one behind the last.

        Raises:
            OptionError: another process writes ``target``; an interrupted run is there and neither
                flag says what to do with it, or it had another key; a suffix of no format.
            DataError: the disk has too little room, or the folder cannot be written.
        """
        if resume and overwrite:
            raise OptionError("--overwrite and --resume contradict each other; pass one of them")
        if block < 16 or block % 16:
            raise ValueError(f"blocks of {block} pixels: a multiple of 16 is needed")
        store = cls(target, meta, block, stac, rows)
        what = {"output": f"{store.format.name} {block} {stac} {meta.digest()}"}
        if rows is None:
            store._lock.take()
        else:
            store._lock.check()
        try:
            with store._writing():
                if rows is None:
                    store._begin({**key, **what}, resume, overwrite)
                else:
                    store._join({**key, **what})
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Let others write the output; what has been written stays."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def finished(self) -> bool:
        return self._journal.finished

    @property
    def files(self) -> list[Path]:
        """The final files, in the order in which they appear."""
        return written_files(self.target, stac=self.stac)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        return -(-self.meta.height // self.block), -(-self.meta.width // self.block)

    @property
    def done(self) -> set[tuple[int, int]]:
        """Rows and columns of the blocks that need not be written any more."""
        places = set(np.ndindex(self.grid))
        if self.finished:
            return places
        first, end = self.rows
        made = {(row, col) for level, row, col in list(self._blocks) if level == 0}  # of any thread
        return made | {(row, col) for row, col in places if not first <= row < end}

    @property
    def missing(self) -> list[tuple[int, int]]:
        """Rows and columns of the others, in order."""
        done = self.done
        return [place for place in np.ndindex(self.grid) if place not in done]

    def shape(self, row: int, col: int) -> tuple[int, int, int]:
        """Height, width and bands of a block."""
        rows, cols = self.grid
        if not (0 <= row < rows and 0 <= col < cols):
            raise ValueError(f"there is no block ({row}, {col}) in {rows} x {cols}")
        return (
            min(self.block, self.meta.height - row * self.block),
            min(self.block, self.meta.width - col * self.block),
            self.meta.bands,
        )

    def write(self, row: int, col: int, pixels: np.ndarray) -> None:
        """Keep a block [h, w, B]; one thread at a time.

        Raises:
            DataError: the disk is full, or cannot be written; what is there can be resumed.
            ValueError: it is no block of this scene, in shape or type, or there already.
        """
        expected = self.shape(row, col)
        if (0, row, col) in self._blocks:
            raise ValueError(f"block ({row}, {col}) is there already")
        if pixels.shape != expected or pixels.dtype != self.meta.type:
            raise ValueError(
                f"block ({row}, {col}) is {pixels.dtype} {pixels.shape}, not {self.meta.dtype}"
                f" {expected}"
            )
        self.put(0, row, col, pixels)
        with self._writing():
            self.format.added(self, row, col)

    def put(self, level: int, row: int, col: int, pixels: np.ndarray) -> None:
        """Keep a block of a level, encoded; for formats, which make the levels above 0."""
        content = self.format.encode(pixels, self.meta, self.block)
        path = self.folder / BLOCKS / f"{level}-{row}-{col}.{zlib.crc32(content):08x}"
        with self._writing(), atomic_path(path) as temporary:
            temporary.write_bytes(content)
        self._blocks[level, row, col] = path

    def path(self, level: int, row: int, col: int) -> Path | None:
        """The file of a block, None where it is absent."""
        return self._blocks.get((level, row, col))

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """An empty folder for the final files."""
        draft = self.folder / DRAFT
        with self._writing():
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            try:
                yield draft
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise

    def remove(self) -> None:
        """Remove the store: the final file is in its place.

        The journal says so first and goes last; so it is never taken for one that lacks blocks.
        """
        with self._writing():
            self._write_journal(replace(self._journal, finished=True))
            self._clear()
            (self.folder / JOURNAL).unlink()
            self.folder.rmdir()
        self._blocks.clear()

    def _begin(self, key: dict[str, str], resume: bool, overwrite: bool) -> None:
        self._check_folder()
        if interrupted(self.target):
            if not (resume or overwrite):
                raise OptionError(
                    f"{self.target}: an interrupted run is in {self.folder}; pass --resume to go on"
                    " with it, or --overwrite to begin again"
                )
            if resume:
                self._resume(key)
                return
            self._clear()
        self._check_disk()
        (self.folder / BLOCKS).mkdir(parents=True, exist_ok=True)
        self._write_journal(Journal(1, key))

    def _join(self, key: dict[str, str]) -> None:
        if not interrupted(self.target):
            raise OptionError(f"{self.target} was not begun, so no part of it can be made")
        self._read_journal(key)
        self._read_blocks()

    def _resume(self, key: dict[str, str]) -> None:
        self._read_journal(key)
        if self.finished:
            if all(file.exists() for file in self.files):
                return
            self._write_journal(Journal(1, key))
        shutil.rmtree(self.folder / DRAFT, ignore_errors=True)
        (self.folder / BLOCKS).mkdir(exist_ok=True)
        self._remove_strangers()
        self._read_blocks()
        self._check_disk()

    def _read_journal(self, key: dict[str, str]) -> None:
        advice = "pass --overwrite to begin again"
        content = read_json(self.folder / JOURNAL, "the journal", advice=advice)
        try:
            journal = typed(Journal, content)
        except ValueError as error:
            raise DataError(f"{self.folder / JOURNAL}: {error}; {advice}") from error
        other = [name for name in {**key, **journal.key} if key.get(name) != journal.key.get(name)]
        if journal.version != 1:
            other = ["layout of its store"]
        if other:
            raise OptionError(
                f"{self.target}: the interrupted run had another {' and another '.join(other)};"
                f" repeat it as it was, or {advice}"
            )
        self._journal = journal

    def _remove_strangers(self) -> None:
        """Remove what was begun and never completed."""
        for path in (self.folder / BLOCKS).iterdir():
            if _NAME.fullmatch(path.name) is None:
                path.unlink()

    def _read_blocks(self) -> None:
        """Find the blocks that are there; of some rows, those of the image alone."""
        first, end = self.rows
        every = self.rows == (0, self.grid[0])
        for path in (self.folder / BLOCKS).iterdir():
            name = _NAME.fullmatch(path.name)
            if name is None:
                continue
            level, row, col = (int(name[number]) for number in (1, 2, 3))
            if not every and (level or not first <= row < end):
                continue
            if zlib.crc32(path.read_bytes()) != int(name[4], 16):
                path.unlink()  # damaged
                continue
            self._blocks[level, row, col] = path

    def _check_folder(self) -> None:
        """Refuse what is called as a store and is none: it will be removed with all that it holds.

        A folder without a journal is one that was just begun, or almost removed.
        """
        folder = self.folder
        if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir()):
            raise OptionError(f"{folder} is no folder, where blocks belong; move it away")
        if folder.is_dir() and not interrupted(self.target):
            left = {path.name for path in folder.iterdir() if not path.match(PART)}
            if left - {BLOCKS} or (left and any((folder / BLOCKS).iterdir())):
                raise OptionError(
                    f"{folder} is no store of edgesr, but called as one; move it away"
                )

    def _check_disk(self) -> None:
        held = sum(path.stat().st_size for path in self._blocks.values())
        needed = self.format.copies * self.meta.nbytes - held
        free = shutil.disk_usage(self.target.parent).free
        if needed > free:
            raise DataError(
                f"{self.target}: writing needs about {needed / 1e9:.1f} GB on the disk, but"
                f" {free / 1e9:.1f} GB are free; make room, or choose another folder"
            )

    def _write_journal(self, journal: Journal) -> None:
        with atomic_path(self.folder / JOURNAL) as temporary:
            temporary.write_text(json.dumps(asdict(journal), indent=1) + "\n")
        self._journal = journal

    def _clear(self) -> None:
        """Remove all but the journal."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != JOURNAL:
                path.unlink()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One line for what the disk refuses."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DataError(
                    f"{self.target}: the disk is full; make room and pass --resume, nothing is lost"
                ) from error
            reason = error.strerror or str(error).splitlines()[0]
            raise DataError(
                f"{self.target}: cannot be written ({reason}); mend that and pass --resume"
            ) from error
