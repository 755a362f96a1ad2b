"""Other tools on the shipped teacher: ``python -m benchmarks.peers``.

Makes an environment for each tool, lets it work on the same calibration tiles and budget blocks,
judges what comes back on budget blocks and test region, times it in turn with edgesr's default
student, keeps the results and writes the table of docs/peers.md. What is done is not done again:
end it whenever you like. A tool that cannot be installed or fails is a row that says why.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path

import torch

from benchmarks.machine import machine
from benchmarks.peers.environments import ROOT, Environments
from benchmarks.peers.judge import Judge, hand_over
from benchmarks.peers.peer import load
from benchmarks.peers.runner import Runner
from benchmarks.peers.store import Store
from benchmarks.peers.table import names, render, table
from benchmarks.results import FOLDER
from edgesr.errors import EdgesrError, OptionError
from edgesr.loading.workload import SceneOptions, load_workload
from edgesr.locks import Lock
from edgesr.recipe.recipes import CompressRecipe

TILE = 64
"""LR side of what is timed."""


def main(words: list[str] | None = None) -> int:
    """Do what is missing, keep it, write the table."""
    options = _options(words)
    options.work.mkdir(parents=True, exist_ok=True)
    try:
        with Lock(options.work / "lock", options.work):
            return _run(options)
    except EdgesrError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _run(options: argparse.Namespace) -> int:
    peers = load()
    chosen = names([*peers], options.only)
    if not chosen:
        raise OptionError(f"--only must begin one of {', '.join(peers)}, not {options.only[0]}")
    torch.set_num_threads(options.threads)
    recipe = CompressRecipe()
    workload = load_workload(SceneOptions(), weights=options.weights)
    runs = {
        f"edgesr-{kind}": str(run.resolve())
        for kind, run in (("default", options.default_run), ("search", options.search_run))
        if run
    }
    weights = str(options.weights.resolve()) if options.weights else None
    digest = hand_over(workload, options.work / "inputs", {"runs": runs, "weights": weights})
    runner = Runner(
        peers,
        Environments(options.environments, options.install),
        Judge(workload, recipe.confidence),
        Store(options.output, digest),
        options.work,
        options.threads,
        {
            "limit_db": recipe.max_psnr_drop,
            "confidence": recipe.confidence,
            "threads": options.threads,
            "tile": TILE,
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "machine": machine(),
        },
    )
    image = workload.example(TILE).numpy()
    for number, name in enumerate(chosen, 1):
        runner.say(f"[{number}/{len(chosen)}] {peers[name].title}")
        done = (runner.store.row(name) or {}).get("files")
        if not options.only_timing and (options.again or not done):
            runner.make(name)
        if not options.no_timing:
            runner.time(name, image)
        runner.say(f"  {runner.told(name)}")
    print(table(runner.store.content))
    if options.page:
        render(runner.store.content)
    return 0


def _options(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    add = parser.add_argument
    add("--only", nargs="+", default=[], metavar="NAME", help="rows whose names begin so")
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--no-timing", action="store_true", help="make and judge alone")
    when.add_argument("--only-timing", action="store_true", help="time what was made before")
    add("--again", action="store_true", help="make rows anew that have files (others always are)")
    add("--weights", type=Path, help="teacher (default: the shipped one)")
    add("--default-run", type=Path, help="finished run of the default job, instead of a new one")
    add("--search-run", type=Path, help="finished run of the search, instead of a new one")
    add("--threads", type=int, default=2)
    add("--work", type=Path, default=ROOT / "runs" / "peers", help="folder of the tools' files")
    add("--environments", type=Path, default=ROOT / ".venv-peers", help="folder of environments")
    add("--no-install", dest="install", action="store_false", help="use what is there alone")
    add("--output", type=Path, default=FOLDER / "peers.json")
    add("--no-page", dest="page", action="store_false", help="leave docs/peers.md as it is")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
