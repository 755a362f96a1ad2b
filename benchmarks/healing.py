"""Which distillation heals a deep cut best: ``python -m benchmarks.healing --cubes FOLDER``.

For every cube and seed, a small LKCA-Net is trained briefly, most of its blocks are removed (least
missed first) and its upsampler is replaced by one of low rank, in closed form. Then each
distillation heals the same cut network from the same teacher, for the same processor time: a step
of each is timed once a cube, in turn, and each gets as many steps as fit. (Choosing the epoch on
validation is not counted: it costs each the same.) What counts is the drop on the test pixels.

Every result is kept in ``--output`` as soon as it is there, and no result is made twice: end the
program whenever you like, and call it again with the same options. Options that decide a result
must be those of the file; cubes, seeds, methods, rates and seconds may be added.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import torch
from torch import nn

from benchmarks.training import seconds_in_turn
from edgesr.cube import Scene, read_cube
from edgesr.distill.config import TrainConfig
from edgesr.distill.parallel import workers
from edgesr.distill.registry import DISTILLATIONS
from edgesr.distill.trainer import _Trainer, train
from edgesr.errors import EdgesrError, OptionError
from edgesr.evaluation.evaluate import evaluate
from edgesr.files import atomic_path
from edgesr.loading.workload import scene_example
from edgesr.locks import Lock
from edgesr.models import create_model
from edgesr.progress import log
from edgesr.reproduce.scenes import Scenes
from edgesr.reproduce.trial import SceneSpec
from edgesr.stored import read_json
from edgesr.surgery import Site, all_moments, lowrank, require_sites
from edgesr.surgery.passes.remove import distance_to, find_blocks, rank_blocks, remove

FORMAT = 1
WINDOWS = 20_000
"""Windows of the upsampler's input that its closed form sees."""
TILES = 8
"""Training tiles on which blocks are missed or not."""
ROUNDS = 5
EPOCHS = 8
"""Epochs that the steps of a healing are divided into; validation chooses among them."""


@dataclass(frozen=True)
class Settings:
    """What decides a result besides cube, seed, distillation, rate and seconds."""

    bands: int
    channels: int
    blocks: int
    kept: int
    rank: int
    patch: int
    batch: int
    teacher_epochs: int
    teacher_steps: int
    amp: str
    threads: int


@dataclass(frozen=True)
class Case:
    """One healing."""

    cube: str
    seed: int
    method: str
    rate: float
    seconds: float

    @property
    def key(self) -> str:
        return f"{self.cube} {self.seed} {self.method} {self.rate:g} {self.seconds:g}"

    @property
    def way(self) -> tuple[str, float, float]:
        """What is compared."""
        return self.method, self.rate, self.seconds


class Store:
    """The results in a JSON file, whole after every write."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self.content: dict[str, Any] = {
            "format": FORMAT, "settings": vars(settings), "costs": {}, "runs": {},
        }  # fmt: skip
        if path.exists():
            found = read_json(path, "the results", advice="choose another --output")
            same = isinstance(found, dict) and all(
                found.get(name) == self.content[name] for name in ("format", "settings")
            )
            if not same:
                raise OptionError(
                    f"{path} holds results of other options; repeat those, or choose another"
                    " --output"
                )
            self.content = found

    @property
    def runs(self) -> dict[str, Any]:
        return self.content["runs"]

    def teacher(self, cube: str, seed: int) -> Path:
        """Where the training of a teacher is kept."""
        return self.path.with_suffix(".state") / f"{cube}-{seed}.checkpoint"

    def write(self) -> None:
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(self.content, indent=1) + "\n")


@dataclass(frozen=True)
class Cut:
    """A teacher, and what is left of it."""

    scene: Scene
    teacher: nn.Module
    student: nn.Module
    sites: list[Site]
    test: dict[str, float]

    def drops(self, network: nn.Module) -> dict[str, float]:
        """What a network loses on the test pixels, in dB and degrees."""
        found = evaluate(network, self.scene, "test")
        return {
            "psnr_drop": round(self.test["mpsnr"] - found["mpsnr"], 5),
            "sam_drop": round(found["sam"] - self.test["sam"], 5),
        }


def cut_network(settings: Settings, scene: Scene, seed: int, checkpoint: Path) -> Cut:
    """Train a teacher, or take the one that is kept, and cut it."""
    torch.manual_seed(seed)
    options = {"bands": scene.cube.bands, "scale": scene.scale}
    model = create_model("lkca_net", blocks=settings.blocks, channels=settings.channels, **options)
    config = TrainConfig(
        epochs=settings.teacher_epochs,
        steps_per_epoch=settings.teacher_steps,
        batch=settings.batch,
        warmup_steps=settings.teacher_steps,
        amp=settings.amp,  # type: ignore[arg-type]
        seed=seed,
    )
    teacher = train(model, [scene], config, checkpoint=checkpoint, resume=True).model
    example = scene_example(scene)
    tiles = torch.stack([scene.pair(window)[0] for window in scene.train[:TILES]])
    ranking = rank_blocks(teacher, find_blocks(teacher, example), distance_to(teacher, tiles))
    gone = [path for path, _ in ranking[: settings.blocks - settings.kept]]
    student = remove(teacher, gone)[0] if gone else copy.deepcopy(teacher)
    sites = require_sites(student, example)
    inputs = (scene.pair(window)[0] for window in scene.train)
    moments = all_moments(student, sites, inputs, WINDOWS)
    for site in sites:
        student, _ = lowrank(student, site, settings.rank, moments[site.name])
    return Cut(scene, teacher, student, sites, evaluate(teacher, scene, "test"))


def step_costs(cut: Cut, methods: Sequence[str], config: TrainConfig) -> dict[str, float]:
    """Processor seconds of a step of each distillation, in turn."""
    with workers("cpu") as group:
        trainers = {}
        for method in methods:
            its = replace(config, distil=method)
            student = copy.deepcopy(cut.student)
            trainers[method] = _Trainer(
                student, [cut.scene], its, cut.teacher, cut.sites, group, None
            )
            student.train()
        plan = next(iter(trainers[methods[0]].sampler.plan(0, 0, 1, config.batch, others=0.0)))
        found = seconds_in_turn(
            {name: lambda one=one: one._step(plan, 0.0) for name, one in trainers.items()}, ROUNDS
        )
        for one in trainers.values():
            one.close()
    return found


def heal(cut: Cut, case: Case, cost: float, config: TrainConfig) -> dict[str, Any]:
    """Distil a copy of the cut network for the seconds of the case."""
    steps = max(1, round(case.seconds / cost / EPOCHS))
    its = replace(
        config,
        distil=case.method,
        epochs=EPOCHS,
        steps_per_epoch=steps,
        learning_rate=case.rate,
        final_learning_rate=case.rate / 10,
        warmup_steps=steps,
    )
    student = copy.deepcopy(cut.student)
    result = train(student, [cut.scene], its, teacher=cut.teacher, sites=cut.sites, progress=False)
    return {"steps": EPOCHS * steps, "epoch": result.best["epoch"], **cut.drops(result.model)}


def run(store: Store, settings: Settings, scenes: Scenes, cases: Sequence[Case]) -> None:
    """Do what is not done yet, a network at a time."""
    networks = dict.fromkeys((case.cube, case.seed) for case in cases)
    for number, (cube, seed) in enumerate(networks, 1):
        todo = [
            case for case in cases
            if (case.cube, case.seed) == (cube, seed) and case.key not in store.runs
        ]  # fmt: skip
        if not todo:
            continue
        log(f"{cube}, seed {seed} ({number} of {len(networks)}): {len(todo)} healings")
        spec = SceneSpec(
            cube, scale=4, patch=settings.patch, bands=f"spread:{settings.bands}",
            normalisation="band",
        )  # fmt: skip
        cut = cut_network(settings, scenes.open(spec), seed, store.teacher(cube, seed))
        config = TrainConfig(
            epochs=EPOCHS,
            batch=settings.batch,
            amp=settings.amp,  # type: ignore[arg-type]
            seed=seed,
        )
        costs = store.content["costs"].setdefault(cube, {})
        if missing := sorted({case.method for case in todo} - costs.keys()):
            costs.update(step_costs(cut, missing, config))
            store.write()
        closed = cut.drops(cut.student)
        for case in todo:
            made = heal(cut, case, costs[case.method], config)
            store.runs[case.key] = {**vars(case), "closed": closed, "teacher": cut.test, **made}
            store.write()
            log(f"  {case.method}, {case.rate:g}, {case.seconds:g} s: {made['psnr_drop']:.3f} dB")


def table(cases: Sequence[Case], runs: dict[str, Any]) -> Iterator[str]:
    """The comparison over all cubes and seeds that every way has."""
    ways = list(dict.fromkeys(case.way for case in cases))
    done = {(case.cube, case.seed, *case.way): runs.get(case.key) for case in cases}
    pairs = [
        pair
        for pair in dict.fromkeys((case.cube, case.seed) for case in cases)
        if all(done[(*pair, *way)] for way in ways)
    ]
    cubes = {cube for cube, _ in pairs}
    yield f"{len(cubes)} cubes, {len(pairs)} networks; drop on test, dB and degrees"
    if not pairs:
        return
    before = [done[(*pair, *ways[0])]["closed"] for pair in pairs]
    yield (
        "| Distillation | Rate | Seconds | Steps | Mean dB (spread) | Median dB | Mean deg"
        f" | Beats {ways[0][0]} |"
    )
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    yield _row("closed form", "", "", 0, before, "")
    first = [done[(*pair, *ways[0])]["psnr_drop"] for pair in pairs]
    for way in ways:
        found = [done[(*pair, *way)] for pair in pairs]
        wins = sum(one["psnr_drop"] < other for one, other in zip(found, first, strict=True))
        method, rate, seconds = way
        steps = mean(one["steps"] for one in found)
        beats = "" if way == ways[0] else f"{wins} of {len(pairs)}"
        yield _row(method, f"{rate:g}", f"{seconds:g}", steps, found, beats)


def _row(name: str, rate: str, seconds: str, steps: float, found: Sequence[Any], beats: str) -> str:
    drops = [one["psnr_drop"] for one in found]
    spread = stdev(drops) if len(drops) > 1 else 0.0
    angle = mean(one["sam_drop"] for one in found)
    cells = [name, rate, seconds, f"{steps:.0f}", f"{mean(drops):.3f} ({spread:.3f})"]
    return f"| {' | '.join([*cells, f'{median(drops):.3f}', f'{angle:.3f}', beats])} |"


def readable(given: Sequence[Path]) -> dict[str, str]:
    """Cubes by name: files, and all of a folder that can be read."""
    cubes = {}
    for path in given:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            try:
                read_cube(str(file))
            except EdgesrError as error:
                print(f"{file.name} is left out: {error}", file=sys.stderr)
            else:
                cubes[file.stem] = str(file)
    return cubes


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--cubes", type=Path, nargs="+", required=True, help="files, or folders of them")
    add("--seeds", type=int, default=3, help="networks a cube (default: 3)")
    add("--methods", nargs="+", default=["paper", "output", "mix", "unlabelled"])
    add("--rates", type=float, nargs="+", default=[2e-4], help="first rates (default: 2e-4)")
    add("--seconds", type=float, nargs="+", default=[30.0], help="of one healing (default: 30)")
    add("--output", type=Path, default=Path("runs/healing.json"))
    add("--threads", type=int, default=1)
    add("--amp", choices=["off", "bf16"], default="off", help="of all trainings")
    for name, value, text in (
        ("bands", 48, "clean bands, evenly spaced"),
        ("channels", 64, "of the network"),
        ("blocks", 8, "of the teacher"),
        ("kept", 2, "blocks of the student"),
        ("rank", 8, "of the student's upsampler"),
        ("patch", 48, "side of a training patch"),
        ("batch", 8, "patches a step"),
        ("teacher-epochs", 30, "of the teacher"),
        ("teacher-steps", 12, "an epoch of the teacher"),
    ):
        add(f"--{name}", type=int, default=value, help=f"{text} (default: {value})")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Do what is missing, print the table."""
    options = _options(words)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    torch.set_num_threads(options.threads)
    settings = Settings(**{name: getattr(options, name) for name in Settings.__annotations__})
    try:
        if unknown := sorted({*options.methods} - {*DISTILLATIONS}):
            raise OptionError(f"--methods must be of {', '.join(DISTILLATIONS)}, not {unknown[0]}")
        scenes = Scenes(cubes := readable(options.cubes))
        ways = list(product(options.methods, options.rates, options.seconds))
        cases = [
            Case(cube, seed, *way)
            for seed in range(options.seeds) for cube in cubes for way in ways
        ]  # fmt: skip
        options.output.parent.mkdir(parents=True, exist_ok=True)
        with Lock(options.output.with_name(f".{options.output.name}.lock"), options.output):
            store = Store(options.output, settings)
            run(store, settings, scenes, cases)
    except EdgesrError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(table(cases, store.runs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
