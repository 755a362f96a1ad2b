"""What every command's parser shares; options of a command come from its recipe."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edgesr.errors import EdgesrError, one_line
from edgesr.recipe.options import Options, field_type, help_of, option_name, read_toml

if TYPE_CHECKING:
    from edgesr.cube.options import ReadOptions

R = TypeVar("R", bound=Options)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Asks what is registered, and what the defaults are, only when help is printed."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        item = getattr(action, "field", None)
        return action.help if item is None else help_of(item).replace("%", "%%")


class Parser(argparse.ArgumentParser):
    """A parser whose errors fit one line, as all of the project's do."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            formatter_class=lambda prog: _Formatter(prog, max_help_position=30),
            allow_abbrev=False,
            **settings,
        )

    def error(self, message: str) -> Any:
        line = one_line(f"{self.prog}: error: {message}; see {self.prog} --help")
        self.exit(EdgesrError.exit_code, f"{line}\n")


def add_command(
    commands: Any,
    name: str,
    summary: str,
    example: str,
    run: Callable[[argparse.Namespace], None],
    recipe: type[Options] | None = None,
    after_interrupt: str = "",
    arguments: str = "[options]",
) -> argparse.ArgumentParser:
    """Add a command; options of its recipe come in the recipe's groups."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        usage=f"edgesr {name} {arguments}".rstrip(),
        epilog=f"Example: {example}",
    )
    parser.set_defaults(run=run, command=parser, after_interrupt=after_interrupt)
    _add_messages(parser)
    groups: dict[str, Any] = {}
    if recipe is None:
        return parser
    for item in fields(recipe):
        title = item.metadata["group"]
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        _add_option(groups[title], field_type(recipe, item.name), item)
    return parser


def _add_messages(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Messages, on stderr")
    which = group.add_mutually_exclusive_group()
    which.add_argument("--quiet", action="store_true", help="warnings and errors alone")
    which.add_argument(
        "--verbose", action="store_true", help="also where in the code an error happened"
    )
    group.add_argument(
        "--log-json", type=Path, metavar="FILE", help="append every message as a line of JSON"
    )


def _add_option(group: Any, kind: type, item: Field[Any]) -> None:
    settings: dict[str, Any] = {"dest": item.name, "default": argparse.SUPPRESS}
    if kind is bool:
        settings["action"] = "store_true"
    else:
        usual = {int: "N", float: "X", str: item.name.upper(), tuple: "LIST"}
        settings["metavar"] = item.metadata["metavar"] or usual[kind]
        settings["type"] = str if kind is tuple else kind
    text = item.metadata["help"].replace("%", "%%")
    group.add_argument(option_name(item.name), help=text, **settings).field = item


def file_to_write(text: str) -> Path:
    """Turn an argument into the path of a file; ``Path`` alone would drop a slash at the end."""
    if text.endswith(("/", "/.", os.sep)):
        raise argparse.ArgumentTypeError(f"{text} is the name of a folder; name a file")
    return Path(text)


def add_output(
    parser: argparse.ArgumentParser,
    metavar: str,
    text: str,
    required: bool = False,
    kind: Callable[[str], Path] = file_to_write,
) -> None:
    """Add --output and --overwrite; ``kind`` is ``Path`` where the output is a folder."""
    parser.add_argument("--output", type=kind, metavar=metavar, help=text, required=required)
    parser.add_argument("--overwrite", action="store_true", help=f"replace an existing {metavar}")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def add_reading(group: Any) -> None:
    """Add --nodata, --axes and --wavelength-unit; :func:`reading_options` reads them."""
    group.add_argument("--nodata", type=float, metavar="X", help="the number that means none")
    group.add_argument("--axes", metavar="BHW", help="order of the axes: h, w and b")
    group.add_argument("--wavelength-unit", choices=("nm", "um"), help="of the wavelengths")


def reading_options(options: argparse.Namespace) -> ReadOptions:
    """What the user knows better than the files of the cubes.

    Raises:
        OptionError: no such order of axes.
    """
    from edgesr.cube.options import ReadOptions

    return ReadOptions(options.nodata, options.axes, options.wavelength_unit)


def recipe_file(options: argparse.Namespace) -> list[Path]:
    """The file that --recipe names, if any."""
    return [] if options.recipe is None else [options.recipe]


def recipe_of(kind: type[R], options: argparse.Namespace) -> R:
    """Build a recipe from an optional recipe file, overridden by the options given."""
    values: dict[str, Any] = {}
    if getattr(options, "recipe", None) is not None:
        values.update(read_toml(options.recipe))
    values.update(given_options(kind, options))
    return kind.from_mapping(values)


def given_options(kind: type[R], options: argparse.Namespace) -> dict[str, Any]:
    """The options of a recipe that stand on the command line."""
    given = vars(options)
    return {item.name: given[item.name] for item in fields(kind) if item.name in given}
