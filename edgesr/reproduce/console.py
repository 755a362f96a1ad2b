"""What ``edgesr reproduce`` prints."""

from __future__ import annotations

from rich.console import Console

from edgesr.reproduce.catalogue import TITLES, cubes_of
from edgesr.reproduce.figures import Content
from edgesr.reproduce.paper_table import paper_grids
from edgesr.reproduce.published import source
from edgesr.reproduce.real import NAME
from edgesr.reproduce.real_table import all_grids

WIDEST = 200
"""Columns that a table may take: figures are never cut, a terminal wraps them instead."""


def render(content: Content, name: str, console: Console | None = None) -> None:
    """Print the tables that a name stands for, and what a reader must know of them."""
    console = console or Console(highlight=False)
    console.width = max(console.width, WIDEST)
    if name == NAME:
        for grid in all_grids(content).values():
            console.print(grid.rich())
        console.print("mean (largest minus smallest over the seeds), test region", style="dim")
        return
    table = content["experiments"][name]
    console.print(f"\n{table['title']}", style="bold")
    for grid in paper_grids(content, name):
        console.print(grid.rich())
    rows = [row for row in table["rows"] if row["trials"]]
    seeds = max((len(row["trials"]) for row in rows), default=0)
    notes = [f"paper: {source(name)}; here: mean of {seeds} seed(s), test region"]
    if table.get("quick"):
        notes.append(
            "REHEARSAL (--quick): one step of training; only Params and GMACs mean anything"
        )
    elif table.get("epochs"):
        notes.append(f"trained for {table['epochs']} epochs (--epochs), not as long as the paper")
    cubes = {row["cube"] for row in rows}
    if missing := [cube for cube in cubes_of(name) if cube not in cubes]:
        notes.append(f"not given: {', '.join(f'--data {cube}=FILE' for cube in missing)}")
    absent = {row["label"] for row in table["rows"]} - {row["label"] for row in rows}
    if absent:
        notes.append(f"networks that edgesr does not have: {', '.join(sorted(absent))}")
    for note in (*notes, *table["notes"]):
        console.print(f"- {note}", style="dim", soft_wrap=True)


def listing() -> str:
    """Return one line for each experiment: name, title and the cubes that it needs."""
    width = max(map(len, TITLES))
    lines = []
    for name, text in TITLES.items():
        needed = ", ".join(cubes_of(name))
        lines.append(f"{name:<{width}}  {text}" + (f" [{needed}]" if needed else ""))
    return "\n".join(lines)
