"""The command line: it fills in a recipe and calls the library; it decides nothing itself.

Nothing heavy is imported before a command runs, so that help answers at once.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, TypeVar

from edgesr import __version__
from edgesr.errors import DataError, EdgesrError, OptionError
from edgesr.recipe import (
    AnalyzeRecipe,
    CompressRecipe,
    Recipe,
    TrainRecipe,
    WeightsRecipe,
    field_type,
    option_name,
    read_toml,
)

INTERRUPTED = 130
R = TypeVar("R", bound=Recipe)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 0, 2 for what the user can mend, 130 for Ctrl-C."""
    parser = build_parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        options.command.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        options.run(options)
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted{options.after_interrupt}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except MemoryError:
        return _fail(parser.prog, "not enough memory; choose a smaller --patch or --batch")
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None:
            raise
        return _fail(parser.prog, str(error), code)
    return 0


def _fail(program: str, message: str, code: int = EdgesrError.exit_code) -> int:
    print(f"{program}: error: {' '.join(message.split())}", file=sys.stderr)
    return code


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; options of a command come from its recipe."""
    parser = _Parser(
        prog="edgesr",
        description="Compress hyperspectral super-resolution networks for the edge,"
        " and prove that they run there.",
        epilog="Example: edgesr compress --rank-target 0.9 --output runs/first",
    )
    parser.add_argument("--version", action="version", version=f"edgesr {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    compress = _command(
        commands,
        "compress",
        "replace a network's upsampler by a smaller one and write a run folder",
        "edgesr compress --data scene.mat:cube --weights net.safetensors --max-psnr-drop 0.1",
        run_compress,
        CompressRecipe,
        after_interrupt="; finish it with the same command and --resume",
    )
    _output(compress, "DIR", "run folder (default: runs/<date>-<time>)")
    compress.add_argument("--resume", action="store_true", help="finish an interrupted run")
    compress.add_argument(
        "--recipe", type=Path, metavar="FILE", help="take options from a recipe.toml first"
    )

    analyze = _command(
        commands,
        "analyze",
        "show a network's upsamplers, their share and their spectrum",
        "edgesr analyze --weights net.safetensors --output figures",
        run_analyze,
        AnalyzeRecipe,
    )
    _output(analyze, "DIR", "folder for the two figures (default: none are drawn)")
    _json(analyze)

    train = _command(
        commands,
        "train",
        "train a network on one or more cubes",
        "edgesr train --data reno.npy --epochs 40 --output reno.safetensors",
        run_train,
        TrainRecipe,
        after_interrupt="; continue with the same command and --resume",
    )
    _output(train, "FILE", "trained weights, .safetensors", required=True)
    train.add_argument("--resume", action="store_true", help="continue from FILE's checkpoint")
    train.add_argument("--half", action="store_true", help="store the weights in half precision")
    train.add_argument(
        "--recipe", type=Path, metavar="FILE", help="take options from a recipe.toml first"
    )

    evaluate = _command(
        commands,
        "evaluate",
        "print a network's six metrics beside bicubic",
        "edgesr evaluate --data reno.npy --weights reno.safetensors",
        run_evaluate,
        WeightsRecipe,
    )
    evaluate.add_argument(
        "--split", choices=("test", "validation"), default="test", help="(default: test)"
    )
    _json(evaluate)

    upscale = _command(
        commands,
        "upscale",
        "super-resolve a whole cube, keeping its units and georeference",
        "edgesr upscale low.tif high.tif --weights runs/first/student.safetensors",
        run_upscale,
        arguments="IN OUT --weights FILE [options]",
    )
    upscale.add_argument("input", metavar="IN", help="LR cube, in the units of the training scene")
    upscale.add_argument("output", type=Path, metavar="OUT", help="SR cube: .tif, .hdr, .npz, .npy")
    upscale.add_argument("--weights", required=True, metavar="FILE", help="weights, .safetensors")
    upscale.add_argument(
        "--model", metavar="FACTORY", help="your own package.module:factory that the weights fit"
    )
    upscale.add_argument(
        "--tile", type=int, metavar="PIXELS", help="LR tile side (default: as the memory allows)"
    )
    upscale.add_argument("--overwrite", action="store_true", help="replace OUT")

    export = _command(
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
        choices=("cpu", "tensorrt", "openvino"),
        help="what will run it: ONNX Runtime on a CPU, TensorRT or OpenVINO",
    )
    export.add_argument(
        "--precision", default="fp32", choices=("fp32", "fp16", "int8"), help="(default: fp32)"
    )
    export.add_argument(
        "--opset",
        type=int,
        metavar="N",
        help="newest operator set that the target reads: 16 for TensorRT 8.5, 17 for 8.6",
    )
    _output(export, "OUT.onnx", "file to write", required=True)
    export.add_argument(
        "--profile", action="store_true", help="print the time per operator, before and after"
    )
    export.add_argument(
        "--tiles", type=Path, metavar="FILE", help="int8: .npz of lr and hr tiles for training"
    )
    export.add_argument(
        "--max-psnr-drop", type=float, default=0.05, metavar="DB", help="int8 (default: 0.05)"
    )
    export.add_argument(
        "--max-sam-drop", type=float, default=0.05, metavar="DEG", help="int8 (default: 0.05)"
    )

    engine = _command(
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
    _output(engine, "OUT.engine", "file to write; OUT.engine.json goes beside it", required=True)
    engine.add_argument(
        "--precision",
        default="fp32",
        choices=("fp32", "fp16", "int8"),
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
    tiles.add_argument(
        "--batch", type=int, default=1, metavar="N", help="most tiles in a call (default: 1)"
    )
    building = engine.add_argument_group("building")
    building.add_argument(
        "--memory-mib", type=int, metavar="N", help="working memory of the engine (default: any)"
    )
    building.add_argument(
        "--timing-cache", type=Path, metavar="DIR", help="share timings with other builds"
    )
    building.add_argument("--dla", action="store_true", help="tell what a DLA could take over")

    bundle = _command(
        commands,
        "bundle",
        "pack a finished run for a Jetson board",
        "edgesr bundle runs/first",
        run_bundle,
        arguments="RUN_DIR [--overwrite]",
    )
    bundle.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="folder of edgesr compress")
    bundle.add_argument("--overwrite", action="store_true", help="replace an earlier bundle")

    bench = _command(
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
    bench.add_argument("--tile", type=int, metavar="PIXELS", help="LR side (default: the run's)")
    bench.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: the run's)")
    _json(bench)

    report = _command(
        commands,
        "report",
        "write the HTML page of a finished run, with results from boards",
        "edgesr report runs/first --import orin-15w.json",
        run_report,
        arguments="RUN_DIR [--import result.json ...] [--output FILE]",
    )
    report.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="folder of edgesr compress")
    report.add_argument(
        "--import",
        dest="imports",
        type=Path,
        nargs="+",
        default=[],
        action="extend",
        metavar="FILE",
        help="result.json of a bundle that ran on a board; several are shown side by side",
    )
    report.add_argument(
        "--output", type=Path, metavar="FILE", help="page (default: RUN_DIR/report.html)"
    )

    reproduce = _command(
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
        type=Path,
        default=Path("runs/reproduce.json"),
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
    reproduce.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (default: cpu)")
    reproduce.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all)")
    _json(reproduce)

    info = _command(
        commands,
        "info",
        "print what is understood of a cube",
        "edgesr info scene.hdr",
        run_info,
        arguments="FILE [--json]",
    )
    info.add_argument("file", metavar="FILE", help="cube: a file, file.mat:variable, file.h5:/path")
    _json(info)
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser whose errors fit one line, as all of the project's do."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
                prog, max_help_position=30
            ),
            allow_abbrev=False,
            **settings,
        )

    def error(self, message: str) -> Any:
        self.exit(EdgesrError.exit_code, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def _command(
    commands: Any,
    name: str,
    summary: str,
    example: str,
    run: Callable[[argparse.Namespace], None],
    recipe: type[Recipe] | None = None,
    after_interrupt: str = "",
    arguments: str = "[options]",
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        usage=f"edgesr {name} {arguments}".rstrip(),
        epilog=f"Example: {example}",
    )
    parser.set_defaults(run=run, command=parser, after_interrupt=after_interrupt)
    groups: dict[str, Any] = {}
    if recipe is None:
        return parser
    for item in fields(recipe):
        title = item.metadata["group"]
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        _add_option(groups[title], field_type(recipe, item.name), item)
    return parser


def _add_option(group: Any, kind: type, item: Field[Any]) -> None:
    text = item.metadata["help"].replace("%", "%%")
    settings: dict[str, Any] = {"dest": item.name, "default": argparse.SUPPRESS}
    if kind is bool:
        group.add_argument(option_name(item.name), action="store_true", help=text, **settings)
        return
    if item.default not in (None, ""):
        text += f" (default: {item.default})"
    metavar = item.metadata["metavar"] or {int: "N", float: "X", str: item.name.upper()}[kind]
    group.add_argument(option_name(item.name), type=kind, metavar=metavar, help=text, **settings)


def _output(
    parser: argparse.ArgumentParser, metavar: str, text: str, required: bool = False
) -> None:
    parser.add_argument("--output", type=Path, metavar=metavar, help=text, required=required)
    parser.add_argument("--overwrite", action="store_true", help=f"replace an existing {metavar}")


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def _recipe(kind: type[R], options: argparse.Namespace) -> R:
    """Build a recipe from an optional recipe file, overridden by the options given."""
    values: dict[str, Any] = {}
    if getattr(options, "recipe", None) is not None:
        values.update(read_toml(options.recipe))
    given = vars(options)
    values.update({item.name: given[item.name] for item in fields(kind) if item.name in given})
    return kind.from_mapping(values)


def run_compress(options: argparse.Namespace) -> None:
    """Compress a network into a run folder and print the summary of its report."""
    recipe = _recipe(CompressRecipe, options)
    from edgesr.compress import compress
    from edgesr.report import render

    render(compress(recipe, options.output, overwrite=options.overwrite, resume=options.resume))


def run_analyze(options: argparse.Namespace) -> None:
    """Print a network's upsamplers and spectra; draw the two figures when a folder is given."""
    recipe = _recipe(AnalyzeRecipe, options)
    from edgesr.analyze import analyze, draw, render

    analysis = analyze(recipe)
    if options.output is not None:
        draw(analysis, options.output, overwrite=options.overwrite)
    print(json.dumps(analysis.to_dict(), indent=2) if options.json else render(analysis))


def run_train(options: argparse.Namespace) -> None:
    """Train a network; the weights file appears when the training ends."""
    recipe = _recipe(TrainRecipe, options)
    from edgesr.training import train_network

    summary = train_network(
        recipe,
        options.output,
        overwrite=options.overwrite,
        resume=options.resume,
        half=options.half,
    )
    if summary:
        print(summary)


def run_evaluate(options: argparse.Namespace) -> None:
    """Print the six metrics of a network beside bicubic."""
    recipe = _recipe(WeightsRecipe, options)
    from edgesr.compare import compare, render

    comparison = compare(recipe, options.split)
    print(json.dumps(comparison, indent=2) if options.json else render(comparison))


def run_upscale(options: argparse.Namespace) -> None:
    """Super-resolve a whole cube and write it with its metadata."""
    if options.output.exists() and not options.overwrite:
        raise DataError(f"{options.output} exists; pass --overwrite or another name")
    if options.tile is not None and options.tile < 1:
        raise OptionError(f"--tile must be at least 1, not {options.tile}")
    from edgesr.upscale import upscale_file

    result = upscale_file(
        options.input, options.output, options.weights, options.tile, options.model
    )
    height, width, bands = result.shape
    print(f"{options.output}: {height} x {width} pixels, {bands} bands")


def run_export(options: argparse.Namespace) -> None:
    """Convert an ONNX file for a target and print how far each link moved the output."""
    from edgesr.convert import Int8Options, convert_file, profile_both

    chain = convert_file(
        options.input,
        options.output,
        options.target,
        options.precision,
        Int8Options(options.tiles, options.max_psnr_drop, options.max_sam_drop),
        opset=options.opset,
        overwrite=options.overwrite,
    )
    print(chain.summary())
    if options.profile:
        print(f"\n{profile_both(options.input, options.output)}")


def run_engine(options: argparse.Namespace) -> None:
    """Build an engine and print what is known of it."""
    from edgesr.engine import EngineOptions, build_engine, describe, dla

    result = build_engine(
        options.input,
        options.output,
        EngineOptions(
            precision=options.precision,
            capability=options.sm,
            least=options.min,
            best=options.opt,
            most=options.max,
            batch=options.batch,
            memory_mib=options.memory_mib,
            timing_cache=options.timing_cache,
        ),
        overwrite=options.overwrite,
    )
    print(describe(result))
    if options.dla:
        print(dla(options.input))


def run_bundle(options: argparse.Namespace) -> None:
    """Pack a finished run and print the archive's name."""
    from edgesr.bundle import bundle

    archive = bundle(options.run_dir, overwrite=options.overwrite)
    print(f"{archive}: copy it to the board, unpack it, and run python3 run.py in it")


def run_bench(options: argparse.Namespace) -> None:
    """Print a run's models as measured now (or by the run), and the boards' results beside them."""
    for name in ("tile", "threads"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise OptionError(f"--{name} must be at least 1, not {value}")
    from edgesr.bench import bench, render, stored
    from edgesr.boards import read_boards

    boards = read_boards(options.boards)
    if options.no_measure:
        found = stored(options.run_dir)
    else:
        found = bench(options.run_dir, tile=options.tile, threads=options.threads)
    if options.json:
        print(json.dumps({**found, "boards": [board.content for board in boards]}, indent=2))
    else:
        render(found, boards)


def run_report(options: argparse.Namespace) -> None:
    """Write the page of a finished run and print its name."""
    from edgesr.page import render_run

    page = render_run(options.run_dir, options.imports, options.output)
    print(f"{page}: open it in a browser; it needs no network and no other file")


def run_reproduce(options: argparse.Namespace) -> None:
    """Rerun a table of the papers and print it beside the published one."""
    from edgesr.reproduce.console import listing, render

    if options.list:
        print(listing())
        return
    if options.table is None:
        raise OptionError("name a table, such as lkca:5; edgesr reproduce --list shows all")
    from edgesr.reproduce.command import reproduce

    content = reproduce(
        options.table,
        options.data,
        options.output,
        seeds=options.seeds,
        epochs=options.epochs,
        quick=options.quick,
        device=options.device,
        threads=options.threads,
    )
    if options.json:
        print(json.dumps(content, indent=2))
    else:
        render(content, options.table)


def run_info(options: argparse.Namespace) -> None:
    """Print what was understood of a cube."""
    from edgesr.cube import read_cube
    from edgesr.cube.info import describe_cube, render_info

    description = describe_cube(read_cube(options.file))
    print(json.dumps(description, indent=2) if options.json else render_info(description))
