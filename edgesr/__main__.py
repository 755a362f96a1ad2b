"""``python -m edgesr`` is the command line; so torchrun can start it."""

import sys

from edgesr.cli.main import main

sys.exit(main())
