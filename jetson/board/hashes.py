"""Is the bundle the one that left the desktop? Every file is held against ``manifest.json``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import BoardError

MANIFEST = "manifest.json"
FORMAT = 1
GUARDED = ("board", "models", "reference")
"""Folders in which a file that the manifest does not list is refused."""

_AGAIN = "copy the bundle to the board again"


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal, without holding the file in memory."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def read_manifest(folder: Path) -> tuple[dict[str, Any], str]:
    """Return the manifest of a bundle, and its identity: the SHA-256 of the manifest itself.

    Raises:
        BoardError: no manifest, not JSON, or of another format.
    """
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
        manifest = json.loads(content)
    except OSError as error:
        raise BoardError(f"{path} cannot be read ({error.strerror}); {_AGAIN}") from error
    except ValueError as error:
        raise BoardError(f"{path} is not JSON ({error}); {_AGAIN}") from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise BoardError(
            f"{path} has format {found!r} and this program reads {FORMAT}; make the bundle again"
        )
    if not isinstance(manifest.get("files"), dict) or not manifest["files"]:
        raise BoardError(f"{path} lists no files; make the bundle again")
    return manifest, hashlib.sha256(content).hexdigest()


def verify(folder: Path, manifest: dict[str, Any]) -> None:
    """Compare every listed file with its size and SHA-256, and refuse files that are not listed.

    This finds damage and careless changes. Who changes the manifest, too, is found by comparing
    the bundle's identity with the one that the desktop printed (``--bundle-id``).

    Raises:
        BoardError: a file is missing, changed, outside the folder, or not listed; the message
            names the first and counts the rest.
    """
    problems = [
        problem
        for name, entry in sorted(manifest["files"].items())
        for problem in [_problem(folder, name, entry)]
        if problem
    ]
    problems += [f"{name} is not listed in {MANIFEST}" for name in _unlisted(folder, manifest)]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise BoardError(f"the bundle is damaged or was changed: {problems[0]}{more}; {_AGAIN}")


def is_inside(name: str) -> bool:
    """Whether a relative POSIX path stays in its folder by its spelling alone."""
    path = PurePosixPath(name)
    return bool(name) and "\\" not in name and not path.is_absolute() and ".." not in path.parts


def _problem(folder: Path, name: str, entry: Any) -> str | None:
    if not isinstance(entry, dict) or not {"sha256", "bytes"} <= set(entry):
        return f"{MANIFEST} has no SHA-256 and size for {name}"
    path = folder / name
    if not is_inside(name) or folder.resolve() not in path.resolve().parents:
        return f"{name} leaves the folder of the bundle"
    try:
        size = path.stat().st_size
        if size != entry["bytes"]:
            return f"{name} has {size} bytes, the manifest says {entry['bytes']}"
        found = sha256(path)
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"
    if found != entry["sha256"]:
        return f"{name} has SHA-256 {found[:12]}..., the manifest says {entry['sha256'][:12]}..."
    return None


def _unlisted(folder: Path, manifest: dict[str, Any]) -> list[str]:
    found = [
        path.relative_to(folder).as_posix()
        for room in GUARDED
        for path in sorted((folder / room).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]
    return [name for name in found if name not in manifest["files"]]
