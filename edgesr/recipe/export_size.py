"""``--export-size HxW``: the only LR size that an ONNX file is to take."""

from __future__ import annotations

import re

from edgesr.recipe.options import TILE, Check, require

HELP = "the one LR size, height and width, that the ONNX file is to take"

_FORM = re.compile(r"([0-9]{1,4})x([0-9]{1,4})")


def _parsed(text: str) -> tuple[int, int] | None:
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    height, width = map(int, found.groups())
    return (height, width) if TILE.holds(height) and TILE.holds(width) else None


EXPORT_SIZE = Check(
    "HxW, an LR height and width from 1 to 4096, such as 64x96",
    lambda text: _parsed(text) is not None,
)


def parse_export_size(text: str) -> tuple[int, int]:
    """Read ``64x96``: height, width.

    Raises:
        OptionError: it is something else.
    """
    require("export_size", text, EXPORT_SIZE)
    height, width = text.split("x")
    return int(height), int(width)
