"""Damaged files one after the other; nothing but the project's own errors may come of them."""

from __future__ import annotations

import random
import resource
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edgesr_jetson.board.errors import BoardError
from fuzz_targets import Target, make_targets

SECONDS = 10
"""Of processor time for one input, however busy the machine; most take some milliseconds."""

GROWTH = 512 * 2**20
"""Bytes that one input may add to the most that the process has held."""

NETWORK = """
from torch import nn


def network():
    return nn.Conv2d(2, 2, 1)
"""


@dataclass
class Outcome:
    """How many inputs were read, were refused, and what else happened."""

    read: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        return self.read.total() + self.refused.total() + len(self.faults)


def fuzz(
    count: int,
    seed: int = 0,
    only: str = "",
    told: Callable[[int, Outcome], object] = lambda *_: None,
    first: int = 0,
) -> Outcome:
    """Try ``count`` inputs, in turn of each kind; input ``n`` follows from kind, seed and n.

    Args:
        count: how many.
        seed: of all of them.
        only: kinds whose name holds this.
        told: after each, how many there were and what came of them.
        first: number of the first, such as that of one that a fault names.
    """
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as name, prepared(Path(name)) as targets:
        chosen = [target for target in targets if only in target.name]
        for number in range(first, first + count):
            _try(chosen[number % len(chosen)], Path(name), f"{seed}.{number}", outcome)
            told(number + 1 - first, outcome)
    return outcome


def _try(target: Target, folder: Path, seed: str, outcome: Outcome) -> None:
    path = target.write(folder, random.Random(f"{target.name}.{seed}"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        target.use(path)
        outcome.read[target.name] += 1
    except Exception as error:
        if getattr(error, "exit_code", None) == 2 or isinstance(error, BoardError):
            outcome.refused[target.name] += 1
        else:
            outcome.faults.append(f"{target.name} {seed}: {type(error).__name__}: {error!s:.200}")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    if grown > GROWTH:
        outcome.faults.append(f"{target.name} {seed}: took {grown / 1e9:.1f} GB of memory")


@contextmanager
def prepared(folder: Path) -> Iterator[list[Target]]:
    """All kinds of files, as long as their tests last."""

    def late(*_: object) -> None:
        raise TimeoutError(f"longer than {SECONDS} s")

    (folder / "fuzz_network.py").write_text(NETWORK)
    sys.path.insert(0, str(folder))
    before = signal.signal(signal.SIGPROF, late)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield make_targets(folder)
    finally:
        signal.signal(signal.SIGPROF, before)
        sys.path.remove(str(folder))
