"""The command line: it fills in a recipe and calls the library; it decides nothing itself.

Nothing heavy is imported before a command runs, so that help answers at once.
"""

from __future__ import annotations

import argparse
import errno
import logging
import sys
from collections.abc import Sequence

from edgesr import __version__
from edgesr.cli import deployment, networks, papers, scenes
from edgesr.cli.logs import logging_to
from edgesr.cli.parser import Parser
from edgesr.errors import EdgesrError, brief, one_line, shown
from edgesr.progress import LOGGER

INTERRUPTED = 130
FULL = (errno.ENOSPC, errno.EDQUOT)
NO_MEMORY = ("can't allocate memory", "out of memory", "Storage size calculation overflowed")
"""What torch, which raises RuntimeError then, and CUDA say where memory runs out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code.

    0, 2 for what the user can mend, 3 for an archive with scenes that failed, 130 for Ctrl-C.
    """
    parser = build_parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        options.command.error(f"unrecognized arguments: {' '.join(unknown)}")
    level = logging.WARNING if options.quiet else logging.INFO
    try:
        with logging_to(logging.DEBUG if options.verbose else level, options.log_json):
            try:
                options.run(options)
            except Exception:
                LOGGER.debug("where it happened:", exc_info=True)
                raise
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted{options.after_interrupt}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except MemoryError:
        return _fail(parser.prog, "not enough memory; choose a smaller --patch or --batch")
    except OSError as error:
        if error.errno in FULL:
            return _fail(parser.prog, f"{error}; free some space{options.after_interrupt}")
        if error.filename is None:
            raise
        return _fail(parser.prog, f"{_named(error)}; check that path")
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None and any(words in str(error) for words in NO_MEMORY):
            return _fail(parser.prog, f"not enough memory ({brief(error)}); choose a smaller size")
        if code is None:
            raise
        return _fail(parser.prog, str(error), code)
    return 0


def _named(error: OSError) -> str:
    """Which file, shortened, and what is wrong with it."""
    name = shown(error.filename)
    name = name if len(name) <= 80 else f"{name[:40]}...{name[-30:]}"
    return f"{name}: {error.strerror}"


def _fail(program: str, message: str, code: int = EdgesrError.exit_code) -> int:
    print(f"{program}: error: {one_line(message)}", file=sys.stderr)
    return code


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
