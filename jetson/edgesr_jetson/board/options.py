"""The command line of ``run.py``."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from .contents import NATIVE_TYPES
from .errors import BoardError

EPILOG = """\
examples:
  python3 run.py                                      verify and measure every model
  python3 run.py --duration 600 --output hot.json     ten minutes each, so that throttling shows
  python3 run.py --live lines.npy --line-rate 230.4 --models int8
  camera | python3 run.py --live - --width 1000 --dtype '>u2' --layout bil --line-rate 230.4
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BoardError(f"{message}; see python3 run.py --help")


def parse_options(arguments: list[str]) -> argparse.Namespace:
    """Read the options.

    Raises:
        BoardError: an unknown option, or a value that cannot be used.
    """
    parser = _Parser(
        prog="run.py",
        description="Verify and measure the bundle's networks on this board.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--output", default="result.json", metavar="FILE", help="result (default: %(default)s)")
    add("--overwrite", action="store_true", help="replace files of --output and --write")
    add("--models", type=_names, metavar="A,B", help="models to run (default: all; --live: first)")
    add("--bundle-id", metavar="HEX", help="refuse a bundle whose identity does not begin so")

    group = parser.add_argument_group("runtime")
    group.add_argument("--runtime", default="auto", choices=("auto", "tensorrt", "onnxruntime"))
    group.add_argument(
        "--engines", metavar="DIR", help="built engines (default: engines/ in the bundle)"
    )
    group.add_argument(
        "--workspace",
        type=_positive,
        default=1024,
        metavar="MB",
        help="memory for builds (default: %(default)s MB)",
    )
    group.add_argument("--tf32", action="store_true", help="let fp32 engines round to TF32")
    group.add_argument("--threads", type=_positive, metavar="N", help="of onnxruntime")

    group = parser.add_argument_group("measuring")
    group.add_argument("--tile", type=_size, metavar="HxW", help="input size (default: bundle's)")
    group.add_argument("--warmup", type=_count, default=10, metavar="N", help="runs before")
    group.add_argument(
        "--repeats",
        type=_positive,
        default=100,
        metavar="N",
        help="measured runs of each latency (default: %(default)s)",
    )
    group.add_argument(
        "--duration",
        type=_seconds,
        default=60.0,
        metavar="S",
        help="sustained run of each model (default: %(default)s s, 0: none)",
    )
    group.add_argument(
        "--idle",
        type=_seconds,
        default=10.0,
        metavar="S",
        help="idle power before (default: %(default)s s, 0: none)",
    )
    group.add_argument(
        "--power-interval",
        type=_rate,
        default=0.1,
        metavar="S",
        help="between two samples of power (default: %(default)s s)",
    )

    group.add_argument(
        "--profile", action="store_true", help="measure every layer of every model, too"
    )

    group = parser.add_argument_group("live")
    group.add_argument("--live", metavar="SOURCE", help=".npy, raw file, named pipe, or - (stdin)")
    group.add_argument("--line-rate", type=_rate, metavar="HZ", help="lines a second")
    group.add_argument("--width", type=_positive, metavar="W", help="samples of a raw line")
    group.add_argument("--dtype", metavar="T", help="of raw numbers, such as uint16 or >u2")
    group.add_argument(
        "--layout",
        choices=("bil", "bip", "bsq"),
        help="lines [B, W], lines [W, B], or an image [B, lines, W]",
    )
    group.add_argument(
        "--bands",
        type=_positive,
        metavar="N",
        help="of a raw line (default: all of the sensor, where the bundle knows them)",
    )
    group.add_argument(
        "--nodata", type=_any_number, metavar="V", help="of the source (default: bundle's; or nan)"
    )
    group.add_argument("--normalised", action="store_true", help="the source is in [0, 1] already")
    group.add_argument(
        "--block-lines", type=_positive, metavar="H", help="lines at once (default: bundle's tile)"
    )
    group.add_argument(
        "--context",
        type=_count,
        metavar="K",
        help="lines seen on either side of a block (default: bundle's, 0 where it knows none)",
    )
    group.add_argument(
        "--queue",
        type=_positive,
        default=2,
        metavar="N",
        help="blocks that may wait, else lines drop (default: %(default)s)",
    )
    group.add_argument("--lines", type=_positive, metavar="N", help="stop after N lines")
    group.add_argument(
        "--stall", type=_rate, metavar="S", help="end if a pipe gives nothing for S seconds"
    )
    group.add_argument("--write", metavar="FILE", help="super-resolved lines, ENVI, bil")
    group.add_argument(
        "--write-dtype",
        choices=NATIVE_TYPES,
        metavar="T",
        help="type of --write (default: the source's; float32 for [0, 1])",
    )

    add("--root", default="/", metavar="DIR", help="read /sys, /proc and /etc below DIR")
    options = parser.parse_args(arguments)
    if options.profile and options.live is not None:
        parser.error("--profile measures, and --live does not; leave one of them out")
    return options


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _size(text: str) -> tuple[int, int]:
    found = re.match(r"^([1-9]\d*)x([1-9]\d*)$", text)
    if not found:
        raise argparse.ArgumentTypeError(f"a size such as 64x64 is needed, got {text!r}")
    return int(found[1]), int(found[2])


def _positive(text: str) -> int:
    if not re.match(r"^[1-9]\d*$", text):
        raise argparse.ArgumentTypeError(f"a whole number of at least 1 is needed, got {text!r}")
    return int(text)


def _count(text: str) -> int:
    if not re.match(r"^\d+$", text):
        raise argparse.ArgumentTypeError(f"a whole number of at least 0 is needed, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    value = _number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"at least 0 is needed, got {text!r}")
    return value


def _rate(text: str) -> float:
    value = _number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"more than 0 is needed, got {text!r}")
    return value


def _any_number(text: str) -> float:
    return float("nan") if text.lower() == "nan" else _number(text)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        raise argparse.ArgumentTypeError(f"a number is needed, got {text!r}")
    return value
