"""``python -m edgesr.compress`` is ``edgesr compress``."""

import sys

from edgesr.cli.main import main

sys.exit(main(["compress", *sys.argv[1:]]))
