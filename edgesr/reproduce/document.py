"""Tables of a results file inside a Markdown document, between marks that name them.

``python -m edgesr.reproduce.document docs/reruns.md docs/results/reruns.json`` renders them anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from edgesr.errors import DataError
from edgesr.files import atomic_path
from edgesr.reproduce.figures import Content
from edgesr.reproduce.real_table import all_grids
from edgesr.reproduce.store import load

_MARK = re.compile(r"(<!-- table: (?P<name>[^\n]+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str, content: Content) -> str:
    """Return a document with every marked table rendered from the results.

    Raises:
        DataError: the document marks a table that the results do not have.
    """
    grids = all_grids(content)

    def render(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in grids:
            raise DataError(f"the results have no table {name!r}; they have {', '.join(grids)}")
        return f"{match[1]}{grids[name].markdown()}\n{match[3]}"

    return _MARK.sub(render, text)


def main(arguments: Sequence[str]) -> int:
    """Render the tables of a document in place; return the exit code."""
    document, results = (Path(argument) for argument in arguments)
    text = filled(document.read_text(encoding="utf-8"), load(results))
    with atomic_path(document) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
