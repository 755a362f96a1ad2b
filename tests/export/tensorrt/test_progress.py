from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from edgesr_export.tensorrt.api import Api
from edgesr_export.tensorrt.progress import Interrupt, ProgressLine, make_monitor


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run_a_build(line):
    line.start("Building engine", 6)
    line.start("Timing", 3)
    line.step("Timing", 2)
    line.finish("Timing")
    line.step("Building engine", 5)
    line.finish("Building engine")
    line.close()


def test_a_terminal_shows_one_line_and_is_left_clean():
    stream = Terminal()
    run_a_build(ProgressLine("fp16", stream))
    shown = stream.getvalue()
    assert "fp16: Building engine 0/6 > Timing 2/3 (" in shown
    assert "\n" not in shown
    last = shown.rsplit("\r", 2)
    assert last[1].strip() == last[2] == ""


def test_elsewhere_lines_are_rare(monkeypatch):
    stream = io.StringIO()
    run_a_build(ProgressLine("fp16", stream))
    assert stream.getvalue() == ""
    monkeypatch.setattr("edgesr_export.tensorrt.progress.SECONDS_BETWEEN_LINES", 0.0)
    run_a_build(ProgressLine("fp16", stream))
    assert stream.getvalue().count("\n") == 6


def test_a_closed_pipe_does_not_end_a_build():
    class Closed(Terminal):
        def write(self, text):
            raise BrokenPipeError

    run_a_build(ProgressLine("fp16", Closed()))


def test_ctrl_c_ends_the_build_after_the_step_and_is_raised_outside():
    line = ProgressLine("fp16", io.StringIO())
    interrupt = Interrupt()
    monitor = make_monitor(Api(SimpleNamespace(IProgressMonitor=object)), line, interrupt)
    monitor.phase_start("Timing", None, 2)
    assert monitor.step_complete("Timing", 0)
    interrupt.raise_if_pressed()

    def pressed(*arguments):
        raise KeyboardInterrupt

    line.step = pressed
    assert not monitor.step_complete("Timing", 1)
    with pytest.raises(KeyboardInterrupt):
        interrupt.raise_if_pressed()
