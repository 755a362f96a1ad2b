"""The order and the arithmetic, on a clock that the test winds; never real time."""

from __future__ import annotations

import pytest

from benchmarks.interleave import Budget, Groups, Replay, times_in_turn


class Clock:
    """Nanoseconds that only :meth:`spend` moves."""

    def __init__(self) -> None:
        self.now = 0
        self.calls: list[str] = []

    def __call__(self) -> int:
        return self.now

    def spend(self, name: str, *milliseconds: float):
        """A callable that takes the next of ``milliseconds``, and the last again and again."""
        left = list(milliseconds)

        def call() -> None:
            self.calls.append(name)
            self.now += round((left.pop(0) if len(left) > 1 else left[0]) * 1e6)

        return call


def test_members_are_called_in_turn_and_each_gets_its_own_times():
    clock = Clock()
    calls = {"a": clock.spend("a", 900, 5, 1, 2, 3), "b": clock.spend("b", 700, 5, 10, 20, 30)}
    times = times_in_turn(calls, Budget(0, least=3), clock=clock)
    assert "".join(clock.calls) == "ab" * 5  # two rounds that do not count
    assert times == {"a": [0.001, 0.002, 0.003], "b": [0.01, 0.02, 0.03]}


@pytest.mark.parametrize(
    ("seconds", "rounds"),
    [(0, 5), (1.2, 12), (100, 25)],
    ids=["never below the least", "what fits", "never above the most"],
)
def test_rounds_follow_the_budget(seconds, rounds):
    clock = Clock()
    times = times_in_turn(
        {"a": clock.spend("a", 500, 60), "b": clock.spend("b", 40)}, Budget(seconds), clock=clock
    )
    assert [len(spans) for spans in times.values()] == [rounds, rounds]


def test_replay_gives_each_time_once():
    replay = Replay()
    replay.load([0.5, 0.25])
    spans = [-(replay.now() - replay.now()) for _ in range(2)]
    assert spans == [0.5, 0.25]
    with pytest.raises(StopIteration):
        replay.now()


def test_a_group_is_gathered_and_measured_once_and_keeps_the_reasons():
    groups, gathered = Groups(), []

    def gather():
        gathered.append(1)
        return {"a": lambda: None}, {"b": "no compiler"}

    first = groups.times("g", gather, Budget(0, least=2))
    assert groups.times("g", gather, Budget(0, least=2)) is first
    assert (len(first["a"]), len(gathered)) == (2, 1)
    assert groups.absent["g"] == {"b": "no compiler"}
