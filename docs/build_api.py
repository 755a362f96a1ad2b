"""Write the API reference, ``docs/api/``, from the docstrings: ``python docs/build_api.py``.

pdoc does the work. Docstrings here are meant to be read in the source, so two habits of theirs are
translated to Markdown first: ``::`` before a drawing, and products such as ``h*scale, w*scale``,
whose asterisks Markdown would take for emphasis.
"""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path

import pdoc
import pdoc.render
from pdoc.render_helpers import to_html

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("edgesr", "export/edgesr_export", "jetson/edgesr_jetson")
_LITERAL = re.compile(r"^(.*?)\s*::$", re.M)
_PRODUCT = re.compile(r"(?<=[\w)\]])\*(?=[\w(\[])")


def modules() -> list[str]:
    """Dotted names of all modules, packages before what is in them, programs left out."""
    names = []
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            parts = path.relative_to((REPOSITORY / package).parent).with_suffix("").parts
            if parts[-1] == "__init__":
                names.append(".".join(parts[:-1]))
            elif parts[-1] != "__main__" and "tests" not in parts:
                names.append(".".join(parts))
    return sorted(names)


def readable(docstring: str) -> str:
    """The same text for Markdown; what is code already stays as it is."""
    lines = []
    for line in docstring.splitlines():
        if not line.startswith("    "):
            line = _LITERAL.sub(lambda found: f"{found[1]}:" if found[1] else "", line)
            parts = re.split(r"(`+[^`]*`+)", line)
            parts[::2] = [_PRODUCT.sub(r"\\*", part) for part in parts[::2]]
            line = "".join(parts)
        lines.append(line)
    return "\n".join(lines)


def build(folder: Path, names: list[str]) -> None:
    """Write the pages of the modules ``names`` into ``folder``."""
    pdoc.render.configure(docformat="google", show_source=True)
    pdoc.render.env.filters["to_html"] = lambda markdown: to_html(readable(markdown))
    # a package brings those of its modules that it does not hide behind __all__
    warnings.filterwarnings("ignore", "The module specification")
    pdoc.pdoc(*names, output_directory=folder)


if __name__ == "__main__":
    sys.path[:0] = [str(REPOSITORY / folder) for folder in (".", "export", "jetson")]
    build(REPOSITORY / "docs" / "api", modules())
    print("docs/api/index.html")
