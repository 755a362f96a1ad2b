"""``python3 run.py``: hashes, board, engines, verification, measurement, one ``result.json``."""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import Any

from .contents import identity, open_bundle, read_manifest
from .errors import BoardError, printable
from .files import write_json
from .hashes import verify
from .options import parse_options
from .outputs import check_outputs
from .probe import probe
from .summary import summarise, warnings

SCHEMA_VERSION = 1
INTERRUPTED = 130


def main(folder: str, arguments: list[str], manifest: bytes | None = None) -> int:
    """Run a bundle; returns the exit code: 0, 2 where something failed, 130 after Ctrl-C.

    Whatever happens, ``result.json`` says what; it is written once and never half. Without a place
    for it, nothing is run.

    Args:
        manifest: by which the running program was verified; read here where it was not.
    """
    try:
        options = parse_options(arguments)
        check_outputs(options, Path(folder))
    except BoardError as error:
        return _fail(error)
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "ok": False,
        "mode": "bench" if options.live is None else "live",
        "error": None,
        "settings": {k: _plain(v) for k, v in sorted(vars(options).items()) if v is not None},
        "bundle": None,
        "board": None,
        "runtime": None,
        "models": [],
        "live": None,
    }
    code = 0
    try:
        _run(Path(folder), manifest, options, result)
        _require_verified(result["models"])
        result["ok"] = True
    except BoardError as error:
        result["error"] = printable(error)
        code = _fail(result["error"])
    except MemoryError:
        result["error"] = "too little memory; choose a smaller --tile, or close other programs"
        code = _fail(result["error"])
    except KeyboardInterrupt:
        result["error"] = "interrupted"
        sys.stderr.write("run.py: interrupted\n")
        code = INTERRUPTED
    try:
        write_json(Path(options.output), result)
    except BoardError as error:
        return _fail(error)
    print(summarise(result))
    print(f"written to {options.output}")
    return code


def _plain(value: Any) -> Any:
    """A setting as JSON has it: text for numbers that are not finite."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _require_verified(models: list[dict[str, Any]]) -> None:
    failed = [entry["name"] for entry in models if entry["status"] == "failed"]
    if failed:
        raise BoardError(f"{len(failed)} of {len(models)} models failed: {', '.join(failed)}")
    if not any(entry["status"] == "verified" for entry in models):
        raise BoardError(f"no model can be run here: {models[0]['reason']}")


def _run(
    folder: Path, manifest: bytes | None, options: argparse.Namespace, result: dict[str, Any]
) -> None:
    root = Path(options.root)
    result["board"] = probe(root)
    content = read_manifest(folder) if manifest is None else manifest
    found = identity(content)
    if options.bundle_id and not found.startswith(options.bundle_id.lower()):
        raise BoardError(f"this is bundle {found}, not {options.bundle_id}; copy the right one")
    bundle = open_bundle(folder, content)
    verify(folder, bundle.files.values())
    result["bundle"] = {
        "id": found,
        "files": len(bundle.files),
        "facts": bundle.facts,
        "bands": bundle.bands,
        "scale": bundle.scale,
    }
    _say(f"bundle {found}: {len(bundle.files)} files, all as their hashes say")
    for line in warnings(result["board"]):
        _say(line)
    try:
        from . import run_bundle  # numpy is only imported once the bundle is known to be whole
    except ImportError as error:
        raise BoardError(f"numpy cannot be imported ({error}); install python3-numpy") from error
    run_bundle.run(bundle, options, root, result, _say)


def _say(text: str) -> None:
    sys.stderr.write(f"run.py: {printable(text)}\n")
    sys.stderr.flush()


def _fail(error: object) -> int:
    sys.stderr.write(f"run.py: error: {printable(error)}\n")
    return BoardError.exit_code
