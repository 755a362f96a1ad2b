"""``make gpu`` asks for a GPU before it installs anything."""

from __future__ import annotations

import ctypes
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

PROGRAM = Path(__file__).with_name("has_gpu.py")


class Driver(SimpleNamespace):
    """As much of libcuda as is asked for, with so many GPUs."""

    def __init__(self, gpus):
        super().__init__(
            cuInit=lambda flags: 0 if gpus else 100,
            cuDeviceGetCount=lambda count: 0,
            cuDeviceGet=lambda device, index: 0 if index < gpus else 101,
            cuDeviceGetName=self.name,
        )

    @staticmethod
    def name(text, size, device):
        text.value = b"Orin"
        return 0


@pytest.fixture
def find():
    return runpy.run_path(str(PROGRAM))["find"]


def test_a_gpu_is_named(find, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(1))
    assert find() == "Orin"


def test_a_driver_without_a_gpu_is_an_error(find, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(0))
    with pytest.raises(OSError, match="cuInit answers 100"):
        find()


def test_the_program_says_plainly_what_it_found():
    done = subprocess.run([sys.executable, PROGRAM], capture_output=True, text=True, check=False)
    if done.returncode:
        assert done.returncode == 2
        assert done.stderr.startswith("no GPU: nothing was run (")
        assert done.stdout == ""
    else:
        assert done.stdout.startswith("GPU: ")
