"""Read the documentation as a newcomer does: what is to be run, where links go, what is named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
"""What the test runs. The pages of benchmarks and of the board have proofs of their own."""
OTHERS = (
    REPOSITORY / "benchmarks" / "README.md",
    REPOSITORY / "jetson" / "edgesr_jetson" / "board" / "README.md",
)

RUNNABLE = ("sh", "python")
SILENT = ("", "text", "math", "toml")
"""Languages of fences that show output or formulas."""

_FENCE = re.compile(
    r"^(?P<mark>```+)(?P<language>\S*)\n(?P<text>.*?)^(?P=mark)[ \t]*$", re.M | re.S
)
_COMMENT = re.compile(r"<!--((?:(?!-->).)*)-->\s*\Z", re.S)
_HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.M)
_LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
_OPTION = re.compile(r"(?<![\w-])--[a-zA-Z][a-zA-Z0-9-]*")


@dataclass(frozen=True)
class Block:
    """A fenced block of a document.

    Attributes:
        line: where it begins, from 1.
        language: word behind the fence.
        text: what is in it.
        remark: the HTML comment directly before it, which says how the test takes it: empty
            (run it), ``file: NAME`` (write it), or ``not run: WHY``.
    """

    line: int
    language: str
    text: str
    remark: str = ""

    @property
    def file(self) -> str:
        """Name of the file that the block shows; empty for none."""
        return self.remark.removeprefix("file:").strip() if self.remark.startswith("file:") else ""

    @property
    def excuse(self) -> str:
        """Why the block is not run; empty for none."""
        mark = "not run:"
        return self.remark.removeprefix(mark).strip() if self.remark.startswith(mark) else ""

    def commands(self) -> list[str]:
        """Lines of a shell block, continued ones joined, comments and blank lines left out."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
        return [line for line in lines if line]


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a document."""
    for found in _FENCE.finditer(text):
        before = _COMMENT.search(text[: found.start()])
        remark = before[1].strip() if before else ""
        line = text.count("\n", 0, found.start()) + 1
        yield Block(line, found["language"], found["text"], remark)


def prose(text: str) -> str:
    """A document without its fenced blocks and HTML comments."""
    return re.sub(r"<!--.*?-->", "", _FENCE.sub("", text), flags=re.S)


def anchors(text: str) -> set[str]:
    """What GitHub makes of the headings, so that links can point at them."""
    found: list[str] = []
    for title in _HEADING.findall(prose(text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        repeats = sum(
            slug == other or re.fullmatch(rf"{slug}-\d+", other) is not None for other in found
        )
        found.append(f"{slug}-{repeats}" if repeats else slug)
    return set(found)


def links(text: str) -> list[str]:
    """Targets of the links, images left out."""
    return _LINK.findall(prose(text))


def options(text: str) -> set[str]:
    """Every ``--option`` that a document mentions, in prose, tables and commands."""
    return set(_OPTION.findall(re.sub(r"<!--.*?-->", "", text, flags=re.S)))
