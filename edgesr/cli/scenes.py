"""Commands on whole scenes: upscale, archive."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgesr.cli.parser import add_command, add_reading, file_to_write
from edgesr.errors import OptionError, shown

FORMATS = ("tif", "zarr", "img")


def add(commands: Any) -> None:
    """Add the commands of this module to the parser."""
    _upscale(commands)
    _archive(commands)


def _upscale(commands: Any) -> None:
    upscale = add_command(
        commands,
        "upscale",
        "super-resolve a whole scene at constant memory, keeping its units and georeference",
        "edgesr upscale scene.tif scene_x4.tif --model runs/first/model.onnx",
        run_upscale,
        arguments="IN OUT --model FILE [options]",
        after_interrupt="; go on with the same command and --resume",
    )
    upscale.add_argument(
        "input", metavar="IN", help="scene in the sensor's numbers: a file, folder or address"
    )
    upscale.add_argument(
        "output",
        type=_scene_to_write,
        metavar="OUT",
        help=".tif (COG), .zarr, .img or .hdr (ENVI), .npz or .npy",
    )
    add_scene_options(upscale)
    upscale.add_argument(
        "--threads", type=int, metavar="N", help="tiles at once (default: the processors)"
    )
    upscale.add_argument(
        "--resume", action="store_true", help="go on where an interrupted run of OUT was"
    )
    upscale.add_argument("--overwrite", action="store_true", help="replace OUT")
    upscale.add_argument(
        "--dry-run", action="store_true", help="print tiles, memory, disk and time; write nothing"
    )


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
    workers.add_argument(
        "--split",
        type=int,
        metavar="PIXELS",
        help="cut scenes of more pixels (LR) into strips, one task each (default: none is cut)",
    )
    add_scene_options(archive)


def _scene_to_write(text: str) -> Path:
    """A file; a Zarr store is a folder, and may be spelled as one."""
    return Path(text) if text.rstrip("/").endswith(".zarr") else file_to_write(text)


def add_scene_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of super-resolving one scene; :func:`scene_options` reads them."""
    group = parser.add_argument_group("Each scene")
    group.add_argument(
        "--model", metavar="FILE", help=".onnx or .engine of a run, or its .safetensors"
    )
    group.add_argument(
        "--weights",
        metavar="FILE",
        help="the same; --model is then your own package.module:factory that they fit",
    )
    group.add_argument(
        "--card",
        type=Path,
        metavar="FILE",
        help="what a model of another tool was trained on: JSON, or a model file that says it",
    )
    group.add_argument(
        "--runtime",
        metavar="NAME",
        help="onnxruntime, openvino, openvino-bf16, tensorrt, torch (default: by the file)",
    )
    group.add_argument(
        "--memory", metavar="SIZE", help="that a process may use, such as 800MB (default: 1GB)"
    )
    group.add_argument(
        "--dtype", metavar="TYPE", help="source, float32, uint16, int16, ... (default: source)"
    )
    group.add_argument("--window", metavar="R,C,H,W", help="row, column, height, width (LR)")
    group.add_argument(
        "--bands",
        choices=("network", "all"),
        help="all: those that the network does not take are interpolated (default: network)",
    )
    group.add_argument(
        "--rescale", metavar="F[,O]", help="factor and offset to the training data's numbers"
    )
    add_reading(group)
    group.add_argument(
        "--ortho", action="store_true", help="on the ground, by the product's look-up table (EMIT)"
    )
    group.add_argument("--stac", action="store_true", help="write a STAC item beside it")


def scene_options(options: argparse.Namespace) -> dict[str, Any]:
    """The options of one scene that were given, beside its model.

    Raises:
        OptionError: a value that cannot be.
    """
    names = (
        "runtime", "memory", "dtype", "window", "bands", "rescale", "nodata", "axes",
        "wavelength_unit",
    )  # fmt: skip
    given = {name: getattr(options, name) for name in names}
    found = {name: value for name, value in given.items() if value is not None}
    found |= {name: True for name in ("ortho", "stac") if getattr(options, name)}
    if options.card is not None:
        from edgesr.loading.card_files import given_card

        found["card"] = given_card(options.card).to_json()
    if options.model and options.weights:
        found["factory"] = options.model
    from edgesr.scenes.options import SceneOptions

    SceneOptions(model=str(model_file(options)), **found)  # refused before any work
    return found


def model_file(options: argparse.Namespace) -> Path:
    """The model file.

    Raises:
        OptionError: none was named, or two.
    """
    named = options.weights or options.model
    if options.weights and options.model and ":" not in options.model:
        raise OptionError(
            f"--weights names the file, so that --model {shown(options.model)} can only be your own"
            " package.module:factory; leave one of them out"
        )
    if not named:
        raise OptionError("a model file is needed; pass --model FILE, such as runs/.../model.onnx")
    return Path(named)


def run_upscale(options: argparse.Namespace) -> None:
    """Super-resolve a scene and say what was written, or what would be."""
    chosen = scene_options(options)
    if options.threads is not None:
        chosen["threads"] = options.threads
    from edgesr.report.wording import duration
    from edgesr.scenes.upscale import plan, upscale

    target = options.output
    if options.dry_run:
        found = plan(options.input, target, model_file(options), **chosen)
        height, width = found.tile
        print(
            f"{target}: {found.tiles} tiles of {height} x {width} pixels (overhead"
            f" {found.overhead:.2f}), {found.workers} at once; about"
            f" {found.memory / 1e6:.0f} MB of memory, {found.disk / 1e9:.2f} GB of disk for"
            f" {found.output / 1e9:.2f} GB of pixels, {duration(found.seconds)}"
        )
        return
    receipt = upscale(
        options.input,
        target,
        model_file(options),
        resume=options.resume,
        overwrite=options.overwrite,
        **chosen,
    )
    print(
        f"{target}: {receipt.pixels} pixels in {duration(receipt.seconds)}, SHA-256"
        f" {receipt.sha256}"
    )


def run_archive(options: argparse.Namespace) -> None:
    """Super-resolve every scene and print how many there are."""
    from edgesr.commands.archive import Running, archive
    from edgesr.report.wording import plural, quantity

    made = archive(
        options.scenes,
        options.output,
        model_file(options),
        Running(
            options.workers,
            options.scheduler,
            options.threads,
            options.retries,
            options.timeout,
            options.split,
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
