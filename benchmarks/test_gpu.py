"""Every form of the networks on a GPU, measured in turn: ``make bench-gpu``.

``--device cpu`` runs what a CPU can, to try the plumbing.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from benchmarks import gpu
from benchmarks.interleave import Calls
from benchmarks.names import BANDS, IN_FULL
from benchmarks.zoo import AbsentError, Zoo, plausible_tiles

pytestmark = pytest.mark.gpu

SIDES = (64, 128)
NETWORKS = (*IN_FULL, "dacn")
FILES = {"fp32": "rewritten", "fp16": "half"}
CASES = [
    (side, network, form)
    for side in SIDES
    for network in NETWORKS
    for form in gpu.FORMS
    if not (network == "dacn" and side > 64)
]


@pytest.fixture(scope="session")
def device(pytestconfig: pytest.Config) -> str:
    name = str(pytestconfig.getoption("device"))
    if name.startswith("cuda") and not torch.cuda.is_available():
        pytest.skip("no CUDA device here; --device cpu tries the plumbing")
    return name


@pytest.mark.parametrize(
    ("side", "network", "form"), CASES, ids=[f"{s}-{n}-{f.name}" for s, n, f in CASES]
)
def test_gpu(
    in_turn: Callable[..., None],
    zoo: Zoo,
    device: str,
    quick: bool,
    side: int,
    network: str,
    form: gpu.Form,
) -> None:
    if quick and (side != SIDES[0] or network != IN_FULL[-1]):
        pytest.skip("left out by --quick")

    def gather() -> tuple[Calls, dict[str, str]]:
        calls, absent = {}, {}
        for other_side, other, other_form in CASES:
            if (other_side, other) == (side, network):
                try:
                    calls[other_form.name] = _call(zoo, other, other_form, side, device)
                except AbsentError as error:
                    absent[other_form.name] = str(error)
        return calls, absent

    in_turn(
        f"GPU, {network}, LR {side}",
        form.name,
        gather,
        seconds=10,
        network=network,
        form=form.name,
        input_shape=[1, BANDS, side, side],
    )


def _call(zoo: Zoo, network: str, form: gpu.Form, side: int, device: str) -> Callable[[], object]:
    tile = plausible_tiles(1, BANDS, side)
    if form.how == "onnxruntime":
        return gpu.onnx_call(zoo.file(network, FILES[form.precision]), tile, device)
    if form.how == "tensorrt":
        return gpu.tensorrt_call(zoo.file(network, FILES[form.precision]), tile, form.precision)
    return gpu.torch_call(zoo.model(network), torch.from_numpy(tile), form, device)
