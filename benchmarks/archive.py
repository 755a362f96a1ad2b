"""Archives on workers of Dask: ``python -m benchmarks.archive``, on a quiet machine.

Three things are measured, and printed beside what they have to reach: how much faster two workers
of one thread are than one, what the engine adds to a scene, and how the memory of the
scheduler grows over many scenes. ``--quick`` shows in a minute that it runs; its figures say
nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from edgesr import __version__
from edgesr.scenes.archive import make_jobs, run_archive
from edgesr.scenes.archive.engines import Cluster
from edgesr.scenes.archive.folder import STATE, WORKERS
from edgesr.scenes.archive.model import Archive
from edgesr.scenes.archive.sources import Source
from edgesr.scenes.receipt import Receipt

SPEEDUP = 1.7
OVERHEAD_MS = 50.0
GROWTH = 0.05
"""Share by which memory may grow from a fifth of the scenes to all of them."""
BLOCK = b"\0" * 2**20


def work(source: str, target: str, options: Mapping[str, Any]) -> Receipt:
    """Hash so many megabytes: one thread, no memory traffic that workers would share."""
    started = time.perf_counter()
    digest = hashlib.sha256()
    for _ in range(options["megabytes"]):
        digest.update(BLOCK)
    Path(target).write_bytes(digest.digest())
    return Receipt(
        source=source,
        target=target,
        pixels=1,
        seconds=time.perf_counter() - started,
        sha256=hashlib.sha256(digest.digest()).hexdigest(),
        version=__version__,
        model_sha256="0" * 64,
    )


@dataclass(frozen=True)
class Watched(Cluster):
    """Workers of a scheduler whose memory is noted whenever a scene is done."""

    process: int = 0
    noted: list[int] = field(default_factory=list)

    def run(self, *arguments: Any) -> Any:
        """Do every job."""
        for found in super().run(*arguments):
            self.noted.append(psutil.Process(self.process).memory_info().rss)
            yield found


@contextmanager
def scheduler(workers: int) -> Iterator[tuple[int, str]]:
    """A scheduler in a process of its own, with workers: its process and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    commands = [f"dask_scheduler --host {address} --no-dashboard"]
    commands += [f"dask_worker {address} --nthreads 1 --memory-limit 0 --no-dashboard"] * workers
    started = [
        subprocess.Popen(
            [sys.executable, "-m", *f"distributed.cli.{command}".split()],
            stderr=subprocess.DEVNULL,
        )
        for command in commands
    ]
    try:
        yield started[0].pid, address
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()


def archive(
    scenes: int, megabytes: int, engine: Callable[[Path], Cluster]
) -> tuple[Archive, float]:
    """Do so many scenes; return what became of them, and the wall time without the start."""
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "scene.txt"
        source.write_text("a scene")
        out = Path(place) / "out"
        sources = [Source(str(source), f"s{number}") for number in range(scenes)]
        jobs = make_jobs(sources, out, ".tif", {"megabytes": megabytes})
        made = run_archive(jobs, out, engine(out / STATE / WORKERS), call="benchmarks.archive:work")
        times = [one.output.modified_ns for one in made.done]
    assert len(made.done) == scenes, made.failed[:1]
    first = made.done[0].receipt.seconds
    return made, (max(times) - min(times)) / 1e9 + first


def speedup(scenes: int, seconds: float) -> dict[str, float]:
    """One worker and two in turn, twice each: the ratio of their best wall times."""
    made, _ = archive(1, 200, partial(Cluster, 1, 1))
    megabytes = max(1, round(200 * seconds / made.done[0].receipt.seconds))
    walls: dict[int, list[float]] = {1: [], 2: []}
    for workers in (1, 2, 1, 2):
        walls[workers].append(archive(scenes, megabytes, partial(Cluster, workers, 1))[1])
    one, two = min(walls[1]), min(walls[2])
    return {"one_worker_s": one, "two_workers_s": two, "speedup": one / two}


def many(scenes: int) -> dict[str, float]:
    """Scenes without work: what each costs, and how the scheduler's memory grows."""
    noted: list[int] = []
    with scheduler(workers=2) as (process, address):

        def engine(scratch: Path) -> Cluster:
            return Watched(0, 1, scratch, address, process, noted)

        made, wall = archive(scenes, 0, engine)
    early, late = noted[len(noted) // 5], noted[-1]
    return {
        "overhead_ms": 1e3 * wall / scenes,
        "whole_ms": 1e3 * made.seconds / scenes,
        "early_mb": early / 1e6,
        "late_mb": late / 1e6,
        "growth": late / early - 1,
    }


def main(words: list[str] | None = None) -> int:
    """Measure, print as JSON; 1 where something is not reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.archive", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few and short scenes")
    quick = parser.parse_args(words).quick
    found = {
        "speedup": speedup(2, 0.5) if quick else speedup(6, 10.0),
        "many": many(200 if quick else 10_000),
    }
    reached = {
        f"two workers at least {SPEEDUP} times one": found["speedup"]["speedup"] >= SPEEDUP,
        f"at most {OVERHEAD_MS:g} ms a scene": found["many"]["overhead_ms"] <= OVERHEAD_MS,
        f"memory within {GROWTH:.0%}": found["many"]["growth"] <= GROWTH,
    }
    print(json.dumps({"quick": quick, **found, "reached": reached}, indent=2))
    return int(not quick and not all(reached.values()))


if __name__ == "__main__":
    sys.exit(main())
