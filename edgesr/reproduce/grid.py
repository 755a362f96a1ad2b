"""Tables as text: one form for the console and for documents."""

from __future__ import annotations

from dataclasses import dataclass

from rich import box
from rich.table import Table


@dataclass(frozen=True)
class Grid:
    """A table of strings; columns after the first are aligned to the right unless ``prose``."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    prose: bool = False

    def markdown(self) -> str:
        """Return the table in Markdown."""
        rule = ["---", *["---" if self.prose else "---:"] * (len(self.header) - 1)]
        return "\n".join(f"| {' | '.join(row)} |" for row in (self.header, rule, *self.rows))

    def rich(self) -> Table:
        """Return the table for a console."""
        table = Table(box=box.SIMPLE_HEAD, title=self.title, title_justify="left", pad_edge=False)
        for index, name in enumerate(self.header):
            table.add_column(name, justify="right" if index and not self.prose else "left")
        for row in self.rows:
            table.add_row(*row)
        return table
