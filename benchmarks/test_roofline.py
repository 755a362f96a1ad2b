"""How far each network is from what the machine can do: its peaks and the networks in one run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from edgesr_export.profile import profile
from edgesr_export.runtime import session

from benchmarks.interleave import Calls
from benchmarks.names import BANDS, SCALE
from benchmarks.zoo import AbsentError, Zoo, plausible_tiles
from edgesr.evaluation import peaks

GROUP = "roofline"
SIDE = 64
RUNS = (
    ("dense", "plain", "fp32"),
    ("dense", "slabs", "fp32"),
    ("g=8", "slabs", "fp32"),
    ("R=32", "slabs", "fp32"),
    ("R=8", "slabs", "fp32"),
    ("R=32", "int8", "int8"),
    ("vdsr", "slabs", "fp32"),
    ("3dfcnn", "slabs", "fp32"),
    ("dacn", "plain", "fp32"),
)
"""Network, form, and the precision whose peak it is held against."""

SIDES = {"dacn": 32}
PROFILED = 3
SLOWEST = 3


def _side(network: str) -> int:
    return SIDES.get(network, SIDE)


@pytest.fixture
def gather(zoo: Zoo, tmp_path: Path, threads: int) -> Callable[[], tuple[Calls, dict[str, str]]]:
    def gather() -> tuple[Calls, dict[str, str]]:
        calls, absent = peaks.calls(tmp_path, threads), {}
        for network, form, _ in RUNS:
            tile = plausible_tiles(1, BANDS, _side(network))
            try:
                file = zoo.file(network, form)
            except AbsentError as error:
                absent[f"{network} | {form}"] = str(error)
            else:
                calls[f"{network} | {form}"] = partial(session(file, threads), tile)
        return calls, absent

    return gather


@pytest.mark.parametrize("name", peaks.PEAKS)
def test_peak(
    in_turn: Callable[..., None],
    gather: Callable[[], tuple[Calls, dict[str, str]]],
    name: str,
) -> None:
    in_turn(GROUP, name, gather, seconds=30, peak=peaks.PEAKS[name], work=peaks.WORK[name])


@pytest.mark.parametrize(("network", "form", "precision"), RUNS)
def test_distance(
    in_turn: Callable[..., None],
    gather: Callable[[], tuple[Calls, dict[str, str]]],
    zoo: Zoo,
    threads: int,
    network: str,
    form: str,
    precision: str,
) -> None:
    side = _side(network)
    try:
        file = zoo.file(network, form)
    except AbsentError as error:
        pytest.skip(str(error))
    image = plausible_tiles(1, BANDS, side)
    spent = profile(file, image, threads=threads, runs=PROFILED)
    in_turn(
        GROUP,
        f"{network} | {form}",
        gather,
        seconds=30,
        network=network,
        form=form,
        precision=precision,
        input_shape=[1, BANDS, side, side],
        macs=zoo.cost(network, side).macs,
        least_bytes=file.stat().st_size + image.nbytes * (1 + SCALE**2),
        slowest_operators=dict(list(spent.items())[:SLOWEST]),
    )
