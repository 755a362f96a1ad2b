"""A training step and its loss beside plain torch: ``python -m benchmarks.training``.

*plain* is the step with the losses as :mod:`edgesr.distill.losses` writes them, on planes, torch's
own interpolation and dilated convolutions, and Adam weight by weight; *quick* is what ``edgesr``
takes. Both train the same student on the same patches of the embedded cube, one step of each in
turn. Figures are seconds that the processor worked on one thread, so that a busy machine disturbs
them little; nothing is saved.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.zoo import build
from edgesr.cube import Scene, make_scene, read_cube
from edgesr.distill import fused, losses
from edgesr.distill.config import TrainConfig
from edgesr.distill.parallel import workers
from edgesr.distill.trainer import _Trainer
from edgesr.evaluation.evaluate import inference
from edgesr.loading.workload import scene_example
from edgesr.surgery import require_sites

STUDENTS = {"16 blocks, rank 8": 16, "4 blocks, rank 8": 4}
SHAPE = (8, 151, 64, 64)
RANK = 8


class _Plain(_Trainer):
    """The step as one would write it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.optimizer = torch.optim.Adam(self.weights, lr=self.config.learning_rate)

    def _step(self, patches: Any, rate: float) -> Tensor:
        lr, hr = self.sampler.load(patches)
        with self._autocast():
            sr = self.forward(lr)
            if self.teacher is not None:
                with inference(self.teacher):
                    self.teacher(lr)
        loss = losses.hh_loss(sr.float().contiguous(), hr.contiguous())
        if self.listeners:
            student, teacher = (
                [feature.float().contiguous() for feature in one.collect()]
                for one in self.listeners
            )
            loss = loss + self.config.alpha * losses.kd_loss(student, teacher)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.config.clip is not None:
            nn.utils.clip_grad_norm_(self.weights, self.config.clip)
        self.optimizer.step()
        return loss.detach()


def seconds_in_turn(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median processor seconds of each call; the first round does not count."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            began = time.process_time()
            call()
            found[name].append(time.process_time() - began)
    return {name: median(spans[1:]) for name, spans in found.items()}


def of_loss(name: str, rounds: int) -> dict[str, float]:
    """Value and gradient of a loss on images as a network gives them, bands last."""
    random = torch.Generator().manual_seed(0)
    target = torch.rand(SHAPE, generator=random).to(memory_format=torch.channels_last)
    image = (target + 0.05 * torch.randn(SHAPE, generator=random)).requires_grad_()

    def plain() -> None:
        loss = getattr(losses, name)(image.contiguous(), target.contiguous())
        torch.autograd.grad(loss, image)

    def quick() -> None:
        torch.autograd.grad(getattr(fused, name)(image, target), image)

    return seconds_in_turn({"plain": plain, "quick": quick}, rounds)


def of_step(blocks: int, scene: Scene, *, taught: bool, amp: Any, rounds: int) -> dict[str, float]:
    """A step on eight patches, with a teacher of 16 blocks or without."""
    bands = scene.cube.bands
    student = build(f"R={RANK}", bands=bands, blocks=blocks)
    teacher = build("dense", bands=bands) if taught else None
    sites = require_sites(student, scene_example(scene)) if taught else ()
    config = TrainConfig(epochs=1, batch=8, amp=amp, learning_rate=1e-4)
    with workers("cpu") as group:
        trainers = {
            name: kind(copy.deepcopy(student), [scene], config, teacher, sites, group, None)
            for name, kind in (("plain", _Plain), ("quick", _Trainer))
        }
        plans = {
            name: iter(one.sampler.plan(0, 0, rounds + 1, config.batch, others=0.0))
            for name, one in trainers.items()
        }
        for one in trainers.values():
            one.model.train()
        found = seconds_in_turn(
            {
                name: lambda name=name: trainers[name]._step(next(plans[name]), 1e-4)
                for name in trainers
            },
            rounds,
        )
        for one in trainers.values():
            one.close()
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="steps of each (default: 9)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    shape = " x ".join(map(str, SHAPE))
    print("| What | plain, ms | quick, ms | ratio |\n| --- | ---: | ---: | ---: |")
    for name in ("hh_loss", "kd_loss"):
        _row(f"{name}, {shape}", of_loss(name, options.rounds))
    scene = make_scene(read_cube("indian_pines"))
    for title, blocks in STUDENTS.items():
        for taught in (True, False):
            for amp in ("bf16", "off"):
                how = ", ".join(
                    [title, "taught" if taught else "alone", amp.replace("off", "fp32")]
                )
                found = of_step(blocks, scene, taught=taught, amp=amp, rounds=options.rounds)
                _row(f"step, {how}", found)


def _row(what: str, found: Mapping[str, float]) -> None:
    plain, quick = found["plain"], found["quick"]
    print(f"| {what} | {plain * 1e3:.0f} | {quick * 1e3:.0f} | {plain / quick:.2f} |", flush=True)


if __name__ == "__main__":
    main()
