"""Does a run repeat? ``python -m benchmarks.repeats``: the default job several times under load.

Other work shares the machine meanwhile, so that every timing is noisy; printed is what the runs
have decided otherwise than the first, and why. Their folders stay.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from edgesr.compress import compress
from edgesr.compress.decisions import Decisions, differences
from edgesr.recipe.recipes import CompressRecipe
from edgesr.run_folder import DECISIONS


def _burn() -> None:
    """Work and rest by turns, never the same for long."""
    length = 0.05
    while True:
        until = perf_counter() + length
        while perf_counter() < until:
            sum(range(1000))
        multiprocessing.Event().wait(length / 2)
        length = length * 1.7 % 1 + 0.01


@contextmanager
def loaded(processes: int) -> Iterator[None]:
    """A machine on which so many other processes work."""
    others = [multiprocessing.Process(target=_burn, daemon=True) for _ in range(processes)]
    for one in others:
        one.start()
    try:
        yield
    finally:
        for one in others:
            one.terminate()


def main(arguments: list[str] | None = None) -> int:
    """Run the job, compare the decisions, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repeats", description=__doc__)
    parser.add_argument("output", type=Path, help="folder for the runs")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--load", type=int, default=1, help="other processes at work")
    parser.add_argument("--recipe", type=Path, help="default: the embedded job")
    options = parser.parse_args(arguments)
    recipe = CompressRecipe.load(options.recipe) if options.recipe else CompressRecipe()
    made = []
    with loaded(options.load):
        for number in range(options.runs):
            run = options.output / f"run-{number}"
            if not (run / DECISIONS).is_file():
                compress(recipe, run, resume=run.exists())
            made.append(Decisions.load(run / DECISIONS))
    first, *others = made
    taken = ", ".join(
        f"{target} {sum(kind == 'int8' for kind, _ in layers.values())} int8 layers"
        for target, layers in first.int8.items()
    )
    print(f"run 0: {first.surgery.method} {first.surgery.setting}; {taken or 'no int8'}")
    for number, other in enumerate(others, 1):
        for line in differences(first, other) or ["the same decisions"]:
            print(f"run {number}: {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
