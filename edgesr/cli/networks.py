"""Commands on a cube and a network: compress, analyze, train, evaluate, info."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from edgesr.cli.parser import (
    add_command,
    add_json,
    add_output,
    add_reading,
    given_options,
    reading_options,
    recipe_file,
    recipe_of,
)
from edgesr.cli.unused import refuse, refuse_device, refuse_unused, stated
from edgesr.errors import OptionError
from edgesr.progress import log
from edgesr.recipe.recipes import AnalyzeRecipe, CompressRecipe, TrainRecipe, WeightsRecipe


def add(commands: Any) -> None:
    """Add the commands of this module to the parser."""
    _compress(commands)
    _analyze(commands)
    _train(commands)
    _evaluate(commands)
    _info(commands)


def _compress(commands: Any) -> None:
    compress = add_command(
        commands,
        "compress",
        "replace a network's upsampler by a smaller one and write a run folder",
        "edgesr compress --data scene.mat:cube --weights net.safetensors --max-psnr-drop 0.1",
        run_compress,
        CompressRecipe,
        after_interrupt="; finish it with the same command and --resume",
    )
    add_output(compress, "DIR", "run folder (default: runs/<date>-<time>)", kind=Path)
    compress.add_argument("--resume", action="store_true", help="finish an interrupted run")
    compress.add_argument(
        "--recipe", type=Path, metavar="FILE", help="take options from a recipe.toml first"
    )
    compress.add_argument(
        "--replay",
        type=Path,
        metavar="RUN_DIR",
        help="make the files of a finished run again from its decisions; times and reports nothing",
    )


def _analyze(commands: Any) -> None:
    analyze = add_command(
        commands,
        "analyze",
        "show a network's upsamplers, their share and their spectrum",
        "edgesr analyze --weights net.safetensors --output figures",
        run_analyze,
        AnalyzeRecipe,
    )
    add_output(analyze, "DIR", "folder for spectrum.html (default: nothing is drawn)", kind=Path)
    add_json(analyze)


def _train(commands: Any) -> None:
    train = add_command(
        commands,
        "train",
        "train a network on one or more cubes",
        "edgesr train --data reno.npy --epochs 40 --output reno.safetensors",
        run_train,
        TrainRecipe,
        after_interrupt="; continue with the same command and --resume",
    )
    add_output(train, "FILE", "trained weights, .safetensors", required=True)
    train.add_argument("--resume", action="store_true", help="continue from FILE's checkpoint")
    train.add_argument("--half", action="store_true", help="store the weights in half precision")
    train.add_argument(
        "--recipe", type=Path, metavar="FILE", help="take options from a recipe.toml first"
    )


def _evaluate(commands: Any) -> None:
    evaluate = add_command(
        commands,
        "evaluate",
        "print a network's six metrics beside bicubic",
        "edgesr evaluate --data reno.npy --weights reno.safetensors",
        run_evaluate,
        WeightsRecipe,
    )
    evaluate.add_argument(
        "--split", choices=("test", "tuning", "budget"), default="test", help="(default: test)"
    )
    evaluate.add_argument(
        "--runtime",
        metavar="NAME",
        help="that runs an .onnx of --weights: onnxruntime, openvino, openvino-bf16 (default:"
        " onnxruntime)",
    )
    _card(evaluate)
    add_json(evaluate)


def _info(commands: Any) -> None:
    info = add_command(
        commands,
        "info",
        "print what is understood of a cube, or what a model file says of itself",
        "edgesr info scene.hdr",
        run_info,
        arguments="FILE [options]",
    )
    info.add_argument(
        "file",
        metavar="FILE",
        help="cube: a file, file.mat:variable, file.h5:/path; or model: .onnx, .engine,"
        " .safetensors",
    )
    _card(info)
    add_reading(info.add_argument_group("Cube, whatever the file says"))
    add_json(info)


def _card(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--card",
        type=Path,
        metavar="FILE",
        help="of a model of another tool: JSON, or a model file that says the same",
    )


def run_compress(options: argparse.Namespace) -> None:
    """Compress a network into a run folder and print the summary of its report."""
    if options.replay is not None:
        run_replay(options)
        return
    recipe = recipe_of(CompressRecipe, options)
    refuse_unused(recipe, options)
    from edgesr.compress import compress
    from edgesr.report import render

    report = compress(
        recipe,
        options.output,
        overwrite=options.overwrite,
        resume=options.resume,
        reads=recipe_file(options),
    )
    render(report)
    if options.recipe is not None:
        say_differences(options.recipe, Path(report["folder"]))


def say_differences(recipe: Path, run: Path) -> None:
    """Say what came out otherwise than in the run that a recipe is of."""
    from edgesr.compress.decisions import Decisions, differences
    from edgesr.run_folder import DECISIONS

    earlier = recipe.with_name(DECISIONS)
    if not earlier.is_file() or earlier.parent.resolve() == run.resolve():
        return
    found = differences(Decisions.load(earlier), Decisions.load(run / DECISIONS))
    for line in found or ["nothing"]:
        log(f"otherwise than in {earlier.parent}: {line}")


def run_replay(options: argparse.Namespace) -> None:
    """Make the files of a run again and print which are the same."""
    given = sorted(given_options(CompressRecipe, options))
    others = [name for name in ("recipe", "resume", "overwrite") if getattr(options, name)]
    if given or others:
        names = " ".join(f"--{name.replace('_', '-')}" for name in (*given, *others))
        raise OptionError(f"--replay takes all from the run; leave out {names}")
    if options.output is None:
        raise OptionError("--replay needs --output DIR, a folder that does not exist")
    from edgesr.compress.replay import replay

    found = replay(options.replay, options.output)
    total = len(found.equal) + len(found.other)
    print(f"{found.folder}: {len(found.equal)} of {total} files equal those of {options.replay}")
    for name in found.other:
        print(f"differs: {name}")


def run_analyze(options: argparse.Namespace) -> None:
    """Print a network's upsamplers and spectra; draw both when a folder is given."""
    recipe = recipe_of(AnalyzeRecipe, options)
    refuse_device(options)
    from edgesr.commands.analyze import PAGE, analyze, draw, render
    from edgesr.loading.workload import files_read
    from edgesr.outputs import check_outputs

    reads, overwrite = files_read(recipe), options.overwrite
    if options.output is not None:  # before the work
        check_outputs([options.output / PAGE], reads, overwrite=overwrite, makes_folder=True)
    analysis = analyze(recipe)
    if options.output is not None:
        draw(analysis, options.output, overwrite=overwrite, reads=reads)
    print(json.dumps(analysis.to_dict(), indent=2) if options.json else render(analysis))


def run_train(options: argparse.Namespace) -> None:
    """Train a network; the weights file appears when the training ends."""
    recipe = recipe_of(TrainRecipe, options)
    refuse_unused(recipe, options)
    from edgesr.commands.train import train

    summary = train(
        recipe,
        options.output,
        overwrite=options.overwrite,
        resume=options.resume,
        half=options.half,
        reads=recipe_file(options),
    )
    if summary:
        print(summary)


def run_evaluate(options: argparse.Namespace) -> None:
    """Print the six metrics of a network beside bicubic."""
    recipe = recipe_of(WeightsRecipe, options)
    refuse_device(options)
    from edgesr.commands.evaluate import evaluate, render

    comparison = evaluate(recipe, options.split, runtime=options.runtime, card=options.card)
    print(json.dumps(comparison, indent=2) if options.json else render(comparison))


def run_info(options: argparse.Namespace) -> None:
    """Print what was understood of a cube, or the card of a model."""
    reading = reading_options(options)
    from edgesr.commands.info import describe_model, is_model, render_card

    if is_model(options.file):
        refuse(
            stated(options, "nodata", "axes", "wavelength_unit"),
            f"only for a cube, and {options.file} is a model",
        )
        from msgspec import to_builtins

        card = describe_model(Path(options.file), options.card)
        print(json.dumps(to_builtins(card), indent=2) if options.json else render_card(card))
        return
    refuse(stated(options, "card"), f"only for a model file, and {options.file} is none")
    from edgesr.cube import open_cube
    from edgesr.cube.info import describe_cube, render_info

    with open_cube(options.file, reading) as cube:
        description = describe_cube(cube)
    print(json.dumps(description, indent=2) if options.json else render_info(description))
