"""Commands on what was made: export, engine, bundle, bench, estimate, report."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from edgesr_export.targets import PRECISIONS, TARGETS

from edgesr.cli.parser import add_command, add_json, add_output, file_to_write
from edgesr.cli.unused import refuse, stated
from edgesr.errors import OptionError
from edgesr.recipe.export_size import HELP
from edgesr.recipe.options import THREADS, TILE, require
from edgesr.recipe.recipes import IO, NATIVE, NORMALISED
from edgesr.recipe.tile_range import parse_tile_range

INT8 = ("tiles", "max_psnr_drop", "max_sam_drop", "confidence")
"""Options of ``edgesr export`` that quantising alone needs."""


def add(commands: Any) -> None:
    """Add the commands of this module to the parser."""
    _export(commands)
    _engine(commands)
    _bundle(commands)
    _bench(commands)
    _estimate(commands)
    _report(commands)


def _export(commands: Any) -> None:
    export = add_command(
        commands,
        "export",
        "rewrite an ONNX file for a target, checked link by link",
        "edgesr export net.onnx --target tensorrt --precision fp16 --output net.fp16.onnx",
        run_export,
        arguments="IN.onnx --target TARGET --output OUT.onnx [options]",
    )
    export.add_argument("input", type=Path, metavar="IN.onnx", help="float32 network, by anyone")
    export.add_argument(
        "--target",
        required=True,
        choices=list(TARGETS),
        help="what will run it; cpu is ONNX Runtime on a CPU",
    )
    export.add_argument("--precision", default="fp32", choices=PRECISIONS, help="(default: fp32)")
    export.add_argument(
        "--opset",
        type=int,
        metavar="N",
        help="newest operator set that the target reads: 16 for TensorRT 8.5, 17 for 8.6",
    )
    export.add_argument(
        "--export-size",
        metavar="HxW",
        help=f"{HELP} (default: any that IN.onnx takes)",
    )
    export.add_argument(
        "--io",
        default=NORMALISED,
        choices=IO,
        help="what OUT.onnx takes and gives: numbers in [0, 1], or the sensor's own, as the card of"
        f" IN.onnx describes them (default: {NORMALISED})",
    )
    add_output(export, "OUT.onnx", "file to write", required=True)
    export.add_argument(
        "--profile", action="store_true", help="print the time per operator, before and after"
    )
    export.add_argument(
        "--tiles", type=Path, metavar="FILE", help="int8: .npz of lr and hr tiles for training"
    )
    for name, unit in (("psnr", "DB"), ("sam", "DEG")):
        export.add_argument(
            f"--max-{name}-drop", type=float, metavar=unit, help="int8 (default: 0.05)"
        )
    export.add_argument(
        "--confidence",
        type=float,
        metavar="PER_CENT",
        help="int8: of the interval over tiles whose upper end must keep to both; 0 holds the mean"
        " against them (default: 90)",
    )


def _engine(commands: Any) -> None:
    engine = add_command(
        commands,
        "engine",
        "build a TensorRT engine, on this GPU or for another",
        "edgesr engine net.fp16.onnx --precision fp16 --sm 86 --output net.engine",
        run_engine,
        arguments="IN.onnx --output OUT.engine [options]",
    )
    engine.add_argument(
        "input", type=Path, metavar="IN.onnx", help="typed network, as edgesr export writes it"
    )
    add_output(engine, "OUT.engine", "file to write; OUT.engine.json goes beside it", required=True)
    engine.add_argument(
        "--precision",
        default="fp32",
        choices=PRECISIONS,
        help="of the file and of the engine (default: fp32)",
    )
    engine.add_argument(
        "--sm", metavar="86", help="compute capability to build for (default: the GPU here)"
    )
    tiles = engine.add_argument_group("sizes, where the file leaves them free")
    for name, which, default in (
        ("min", "least", 16),
        ("opt", "the engine is tuned for it", 64),
        ("max", "largest", 128),
    ):
        tiles.add_argument(
            f"--{name}",
            type=int,
            metavar="PIXELS",
            help=f"LR tile edge, {which} (default: {default})",
        )
    _add_tile_range(tiles, "all three at once, instead of --min, --opt and --max")
    tiles.add_argument("--batch", type=int, metavar="N", help="most tiles in a call (default: 1)")
    building = engine.add_argument_group("building")
    building.add_argument(
        "--memory-mib", type=int, metavar="N", help="working memory of the engine (default: any)"
    )
    building.add_argument(
        "--timing-cache", type=Path, metavar="DIR", help="share timings with other builds"
    )
    building.add_argument("--dla", action="store_true", help="tell what a DLA could take over")


def _bundle(commands: Any) -> None:
    bundle = add_command(
        commands,
        "bundle",
        "pack a finished run for a Jetson board",
        "edgesr bundle runs/first",
        run_bundle,
        arguments="RUN_DIR [options]",
    )
    bundle.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="folder of edgesr compress")
    _add_tile_range(bundle, "LR tile sides that engines are built for there (default: the run's)")
    bundle.add_argument("--overwrite", action="store_true", help="replace an earlier bundle")


def _add_tile_range(parser: Any, text: str) -> None:
    parser.add_argument("--tile-range", metavar="MIN:OPT:MAX", help=text)


def _bench(commands: Any) -> None:
    bench = add_command(
        commands,
        "bench",
        "measure a run's models again, beside results from boards",
        "edgesr bench runs/first --import orin-15w.json orin-30w.json",
        run_bench,
        arguments="RUN_DIR [options]",
    )
    bench.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="folder of edgesr compress")
    bench.add_argument(
        "--import",
        dest="boards",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="result.json of boards, to print beside this machine's figures",
    )
    bench.add_argument(
        "--no-measure", action="store_true", help="take this machine's figures from the report"
    )
    bench.add_argument(
        "--profile",
        action="store_true",
        help="measure every layer of every model on its runtime, too",
    )
    bench.add_argument("--tile", type=int, metavar="PIXELS", help="LR side (default: the run's)")
    bench.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: the run's)")
    add_json(bench)


def _estimate(commands: Any) -> None:
    estimate = add_command(
        commands,
        "estimate",
        "estimate a run's latency on a board that is not here, from published peaks",
        "edgesr estimate runs/first --board orin-nano-15w",
        run_estimate,
        arguments="RUN_DIR --board NAME [options] | --list",
    )
    estimate.add_argument(
        "run_dir", type=Path, nargs="?", metavar="RUN_DIR", help="folder of edgesr compress"
    )
    estimate.add_argument("--board", metavar="NAME", help="board and power mode; see --list")
    estimate.add_argument("--list", action="store_true", help="list the boards and their peaks")
    estimate.add_argument("--tile", type=int, metavar="PIXELS", help="LR side (default: the run's)")
    estimate.add_argument(
        "--threads", type=int, metavar="N", help="CPU threads of the check (default: the run's)"
    )
    add_json(estimate)


def _report(commands: Any) -> None:
    report = add_command(
        commands,
        "report",
        "write the HTML page of a finished run, with results from boards, or of an archive",
        "edgesr report runs/first --import orin-15w.json",
        run_report,
        arguments="RUN_DIR [--import result.json ...] [--output FILE [--overwrite]]",
    )
    report.add_argument(
        "run_dir", type=Path, metavar="RUN_DIR", help="folder of edgesr compress or edgesr archive"
    )
    report.add_argument(
        "--import",
        dest="imports",
        type=Path,
        nargs="+",
        default=[],
        action="extend",
        metavar="FILE",
        help="result.json of a bundle that ran on a board, or the output of edgesr bench --profile"
        " --json; several are shown side by side",
    )
    report.add_argument(
        "--output",
        type=file_to_write,
        metavar="FILE",
        help="page (default: RUN_DIR/report.html, which is drawn again)",
    )
    report.add_argument("--overwrite", action="store_true", help="replace another existing FILE")


def run_export(options: argparse.Namespace) -> None:
    """Convert an ONNX file for a target and print how far each link moved the output."""
    if options.profile and options.io == NATIVE:
        raise OptionError("--profile compares files of the same numbers; leave out --io native")
    if options.precision != "int8":
        refuse(stated(options, *INT8), "only for --precision int8")
    from edgesr.commands.export import Int8Options, convert_file, profile_both

    chain = convert_file(
        options.input,
        options.output,
        options.target,
        options.precision,
        Int8Options(**{name: getattr(options, name) for name in stated(options, *INT8)}),
        opset=options.opset,
        native=options.io == NATIVE,
        size=options.export_size,
        overwrite=options.overwrite,
    )
    print(chain.summary())
    if options.profile:
        print(f"\n{profile_both(options.input, options.output)}")


def run_engine(options: argparse.Namespace) -> None:
    """Build an engine and print what is known of it."""
    from edgesr.commands.engine import EngineOptions, build_engine, describe, dla

    least, best, most = _tile_sides(options)
    result = build_engine(
        options.input,
        options.output,
        EngineOptions(
            precision=options.precision,
            capability=options.sm,
            least=least,
            best=best,
            most=most,
            batch=options.batch,
            memory_mib=options.memory_mib,
            timing_cache=options.timing_cache,
        ),
        overwrite=options.overwrite,
    )
    print(describe(result))
    if options.dla:
        print(dla(options.input))


def _tile_sides(options: argparse.Namespace) -> tuple[int | None, int | None, int | None]:
    single = (options.min, options.opt, options.max)
    if options.tile_range is None:
        return single
    if single != (None, None, None):
        raise OptionError("--tile-range says what --min, --opt and --max say; leave those out")
    return parse_tile_range(options.tile_range)


def run_bundle(options: argparse.Namespace) -> None:
    """Pack a finished run and print the archive's name, and what makes sure that it is this one."""
    from edgesr_jetson.bundle import identity

    from edgesr.deploy.bundle import bundle
    from edgesr.run_folder import BUNDLE

    tiles = None if options.tile_range is None else parse_tile_range(options.tile_range)
    archive = bundle(options.run_dir, tiles=tiles, overwrite=options.overwrite)
    print(f"{archive}: copy it to the board, unpack it, and run python3 run.py in it")
    print(f"SHA-256 of its manifest, which run.py prints too: {identity(options.run_dir / BUNDLE)}")


def run_bench(options: argparse.Namespace) -> None:
    """Print a run's models as measured now (or by the run), and the boards' results beside them."""
    _check_counts(options)
    if options.profile and options.no_measure:
        raise OptionError("--profile measures, and --no-measure does not; leave one of them out")
    if options.no_measure:
        refuse(stated(options, "tile", "threads"), "only for measuring, and --no-measure does not")
    from edgesr.commands.bench import bench, render, stored
    from edgesr.report.board_results import read_boards

    boards = read_boards(options.boards)
    if options.no_measure:
        found = stored(options.run_dir)
    else:
        found = bench(
            options.run_dir,
            tile=options.tile,
            threads=options.threads,
            profile=options.profile,
        )
    if options.json:
        print(json.dumps({**found, "boards": [board.content for board in boards]}, indent=2))
    else:
        render(found, boards)


def run_estimate(options: argparse.Namespace) -> None:
    """Print estimates for a board, or the list of boards."""
    _check_counts(options)
    if options.list:
        others = ["RUN_DIR"] * (options.run_dir is not None)
        others += stated(options, "board", "tile", "threads", "json")
        refuse(others, "--list only lists the boards")
        from edgesr.commands.estimate import render_boards

        render_boards()
        return
    if options.run_dir is None or options.board is None:
        raise OptionError("name a run folder and a --board; edgesr estimate --list has the boards")
    from edgesr.commands.estimate import estimate, render

    found = estimate(options.run_dir, options.board, tile=options.tile, threads=options.threads)
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        render(found)


def run_report(options: argparse.Namespace) -> None:
    """Write the page of a finished run or an archive, and print its name."""
    from edgesr.commands.report import is_archive, render_archive, render_run

    run, output, overwrite = options.run_dir, options.output, options.overwrite
    if not is_archive(run):
        page = render_run(run, options.imports, output, overwrite=overwrite)
    elif options.imports:
        raise OptionError(f"{run} is an archive, which no board has run; leave out --import")
    else:
        page = render_archive(run, output, overwrite=overwrite)
    print(f"{page}: open it in a browser; it needs no network and no other file")


def _check_counts(options: argparse.Namespace) -> None:
    require("tile", options.tile, TILE)
    require("threads", options.threads, THREADS)
