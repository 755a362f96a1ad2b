"""What a run may write, and where: never over a bundle, its source, or what is not its own.

Paths are compared by the files that they lead to, so that links, other spellings and other cases
are seen through.
"""

from __future__ import annotations

import argparse
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Iterator

from .errors import BoardError
from .files import read_regular
from .hashes import MANIFEST, is_own
from .strict_json import parse_json

ENGINES = "engines"
RESULTS = "results"

_ENGINE = re.compile(r"[^/]+\.engine|timing-[^/]+\.cache|\..+\.part")
_LARGEST_RESULT = 64 << 20


def header_of(path: Path) -> Path:
    """Where the ENVI header of live output goes."""
    return path.with_name(path.name + ".hdr")


def check_outputs(options: argparse.Namespace, folder: Path) -> None:
    """Make sure that ``--output``, ``--write`` and ``--engines`` destroy nothing.

    An earlier result is replaced, any other file with ``--overwrite`` alone; what belongs to the
    bundle or to the source of ``--live`` never. In the bundle, results are ``*.json`` beside
    ``run.py`` or anything in ``results/``, which is made where it is needed.

    Raises:
        BoardError: a place that cannot be written to.
    """
    targets = {"--output": Path(options.output)}
    if options.write:
        targets["--write"] = Path(options.write)
        targets["the header of --write"] = header_of(targets["--write"])
    guarded = set(_guarded(folder, options.live))
    for option, path in targets.items():
        if path.name in ("", ".."):
            raise BoardError(f"{option} {path} names no file")
        _check_place(option, path, folder)
        _check_existing(option, path, guarded, options.overwrite)
    real = [str(_real(path)).casefold() for path in targets.values()]
    if len(set(real)) < len(real):
        raise BoardError("--output and --write name one file; choose two")
    if options.engines:
        _check_engines(Path(options.engines), folder, list(targets.values()))


def _check_place(option: str, path: Path, folder: Path) -> None:
    name = _name_within(_real(path), folder)
    if name is None:
        return
    in_results = name.startswith(f"{RESULTS}/")
    is_result = option == "--output" and "/" not in name and is_own(name)
    if name.casefold() == MANIFEST or not (in_results or is_result):
        raise BoardError(
            f"{option} {path} lies among the bundle's own files; choose {RESULTS}/{path.name}, or "
            "a place outside"
        )
    if in_results:
        with suppress(OSError):  # the write that follows says what is wrong
            path.parent.mkdir(parents=True, exist_ok=True)


def _check_existing(
    option: str, path: Path, guarded: set[tuple[int, int]], may_overwrite: bool
) -> None:
    try:
        status = path.lstat()
    except OSError:
        return  # nothing there; the write that follows says if it cannot be
    if not stat.S_ISREG(status.st_mode):
        raise BoardError(f"{option} {path} is a link, a folder or a device; name a file")
    if (status.st_dev, status.st_ino) in guarded:
        raise BoardError(f"{option} {path} is a file of the bundle or of --live; choose another")
    if not may_overwrite and not (option == "--output" and _is_result(path)):
        raise BoardError(
            f"{option} {path} exists and is no earlier result; choose another, or add --overwrite"
        )


def _check_engines(engines: Path, folder: Path, targets: list[Path]) -> None:
    real = Path(os.path.realpath(engines))
    if _name_within(real, folder) not in (None, ENGINES):
        raise BoardError(
            f"--engines {engines} lies among the bundle's own files; choose {ENGINES}, or a place "
            "outside"
        )
    if any(_name_within(_real(target), real) is not None for target in targets):
        raise BoardError(f"--output and --write may not lie in --engines {engines}; choose another")
    try:
        found = sorted(entry.name for entry in engines.iterdir())
    except OSError:
        return
    for name in found:
        is_described = name.endswith(".json") and name[: -len("json")] + "engine" in found
        if not (_ENGINE.fullmatch(name) or is_described):
            raise BoardError(f"--engines {engines} holds {name}, no engine; choose an empty folder")


def _guarded(folder: Path, source: str | None) -> Iterator[tuple[int, int]]:
    """Device and inode of every file that may not be replaced."""
    paths = [
        path
        for path in folder.rglob("*")
        if not is_own(path.relative_to(folder).as_posix()) or path.name == MANIFEST
    ]
    if source not in (None, "-"):
        given = Path(str(source))
        paths += [given, header_of(given)]
        if given.suffix:
            paths.append(given.with_suffix(".hdr"))
    for path in paths:
        with suppress(OSError):
            status = path.stat()
            yield status.st_dev, status.st_ino


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path.parent)) / path.name


def _name_within(path: Path, folder: Path) -> str | None:
    """``path`` relative to ``folder`` where it lies in it, whatever the spelling; else None."""
    parts: list[str] = []
    for place in (path, *path.parents):
        with suppress(OSError):
            if place.samefile(folder):
                return "/".join(reversed(parts))
        parts.append(place.name)
    return None


def _is_result(path: Path) -> bool:
    try:
        found = parse_json(read_regular(path, _LARGEST_RESULT))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and {"schema_version", "mode", "models"} <= set(found)
