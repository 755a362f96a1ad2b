"""Fixtures of the benchmarks; see :mod:`benchmarks.interleave` for how a group is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.interleave import Budget, Calls, Groups, Replay

if TYPE_CHECKING:
    from benchmarks.zoo import Zoo

REPLAY = Replay()
GROUPS = pytest.StashKey[Groups]()
BEGAN = pytest.StashKey[float]()
QUICK_SHARE = 0.1
"""Of the time for a group, with ``--quick``."""

Gather = Callable[[], tuple[Calls, Mapping[str, str]]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="few rounds, small sizes; for a look")
    parser.addoption("--device", default="cuda", help="device of the GPU suite (default: cuda)")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[GROUPS] = Groups()
    config.stash[BEGAN] = time.monotonic()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"in_turn", "timed_once"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.benchmark(timer=REPLAY.now))


def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    from benchmarks.machine import machine

    on_gpu = config.getoption("markexpr") == "gpu"
    machine_info.clear()
    machine_info.update(machine(config.getoption("device") if on_gpu else "cpu"))


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Leave the single times out; add what could not be measured and why, and the time of all."""
    for record in output_json["benchmarks"]:
        record["stats"].pop("data", None)
    output_json["absent"] = {
        group: reasons for group, reasons in config.stash[GROUPS].absent.items() if reasons
    }
    output_json["wall_s"] = time.monotonic() - config.stash[BEGAN]


@pytest.fixture(scope="session")
def quick(pytestconfig: pytest.Config) -> bool:
    """Whether small sizes and few rounds are wanted."""
    return bool(pytestconfig.getoption("quick"))


@pytest.fixture
def in_turn(benchmark: Any, pytestconfig: pytest.Config, quick: bool) -> Callable[..., None]:
    """Record one member of a group whose members are measured in turn: ``in_turn(group, name,
    gather, seconds=..., **facts)``, with ``gather`` as in :meth:`Groups.times`."""

    def record(
        group: str, name: str, gather: Gather, *, seconds: float = 20, **facts: object
    ) -> None:
        groups = pytestconfig.stash[GROUPS]
        budget = Budget(seconds * QUICK_SHARE, least=3) if quick else Budget(seconds)
        times = groups.times(group, gather, budget)
        if name not in times:
            pytest.skip(groups.absent[group].get(name, "not part of this group"))
        benchmark.group = group
        benchmark.extra_info.update(facts)
        REPLAY.load(times[name])
        benchmark.pedantic(lambda: None, rounds=len(times[name]))

    return record


@pytest.fixture
def timed_once(benchmark: Any) -> Callable[..., None]:
    """Record what was done once and takes long: ``timed_once(group, seconds, **facts)``."""

    def record(group: str, seconds: float, **facts: object) -> None:
        benchmark.group = group
        benchmark.extra_info.update(facts)
        REPLAY.load([seconds])
        benchmark.pedantic(lambda: None, rounds=1)

    return record


@pytest.fixture(scope="session")
def threads() -> int:
    """Threads of every runtime: what torch takes for this machine (OMP_NUM_THREADS rules it)."""
    import torch

    return torch.get_num_threads()


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory, threads: int) -> Zoo:
    from benchmarks.zoo import Zoo

    return Zoo(tmp_path_factory.mktemp("zoo"), threads)
