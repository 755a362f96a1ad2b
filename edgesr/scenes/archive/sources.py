"""Which scenes an archive consists of: a list, a STAC collection, a folder, or a pattern."""

from __future__ import annotations

import csv
import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from edgesr.cube.readers import find_reader
from edgesr.errors import DataError, OptionError, shown
from edgesr.progress import LOGGER
from edgesr.stored import read_json

STAC = (".json", ".geojson")
COLUMNS = ("path", "href")
BANDS = ("eo:bands", "bands")
"""Keys by which an asset of STAC says that it has bands: version 1.0 and 1.1."""


@dataclass(frozen=True)
class Source:
    """One scene.

    Attributes:
        path: absolute, as :func:`edgesr.cube.read_cube` takes it.
        output: name within the archive; None takes the name of the source.
    """

    path: str
    output: str | None = None


def find_sources(
    spec: str, asset: str | None = None, leave_out: Path | None = None
) -> list[Source]:
    """Return the scenes that ``spec`` names, in its order; of a folder or pattern, by name.

    Args:
        spec: a list (a path a line, ``#`` begins a comment), a ``.csv`` with the column ``path`` or
            ``href`` and perhaps ``output``, a STAC item or collection of items (``.json``,
            ``.geojson``), a folder whose cubes are taken, or a pattern such as ``'in/*.tif'``.
            Paths in a list are relative to it.
        asset: which asset of a STAC item is the scene; ``data``, or the first with bands, if None.
        leave_out: a folder whose files are no sources: the archive's own.

    Raises:
        OptionError: there is nothing of that name, or no scene in it; an asset of something else.
        DataError: a list that cannot be read.
    """
    path = Path(spec)
    if asset is not None and path.suffix.lower() not in STAC:
        raise OptionError(
            f"--asset is for STAC items, and {shown(spec)} is no {STAC[0]}; leave it out"
        )
    if path.is_dir():
        sources = list(_in_folder(path, leave_out))
    elif path.is_file():
        sources = list(_in_file(path, asset))
    elif glob.has_magic(spec):
        found = sorted(glob.glob(spec, recursive=True))  # noqa: PTH207  (takes absolute ones, too)
        sources = [Source(str(Path(one).absolute())) for one in found if Path(one).is_file()]
    else:
        raise OptionError(f"{shown(spec)} does not exist; name a list, a folder or a pattern")
    if not sources:
        raise OptionError(f"{shown(spec)} names no scene; name a list, a folder or a pattern")
    return sources


def _in_folder(folder: Path, leave_out: Path | None) -> Iterator[Source]:
    """Every cube below a folder; files that belong to another cube, such as a header, are none."""
    own = None if leave_out is None else leave_out.resolve()
    taken: set[Path] = set()
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and (Path(place) / name).resolve() != own
        )
        for path in (Path(place) / name for name in sorted(files)):
            if path.name.startswith(".") or path in taken or not path.is_file():
                continue
            try:
                reader = find_reader(path)
            except DataError as error:
                LOGGER.warning(f"left out: {error}")
                continue
            if reader is not None:
                taken.update(reader.files(path))
                yield Source(str(path.absolute()))


def _in_file(path: Path, asset: str | None) -> Iterator[Source]:
    suffix = path.suffix.lower()
    if suffix in STAC:
        return _in_stac(path, asset)
    return _in_table(path) if suffix == ".csv" else _in_list(path)


def _in_list(path: Path) -> Iterator[Source]:
    for line in _text(path).splitlines():
        name = line.strip()
        if name and not name.startswith("#"):
            yield Source(_absolute(name, path))


def _in_table(path: Path) -> Iterator[Source]:
    rows = csv.DictReader(_text(path).splitlines())
    column = next((name for name in COLUMNS if name in (rows.fieldnames or ())), None)
    if column is None:
        raise DataError(
            f"{path} has neither a column {' nor '.join(COLUMNS)}; its first line names the columns"
        )
    for number, row in enumerate(rows, start=2):
        if not row[column]:
            raise DataError(f"{path}: row {number} has no {column}; fill it in, or remove the row")
        yield Source(_absolute(row[column], path), row.get("output") or None)


def _in_stac(path: Path, asset: str | None) -> Iterator[Source]:
    content = read_json(path, "the list", finite=False)
    items = content.get("features", [content]) if isinstance(content, dict) else None
    if not isinstance(items, list):
        raise DataError(f"{path} is no STAC item and no collection of items (features)")
    for number, item in enumerate(items):
        assets = item.get("assets") if isinstance(item, dict) else None
        if not isinstance(assets, dict) or not isinstance(item.get("id"), str):
            raise DataError(f"{path}: item {number} has no id or no assets, as STAC items have")
        name = asset or _usual_asset(assets)
        chosen = assets.get(name)
        href = chosen.get("href") if isinstance(chosen, dict) else None
        if not isinstance(href, str):
            raise DataError(
                f"{path}: item {shown(item['id'])} has no asset {name or 'with bands'}; name one of"
                f" {shown(', '.join(assets))} by --asset"
            )
        yield Source(_absolute(href, path), item["id"].replace("/", "_"))


def _usual_asset(assets: dict[str, Any]) -> str | None:
    if "data" in assets:
        return "data"
    with_bands = (
        name
        for name, asset in assets.items()
        if isinstance(asset, dict) and any(asset.get(key) for key in BANDS)
    )
    return next(with_bands, None)


def _absolute(name: str, listed_in: Path) -> str:
    """A path as a list has it, made absolute; a ``file:`` address is one, too.

    Raises:
        DataError: it is the address of something on another machine.
    """
    if name.startswith("file://"):
        name = unquote(name.removeprefix("file://").removeprefix("localhost"))
    elif "://" in name:
        raise DataError(
            f"{listed_in}: {shown(name)} lies on another machine; copy it here, or mount it"
        )
    if "\0" in name:
        raise DataError(f"{listed_in}: {shown(name)} holds a null character; correct the list")
    return str((listed_in.parent / name).absolute())


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is no list: it is not text in UTF-8; for a single cube, take edgesr upscale"
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; check its rights") from error
