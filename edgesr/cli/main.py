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
from edgesr.errors import EdgesrError
from edgesr.progress import LOGGER

INTERRUPTED = 130
FULL = (errno.ENOSPC, errno.EDQUOT)


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
        if error.errno not in FULL:
            raise
        return _fail(parser.prog, f"{error}; free some space{options.after_interrupt}")
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
