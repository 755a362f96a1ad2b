"""Commands on whole scenes: archive."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgesr.cli.parser import add_command
from edgesr.errors import OptionError

FORMATS = ("tif", "zarr", "img")


def add(commands: Any) -> None:
    """Add the commands of this module to the parser."""
    _archive(commands)


def _archive(commands: Any) -> None:
    archive = add_command(
        commands,
        "archive",
        "super-resolve every scene of a list or folder, on this machine or a cluster",
        "edgesr archive scenes.txt out --model student.onnx --workers 4",
        run_archive,
        arguments="SCENES OUT --model FILE [options]",
        after_interrupt="; go on with the same command",
    )
    archive.add_argument(
        "scenes",
        metavar="SCENES",
        help="list (a path a line, or .csv with the column path or href), STAC items (.json),"
        " folder, or pattern such as 'in/*.tif'",
    )
    archive.add_argument(
        "output", type=Path, metavar="OUT", help="folder of the outputs and of archive.json"
    )
    archive.add_argument(
        "--format", choices=FORMATS, default="tif", help="of the outputs (default: tif)"
    )
    archive.add_argument(
        "--asset", metavar="NAME", help="of a STAC item (default: data, or the first with bands)"
    )
    archive.add_argument(
        "--resume", action="store_true", help="refuse OUT if it holds no archive to go on with"
    )
    archive.add_argument(
        "--overwrite",
        action="store_true",
        help="replace outputs of another model, of other options, or of another program",
    )
    workers = archive.add_argument_group("Workers")
    workers.add_argument(
        "--workers",
        type=int,
        metavar="N",
        default=0,
        help="processes, each one scene at a time (default: 0, in this process, without Dask)",
    )
    workers.add_argument(
        "--scheduler", metavar="ADDRESS", help="of Dask instead, such as tcp://host:8786"
    )
    workers.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="of each worker (default: the processors, divided among the workers)",
    )
    workers.add_argument(
        "--retries",
        type=int,
        metavar="N",
        default=2,
        help="how often a scene is tried again after an unexpected failure (default: 2)",
    )
    workers.add_argument(
        "--timeout",
        type=float,
        metavar="S",
        help="seconds for one attempt at a scene, with workers (default: any number)",
    )
    add_scene_options(archive)


def add_scene_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of super-resolving one scene; :func:`scene_options` reads them."""
    group = parser.add_argument_group("Each scene")
    group.add_argument("--model", type=Path, required=True, metavar="FILE", help="model file")
    group.add_argument(
        "--tile", type=int, metavar="PIXELS", help="LR tile side (default: as the memory allows)"
    )


def scene_options(options: argparse.Namespace) -> dict[str, Any]:
    """The options of one scene that were given, beside its model."""
    if options.tile is not None and options.tile < 1:
        raise OptionError(f"--tile must be at least 1, not {options.tile}")
    return {} if options.tile is None else {"tile": options.tile}


def run_archive(options: argparse.Namespace) -> None:
    """Super-resolve every scene and print how many there are."""
    from edgesr.commands.archive import Running, archive
    from edgesr.report.wording import plural, quantity

    made = archive(
        options.scenes,
        options.output,
        options.model,
        Running(
            options.workers, options.scheduler, options.threads, options.retries, options.timeout
        ),
        suffix=f".{options.format}",
        asset=options.asset,
        options=scene_options(options),
        resume=options.resume,
        overwrite=options.overwrite,
    )
    print(
        f"{options.output}: {plural(len(made.done), 'scene')}, {made.computed} of them now,"
        f" {quantity(made.pixels)} pixels; edgesr report {options.output} shows them"
    )
