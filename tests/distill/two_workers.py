"""Trains a small network and saves its weights; by torchrun or alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from distill_fakes import SITE, SmallNet, scene

from edgesr.distill.trainer import TrainConfig, train


def main(folder: Path) -> None:
    result = train(
        SmallNet(seed=1),
        [scene(regions=True), scene(seed=1)],
        TrainConfig(epochs=2, batch=4, steps_per_epoch=5, ema=0.9, focus=0.5),
        teacher=SmallNet(seed=2),
        sites=[SITE],
        checkpoint=folder / "checkpoint.pt",
        progress=False,
    )
    content = {"weights": result.model.state_dict(), "history": result.history}
    torch.save(content, folder / f"{os.environ.get('RANK', 'alone')}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
