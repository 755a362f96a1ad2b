from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import two_workers
from distill_fakes import SmallNet

from edgesr.distill.parallel import Workers, workers
from edgesr.errors import OptionError

SCRIPT = Path(__file__).with_name("two_workers.py")


def torchrun(folder: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("WORLD_SIZE", "RANK")}
    environment["PYTHONPATH"] = str(SCRIPT.parents[2])
    environment["OMP_NUM_THREADS"] = "1"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    finished = subprocess.run(
        [*launcher, "--nproc-per-node", "2", str(SCRIPT), str(folder)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=240,
    )
    assert finished.returncode == 0, finished.stderr


def test_two_processes_train_the_same_weights_as_one(tmp_path):
    two_workers.main(tmp_path)
    alone = torch.load(tmp_path / "alone.pt", weights_only=True)
    start = SmallNet(seed=1).state_dict()
    moved = max(float((alone["weights"][name] - start[name]).abs().max()) for name in start)
    assert moved > 5e-3

    (tmp_path / "checkpoint.pt").unlink()
    torchrun(tmp_path)
    assert (tmp_path / "checkpoint.pt").exists()
    for rank in (0, 1):
        result = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, value in alone["weights"].items():
            torch.testing.assert_close(result["weights"][name], value, rtol=1e-4, atol=3e-5)
        for entry, single in zip(result["history"], alone["history"], strict=True):
            assert entry["train_loss"] == pytest.approx(single["train_loss"], rel=1e-5)
            assert entry["tuning_mpsnr"] == pytest.approx(single["tuning_mpsnr"], rel=1e-5)


def test_shares_cover_the_batch_once():
    batch = list(range(12))
    shares = [Workers(rank, 3, torch.device("cpu")).share(12) for rank in range(3)]
    assert [item for share in shares for item in batch[share]] == batch


def test_a_batch_that_cannot_be_shared_evenly_is_refused():
    with pytest.raises(OptionError, match="multiple of 3"):
        Workers(0, 3, torch.device("cpu")).share(8)


def test_one_process_stands_alone():
    with workers("cpu") as group:
        assert (group.rank, group.count, group.first) == (0, 1, True)
        assert group.mean(2.5) == 2.5
        assert group.from_first([1.0]) == [1.0]


@pytest.mark.parametrize("device", ["tpux", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(OptionError, match="device"), workers(device):
        pass
