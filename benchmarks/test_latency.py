"""Latency of every network in every form, at several sizes; all of one size measured in turn."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.interleave import Calls
from benchmarks.names import BANDS, FORMS, IN_FULL, NETWORKS, SIDES
from benchmarks.zoo import AbsentError, Zoo

QUICK_SIDES = (16, 32)
SECONDS = {16: 3, 32: 8, 64: 30, 128: 30}
OF_OTHERS = ("plain", "rewritten", "slabs", "eager")
LARGEST_COMPILED = 64
LARGEST_OF_DACN = 64
"""Attention over all pixels takes a gigabyte a map beyond; edgesr cuts smaller tiles there."""

OF_LARGEST = ("plain", "slabs", "int8")


def forms(network: str, side: int) -> list[str]:
    """Forms of a network that are measured at LR ``side``."""
    wanted = list(FORMS) if network in IN_FULL else list(OF_OTHERS)
    if network == "dacn" and side > LARGEST_OF_DACN:
        return []
    if side == max(SIDES):
        return [form for form in wanted if form in OF_LARGEST]
    if side != LARGEST_COMPILED or network == "g=8":  # compiling takes a minute
        wanted = [form for form in wanted if form != "compiled"]
    if network == "dacn":  # no rewrite fits, so all its files are the same
        return ["plain", "eager"]
    return wanted


CASES = [
    (side, network, form) for side in SIDES for network in NETWORKS for form in forms(network, side)
]


def _name(network: str, form: str) -> str:
    return f"{network} | {form}"


@pytest.mark.parametrize(("side", "network", "form"), CASES)
def test_latency(
    in_turn: Callable[..., None], zoo: Zoo, quick: bool, side: int, network: str, form: str
) -> None:
    if quick and side not in QUICK_SIDES:
        pytest.skip("left out by --quick")

    def gather() -> tuple[Calls, dict[str, str]]:
        calls, absent = {}, {}
        for other_side, other, other_form in CASES:
            if other_side == side:
                try:
                    calls[_name(other, other_form)] = zoo.call(other, other_form, side)
                except AbsentError as error:
                    absent[_name(other, other_form)] = str(error)
        return calls, absent

    cost = zoo.cost(network)
    in_turn(
        f"latency, LR {side}",
        _name(network, form),
        gather,
        seconds=SECONDS[side],
        network=network,
        form=form,
        input_shape=[1, BANDS, side, side],
        params=cost.params,
        upsampler_params=cost.upsampler_params,
        macs_at_16=cost.macs,
    )
