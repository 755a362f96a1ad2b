"""Commands that repeat what papers report."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from edgesr.cli.parser import add_command, add_json, add_reading, file_to_write, reading_options
from edgesr.cli.unused import refuse, stated
from edgesr.errors import OptionError


def add(commands: Any) -> None:
    """Add the commands of this module to the parser."""
    _reproduce(commands)


def _reproduce(commands: Any) -> None:
    reproduce = add_command(
        commands,
        "reproduce",
        "rerun a table of the papers and print it beside the published one",
        "edgesr reproduce lkca:5 --data Chikusei.mat:chikusei --device cuda",
        run_reproduce,
        arguments="TABLE [--data NAME=FILE ...] [options]",
        after_interrupt="; go on with the same command",
    )
    reproduce.add_argument(
        "table", nargs="?", metavar="TABLE", help="such as lkca:5 or real; see --list"
    )
    reproduce.add_argument("--list", action="store_true", help="list all tables and their cubes")
    reproduce.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="a cube of the table; FILE alone where it has one cube; repeat for more",
    )
    reproduce.add_argument(
        "--output",
        type=file_to_write,
        metavar="FILE",
        help="results; what FILE holds already is not run again (default: runs/reproduce.json)",
    )
    reproduce.add_argument(
        "--seeds", type=int, metavar="N", help="trainings of each row (default: 1; real: 3)"
    )
    reproduce.add_argument(
        "--epochs", type=int, metavar="N", help="of every training (default: the table's own)"
    )
    reproduce.add_argument(
        "--quick", action="store_true", help="rehearse: one step of training, cubes of any size"
    )
    add_reading(reproduce.add_argument_group("Cubes, whatever the files say"))
    reproduce.add_argument("--device", help="cpu, cuda or cuda:1 (default: cpu)")
    reproduce.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all)")
    add_json(reproduce)


def run_reproduce(options: argparse.Namespace) -> None:
    """Rerun a table of the papers and print it beside the published one."""
    from edgesr.reproduce.console import listing, render

    if options.list:
        others = ["TABLE"] * (options.table is not None)
        others += stated(
            options, "data", "output", "seeds", "epochs", "quick", "nodata", "axes",
            "wavelength_unit", "device", "threads", "json",
        )  # fmt: skip
        refuse(others, "--list only lists the tables")
        print(listing())
        return
    if options.table is None:
        raise OptionError("name a table, such as lkca:5; edgesr reproduce --list shows all")
    from edgesr.reproduce.command import reproduce

    content = reproduce(
        options.table,
        options.data,
        options.output or Path("runs/reproduce.json"),
        seeds=options.seeds,
        epochs=options.epochs,
        quick=options.quick,
        device="cpu" if options.device is None else options.device,
        threads=options.threads,
        reading=reading_options(options),
    )
    if options.json:
        print(json.dumps(content, indent=2))
    else:
        render(content, options.table)
