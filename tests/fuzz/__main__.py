"""``python -m tests.fuzz --count 50000``: as many damaged files as one has time for."""

from __future__ import annotations

import argparse
import faulthandler
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fuzz_run import Outcome, fuzz

EVERY = 1_000


def main() -> int:
    """Print what came of it; 1 where something else than a refusal did."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--only", default="", help="kinds of file whose name holds this")
    options = parser.parse_args()
    faulthandler.enable()
    started = time.monotonic()

    shown: list[str] = []

    def told(number: int, outcome: Outcome) -> None:
        for fault in outcome.faults[len(shown) :]:
            print(fault, flush=True)
            shown.append(fault)
        if number % EVERY == 0:
            passed = time.monotonic() - started
            print(f"{number} inputs, {len(outcome.faults)} faults, {passed:.0f} s", flush=True)

    outcome = fuzz(options.count, options.seed, options.only, told, options.first)
    for name in sorted(outcome.read | outcome.refused):
        print(f"{name:12} {outcome.read[name]:6} read {outcome.refused[name]:6} refused")
    print(f"{outcome.inputs} inputs, {len(outcome.faults)} faults")
    return int(bool(outcome.faults))


if __name__ == "__main__":
    sys.exit(main())
