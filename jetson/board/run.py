"""Entry of a bundle: ``python3 run.py``. Works beside ``board/`` and inside it."""

import sys
from importlib import import_module
from pathlib import Path


def main() -> int:
    """Find the folder ``board`` and hand over; an older Python is told what is needed."""
    if sys.version_info < (3, 8):  # noqa: UP036 - this file alone is read by older ones
        sys.stderr.write("run.py: error: Python 3.8 or newer is needed, this is " + sys.version)
        return 2
    sys.dont_write_bytecode = True  # the bundle stays as its manifest describes it
    here = Path(__file__).resolve().parent
    sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != here]
    folder = here if (here / "board").is_dir() else here.parent
    sys.path.insert(0, str(folder))
    board = import_module("board.main")
    sys.path.remove(str(folder))  # a stray numpy.py in the bundle is never imported
    return int(board.main(str(folder), sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
