"""The command line: it fills in a recipe and calls the library; it decides nothing itself.

Nothing heavy is imported before a command runs, so that help answers at once.
"""

from __future__ import annotations

import argparse
import errno
import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from edgesr_export.interrupts import noted

from edgesr import __version__
from edgesr.cli import deployment, networks, papers, scenes
from edgesr.cli.logs import logging_to
from edgesr.cli.parser import Parser
from edgesr.cli.streams import StdoutError, standard_streams
from edgesr.errors import EdgesrError, brief, one_line, shown
from edgesr.progress import LOGGER

INTERRUPTED, UNPRINTED = 130, 4
FULL = (errno.ENOSPC, errno.EDQUOT)
NO_MEMORY = (
    "can't allocate memory",
    "out of memory",
    "Storage size calculation overflowed",
    "Cannot allocate memory",
    "can't start new thread",
)
"""What torch, which raises RuntimeError then, CUDA and the system say where memory runs out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code.

    0; 2 for what the user can mend; 3 for an archive with scenes that failed; 4 where the work is
    done, but stdout does not take what is printed; 130 for Ctrl-C.
    """
    parser = build_parser()
    try:
        with standard_streams():
            return _run(parser, arguments)
    except StdoutError as error:
        if isinstance(error.__cause__, BrokenPipeError):  # its reader has seen enough
            return 0
        reason = f"stdout cannot be written ({error.__cause__}); all else is done"
        with suppress(StdoutError), standard_streams():
            print(f"{parser.prog}: error: {reason}", file=sys.stderr)
        return UNPRINTED


def _run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        options.command.error(f"unrecognized arguments: {' '.join(unknown)}")
    level = logging.WARNING if options.quiet else logging.INFO
    with noted() as presses:
        try:
            Path.cwd()
            with logging_to(logging.DEBUG if options.verbose else level, options.log_json):
                try:
                    options.run(options)
                except Exception:
                    LOGGER.debug("where it happened:", exc_info=True)
                    raise
            code, line = 0, ""
        except StdoutError:
            raise
        except KeyboardInterrupt:
            code, line = INTERRUPTED, ""
        except Exception as error:
            code, line = _refusal(error, options.after_interrupt)
            if not line and not presses.count:
                raise
    if presses.count:  # whatever became of it
        code, line = INTERRUPTED, ""
    if code == INTERRUPTED:
        print(f"{parser.prog}: interrupted{options.after_interrupt}", file=sys.stderr)
    elif line:
        print(f"{parser.prog}: error: {one_line(line)}", file=sys.stderr)
    return code


def _refusal(error: Exception, after_interrupt: str) -> tuple[int, str]:
    """Exit code and line of an error; no line where the program is at fault."""
    code = getattr(error, "exit_code", None)
    if code is not None:
        return code, str(error)
    code = EdgesrError.exit_code
    if isinstance(error, MemoryError):
        return code, "not enough memory; choose a smaller --patch or --batch"
    if isinstance(error, OSError) and error.errno in FULL:
        return code, f"{error}; free some space{after_interrupt}"
    if any(words in str(error) for words in NO_MEMORY):
        return code, f"not enough memory ({brief(error)}); choose a smaller size"
    if isinstance(error, FileNotFoundError) and not _has_folder():
        return code, "the current folder was removed; change to one that exists"
    if isinstance(error, OSError) and error.filename is not None:
        return code, f"{_named(error)}; check that path"
    return code, ""


def _has_folder() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _named(error: OSError) -> str:
    """Which file, shortened, and what is wrong with it."""
    name = shown(error.filename)
    name = name if len(name) <= 80 else f"{name[:40]}...{name[-30:]}"
    return f"{name}: {error.strerror}"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; options of a command come from its recipe."""
    parser = Parser(
        prog="edgesr",
        description="Compress hyperspectral super-resolution networks for the edge,"
        " and prove that they run there.",
        epilog="Example: edgesr compress --rank-target 0.9 --output runs/first",
    )
    parser.add_argument("--version", action="version", version=f"edgesr {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for group in (networks, scenes, deployment, papers):
        group.add(commands)
    return parser
