"""What Dask has a worker of ours do first."""

from __future__ import annotations

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Leave Ctrl-C, which a terminal sends to every process, to the client: it ends the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
