"""Render the documentation's tables from saved results: ``python -m benchmarks.tables [FILE]``.

A table stands between two marks, the first of which names its section and its file of results::

    <!-- bench:latency amd-epyc-2-threads.json -->
    ...
    <!-- /bench:latency -->

Without FILE every table is rendered from the file that its mark names; with FILE from that one,
whose name the marks then carry. Tables of the GPU suite follow files of the GPU suite only; until
there is one, the mark names none.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import FOLDER, Results

PAGES = (FOLDER.parents[1] / "README.md", FOLDER.parent / "README.md")
UNMADE = "none"
MARKED = re.compile(
    r"<!-- bench:(?P<section>[a-z]+) (?P<file>[\w.-]+) -->\n.*?<!-- /bench:(?P=section) -->",
    re.DOTALL,
)


def rendered(text: str, results: Results | None = None, folder: Path = FOLDER) -> str:
    """A page with every marked table made anew.

    Args:
        text: of the page.
        results: where the tables come from; None is the file of ``folder`` that a mark names.
        folder: of the results.

    Raises:
        ValueError: a mark of an unknown section.
        FileNotFoundError: a mark of a file that is not there.
    """
    from benchmarks.sections import SECTIONS

    def table(found: re.Match[str]) -> str:
        section, file = found["section"], found["file"]
        if section not in SECTIONS:
            raise ValueError(f"no section {section}; choose one of {', '.join(SECTIONS)}")
        if results is None and file == UNMADE:
            return found[0]
        source = results or Results.load(folder / file)
        if (section == "gpu") != (source.machine["device"] != "cpu"):
            return found[0]
        body = SECTIONS[section](source)
        return f"<!-- bench:{section} {source.path.name} -->\n{body}\n<!-- /bench:{section} -->"

    return MARKED.sub(table, text)


def render(path: Path | None = None, pages: Sequence[Path] = PAGES) -> None:
    """Write all pages anew, and the figure of the results."""
    from benchmarks.figures import draw_scaling

    results = None if path is None else Results.load(path)
    texts = {page: rendered(page.read_text("utf-8"), results) for page in pages}
    for page, text in texts.items():
        page.write_text(text, "utf-8")
    if results is not None:
        draw_scaling(results, results.path.with_name(f"{results.path.stem}-scaling.png"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables")
    parser.add_argument("file", nargs="?", type=Path, help="results to render from")
    render(parser.parse_args().file)
