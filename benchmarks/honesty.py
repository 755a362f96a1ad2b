"""How often a budget that held where it was decided holds on the test region as well.

``python -m benchmarks.honesty --scenes FOLDER --store FOLDER`` trains a small teacher on each cube
of a folder with each seed and makes it smaller in closed form by what ``edgesr compress`` tries:
surgeries on the upsampler, blocks left out, layers factorised. It takes what computes least within
a budget and looks at what that loses on the test region. Two rules are compared:

* ``one window``: the window that chose the teacher's epoch decides, by the mean (as edgesr did);
* ``budget blocks``: blocks of their own decide, by the upper end of their interval (as it does).

Each seed turns the cube by another quarter, so that other pixels are tested. What is done lies in
``--store``, one file a run: kill it and start it again. The figures are saved at the end in
``--output`` and printed as a table; progress goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.results import FOLDER
from edgesr.compress.candidates import SurgeryOptions, calibrate, enumerate_candidates
from edgesr.compress.search.design import ERRORS, Design, build, survey
from edgesr.cube import Cube, Scene, Window, make_scene, read_cube
from edgesr.cube.bands import format_bands
from edgesr.cube.protocols import PROTOCOLS, Regions
from edgesr.distill.trainer import TrainConfig, train
from edgesr.errors import EdgesrError
from edgesr.evaluation.cost import count
from edgesr.evaluation.drop import block_figures, drop_between, worst
from edgesr.evaluation.evaluate import evaluate, evaluate_bicubic
from edgesr.evaluation.interval import CONFIDENCE
from edgesr.files import atomic_path
from edgesr.loading.workload import Workload
from edgesr.models import create_model
from edgesr.stored import at_once
from edgesr.surgery import require_sites, spectrum

SCALE = 4
LIMITS = (0.02, 0.05, 0.1)  # dB; the second is the default of ``edgesr compress``
RULES = ("one window", "budget blocks")


@dataclass(frozen=True)
class Settings:
    """What decides a run besides the cube, the seed and the rule."""

    bands: int = 48
    blocks: int = 4
    channels: int = 64
    patch: int = 32
    batch: int = 8
    epochs: int = 15
    steps: int = 25
    learning_rate: float = 1e-3
    confidence: float = CONFIDENCE
    errors: tuple[int, ...] = (0, 2, 4, 6, 8)  # of ERRORS: what layers of the backbone lose


def one_window(height: int, width: int, scale: int) -> Regions:
    """Top third: test. At the right, below it, a third: chooses and decides. The rest: train."""
    height, width = height // scale * scale, width // scale * scale
    top, side = height // 3 // scale * scale, width // 3 // scale * scale
    window = Window(top, width - side, top, side)
    return Regions(
        crop=Window(0, 0, height, width),
        train=(
            Window(top, 0, height - top, width - side),
            Window(2 * top, 0, height - 2 * top, width),
        ),
        tuning=(window,),
        budget=(window,),
        test=(Window(0, 0, top, width),),
    )


PROTOCOLS["one_window"] = replace(
    PROTOCOLS["auto"], name="one_window", title="one window chooses and decides", regions=one_window
)


def divide(cube: Cube, rule: str, settings: Settings) -> Scene:
    """The scene of a rule, with bands evenly spread over the clean ones."""
    protocol = "auto" if rule == RULES[1] else "one_window"
    clean = make_scene(cube, scale=SCALE, protocol=protocol, patch=settings.patch).bands
    chosen = sorted({clean[i] for i in np.linspace(0, len(clean) - 1, settings.bands).astype(int)})
    return make_scene(
        cube, scale=SCALE, protocol=protocol, patch=settings.patch, bands=format_bands(chosen)
    )


def run(cube: Cube, seed: int, rule: str, settings: Settings) -> dict[str, Any]:
    """Train a teacher, measure every surgery, and take the smallest within each limit."""
    started = time.perf_counter()
    scene = divide(replace(cube, data=np.rot90(cube.data, seed)), rule, settings)
    torch.manual_seed(seed)
    bands = len(scene.bands)
    teacher = create_model(
        "lkca_net", bands=bands, scale=SCALE, blocks=settings.blocks, channels=settings.channels
    )
    config = TrainConfig(
        epochs=settings.epochs,
        batch=settings.batch,
        steps_per_epoch=settings.steps,
        learning_rate=settings.learning_rate,
        final_learning_rate=settings.learning_rate / 10,
        seed=seed,
    )
    trained = train(teacher, [scene], config, progress=False)
    workload = Workload(scene, trained.model.eval(), {}, "", "lkca_net")
    network, bicubic = evaluate(teacher, scene), evaluate_bicubic(scene)
    return {
        "settings": _plain(settings),
        "split": scene.describe()["split"],
        "epoch": trained.best["epoch"],
        "above_bicubic_db": network["mpsnr"] - bicubic["mpsnr"],
        "candidates": measured(workload, seed, rule, settings),
        "seconds": round(time.perf_counter() - started, 1),
    }


def measured(workload: Workload, seed: int, rule: str, settings: Settings) -> list[dict[str, Any]]:
    """Size, drop where it is decided, and drop on the test region of every network tried."""
    model, scene = workload.model, workload.scene
    before = {split: block_figures(model, scene, split) for split in ("budget", "test")}
    confidence = settings.confidence if rule == RULES[1] else 0.0
    found = []
    for label, student in students(workload, seed, settings):
        drops = {
            split: drop_between(figures, block_figures(student, scene, split), confidence)
            for split, figures in before.items()
        }
        found.append(
            {
                "label": label,
                "macs": count(student, tuple(workload.example().shape)).macs,
                "drop": drops["budget"],
                "test_drop": drops["test"]["psnr_drop"],
            }
        )
    return found


def students(workload: Workload, seed: int, settings: Settings) -> Iterator[tuple[str, nn.Module]]:
    """Every surgery on the upsampler, and the smallest of low rank with a smaller backbone."""
    sites = require_sites(workload.model, workload.example())
    spectra = {site.name: spectrum(workload.model, site) for site in sites}
    candidates = enumerate_candidates(SurgeryOptions(), sites, spectra)
    methods = dict.fromkeys(one.method for one in candidates)
    calibrated = calibrate(workload, sites, spectra, methods, seed)
    for candidate in candidates:
        yield candidate.label, calibrated.operate(candidate)
    low = [one for one in candidates if one.method == "lowrank"][-1:]
    backbone = survey(calibrated, (low or candidates)[-1], seed, at_once)
    for removed in range(settings.blocks):
        for error in settings.errors:
            if low and (removed or error):
                design = Design(0, removed, error)
                name = f"{low[0].label}, {removed} blocks out, layers lose {ERRORS[error]:g}"
                yield name, build(calibrated, low, backbone, design)


def verdict(candidates: Sequence[dict[str, Any]], limit: float) -> dict[str, Any] | None:
    """What computes least within a limit, and whether it holds on test; None where none is."""
    within = [one for one in candidates if worst(one["drop"], "psnr") <= limit]
    if not within:
        return None
    taken = min(within, key=lambda one: one["macs"])
    return {**taken, "holds": taken["test_drop"] <= limit}


def table(runs: Iterable[dict[str, Any]]) -> str:
    """A row for each rule and limit: in how many runs the budget holds on the test region."""
    runs = list(runs)
    lines = [
        "| Rule | Budget dB | Runs | Taken | Holds on test | Share | Worst on test dB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for limit in LIMITS:
        for rule in RULES:
            own = [one for one in runs if one["rule"] == rule]
            taken = [found for one in own if (found := verdict(one["candidates"], limit))]
            holds = sum(found["holds"] for found in taken)
            share = f"{holds / len(taken):.0%}" if taken else "–"
            most = f"{max(found['test_drop'] for found in taken):.3f}" if taken else "–"
            lines.append(
                f"| {rule} | {limit:g} | {len(own)} | {len(taken)} | {holds} | {share} | {most} |"
            )
    return "\n".join(lines)


def _kept(path: Path, settings: Settings) -> dict[str, Any] | None:
    """What an earlier start has found, with the same settings."""
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found if found["settings"] == _plain(settings) else None


def _plain(settings: Settings) -> dict[str, Any]:
    """As JSON has them."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    return plain


def _save(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def main(words: list[str] | None = None) -> int:
    """Do what is not done yet, save and print."""
    options = _options(words)
    torch.set_num_threads(options.threads)
    settings = Settings(epochs=options.epochs)
    files = [path for path in sorted(options.scenes.iterdir()) if path.suffix != ".md"]
    wanted = [path for path in files if not options.cubes or path.stem in options.cubes]
    plan = [(p, seed, rule) for seed in range(options.seeds) for p in wanted for rule in RULES]
    runs: list[dict[str, Any]] = []
    for number, (path, seed, rule) in enumerate(plan, 1):
        name = f"{path.stem}, seed {seed}, {rule}"
        kept = options.store / f"{path.stem}-{seed}-{rule.replace(' ', '-')}.json"
        found = _kept(kept, settings)
        if found is None:
            try:
                found = run(read_cube(path), seed, rule, settings)
            except EdgesrError as error:
                print(f"[{number}/{len(plan)}] {name}: left out: {error}", file=sys.stderr)
                continue
            _save(kept, found)
        runs.append({"cube": path.stem, "seed": seed, "rule": rule, **found})
        _say(f"[{number}/{len(plan)}] {name}", found)
    if not runs:
        print("nothing was measured: no cube could be read and divided", file=sys.stderr)
        return 1
    _save(options.output, {"limits_db": LIMITS, "table": table(runs).splitlines(), "runs": runs})
    print(table(runs))
    return 0


def _say(name: str, found: dict[str, Any]) -> None:
    taken = verdict(found["candidates"], LIMITS[1])
    text = "nothing taken"
    if taken:
        drop = taken["drop"]
        text = (
            f"{taken['label']}: {drop['psnr_drop']:.3f} dB (at most {worst(drop, 'psnr'):.3f}),"
            f" test {taken['test_drop']:.3f}"
        )
    print(
        f"{name}: {found['above_bicubic_db']:+.2f} dB over bicubic, epoch {found['epoch']};"
        f" {text} ({found['seconds']:.0f} s)",
        file=sys.stderr,
        flush=True,
    )


def _options(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.honesty", description=__doc__)
    parser.add_argument("--scenes", type=Path, required=True, help="folder of cubes")
    parser.add_argument("--store", type=Path, required=True, help="folder of what is done")
    parser.add_argument("--output", type=Path, default=FOLDER / "honesty.json")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=Settings.epochs, help="of each teacher")
    parser.add_argument("--cubes", nargs="*", help="stems of the files (default: all)")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
