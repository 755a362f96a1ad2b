"""Timings of kernels that one build leaves for the next, a file for each device."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgesr_export.errors import ExportError
from edgesr_export.model_file import write_bytes
from edgesr_export.tensorrt.api import Api

L4T_RELEASE = Path("/etc/nv_tegra_release")


def cache_file(folder: Path, api: Api, capability: str, gpu: str | None) -> Path:
    """The cache of this library, GPU and (on a Jetson) L4T within ``folder``.

    Timings of one of them mislead another, so each has its own file.
    """
    parts = [api.name, api.version, f"sm{capability}", gpu or "no gpu", l4t_release()]
    slugs = [re.sub(r"[^\w.]+", "-", part).strip("-").lower() for part in parts if part]
    return folder / f"timing-{'-'.join(slugs)}.cache"


def l4t_release(file: Path = L4T_RELEASE) -> str:
    """ "R36.4.3" on a Jetson, "" elsewhere."""
    try:
        text = file.read_text(errors="replace")
    except OSError:
        return ""
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", text)
    return f"R{found[1]}.{found[2]}" if found else ""


def load_cache(config: Any, file: Path) -> None:
    """Start the build from the timings in ``file``, or from none."""
    try:
        known = file.read_bytes() if file.is_file() else b""
    except OSError as error:
        raise ExportError(f"timing cache {file} cannot be read: {error.strerror}") from error
    with _quiet():
        cache = config.create_timing_cache(known) or config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)  # False: refuse timings of another device


def save_cache(config: Any, file: Path) -> None:
    """Keep the timings of the build."""
    with _quiet():
        cache = config.get_timing_cache()
        content = None if cache is None else cache.serialize()
    if content is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ExportError(
                f"timing cache {file.parent} is no folder: {error.strerror}"
            ) from error
        write_bytes(memoryview(content), file)


@contextmanager
def _quiet() -> Iterator[None]:
    """RTX has the calls, does nothing in them, and warns that it does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
