"""Ctrl-C ends the work, whatever the code does that is at work when it comes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import torch
from edgesr_export.interrupts import held, noted, stop_if_pressed
from edgesr_export.onnx import export_onnx
from torch import nn


@pytest.fixture(autouse=True)
def _heeded() -> Iterator[None]:
    """A job in the background ignores Ctrl-C from its start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def pressed_within(steps: list[Callable[[], object]]) -> list[Callable[[], object]]:
    """The steps of a block that were done before Ctrl-C ended it."""
    done = []

    def block() -> None:
        with held():
            for step in steps:
                step()
                done.append(step)

    with pytest.raises(KeyboardInterrupt):
        block()
    return done


def fail() -> None:
    raise ValueError


@held()
def press_within() -> None:
    press()


def test_a_press_waits_until_the_outermost_block_is_left():
    assert pressed_within([press, list]) == [press, list]
    assert pressed_within([press_within, list]) == [press_within, list]


def test_it_counts_more_than_the_error_of_the_block():
    assert pressed_within([press, fail]) == [press]


def test_a_second_press_stops_at_once():
    assert pressed_within([press, press, list]) == [press]


def test_without_a_press_nothing_happens_and_errors_stay():
    with held():
        pass
    with pytest.raises(ValueError, match="its own"), held():
        raise ValueError("its own")


def test_a_press_that_is_swallowed_stops_the_work_later():
    with noted() as presses:
        with suppress(KeyboardInterrupt):
            press()
        assert presses.count == 1
        with pytest.raises(KeyboardInterrupt):
            stop_if_pressed()
    stop_if_pressed()  # that work is over


def test_one_in_a_destructor_is_noted_and_prints_nothing(capsys):
    class Careless:
        def __del__(self) -> None:
            press()

    with noted() as presses:
        Careless()
    assert presses.count == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("block", [held, noted])
def test_ignored_presses_stay_ignored_and_other_threads_are_left_alone(block):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with block():
        press()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)
    failed: list[BaseException] = []

    def enter() -> None:
        try:
            with block():
                pass
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert not failed


class Pressing(nn.Module):
    """Somebody presses Ctrl-C while it is traced; and the tracer makes another error of it."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        try:
            press()
        except BaseException as error:
            raise RuntimeError("swallowed") from error
        return image * 2


def test_an_export_is_stopped_and_writes_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        export_onnx(Pressing(), torch.zeros(1, 2, 4, 4), tmp_path / "net.onnx", dynamic=False)
    assert not any(tmp_path.iterdir())
