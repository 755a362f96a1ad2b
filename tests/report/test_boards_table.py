from __future__ import annotations

import io

import pytest
from rich.console import Console

from edgesr.report.boards_table import DesktopRow, render_boards

DESKTOP = DesktopRow("Xeon", "fp16", "ONNX Runtime, CPU", (1, 36, 32, 32), 40.0, 44.0)


@pytest.fixture
def printed():
    def run(boards, desktop=()) -> str:
        stream = io.StringIO()
        render_boards(boards, desktop, Console(file=stream, width=140, highlight=False))
        return stream.getvalue()

    return run


def line_with(text: str, *words: str) -> str:
    (line,) = [line for line in text.splitlines() if all(word in line for word in words)]
    return line


def test_what_can_be_compared_stands_together_the_fastest_first(printed, read_result):
    mode = {"name": "7W", "id": 1}
    slow = read_result("slow.json")
    slow.content["board"]["power_mode"] = mode
    slow.content["models"][0]["latency_ms"]["with_transfers"]["median"] = 60.0
    text = printed([slow, read_result("fast.json")], [DESKTOP])
    assert text.index("15W") < text.index("Xeon") < text.index("7W")
    fast = line_with(text, "15W", "fp16")
    assert "32 x 32" in fast
    assert fast.split()[-5:] == ["12.50", "14.50", "2560", "9.00", "50.0"]


def test_the_desktop_has_lines_a_second_and_no_power(printed):
    # 32 lines in 40 ms
    assert line_with(printed([], [DESKTOP]), "Xeon").split()[-5:] == [
        "40.00", "44.00", "800", "–", "–",
    ]  # fmt: skip


def test_batches_count_their_lines(printed):
    row = DesktopRow("Xeon", "fp32", "torch", (2, 36, 32, 32), 40.0)
    assert line_with(printed([], [row]), "Xeon").split()[-5:-2] == ["40.00", "–", "1600"]


def test_failures_and_reasons_stand_below(printed, read_result):
    board = read_result()
    board.content["models"][0]["power"] = {"absent": "no sensor"}
    board.content["board"]["clocks"]["locked"] = False
    text = printed([board])
    assert line_with(text, "fp16").split()[-2:] == ["–", "–"]
    assert line_with(text, "no power").endswith("no sensor")
    assert "no layer of the engine has it" in text
    assert "clocks not known to be locked" in text


def test_a_run_that_failed_prints_no_table(printed, read_result):
    board = read_result(bundle=None, board=None, runtime=None, ok=False, error="damaged", models=[])
    assert printed([board]).splitlines() == ["orin.json: damaged"]


def test_other_bundles_are_told(printed, read_result):
    boards = [read_result("a.json"), read_result("b.json")]
    assert "different bundles" not in printed(boards)
    boards[1].content["bundle"]["id"] = "f" * 64
    assert "different bundles" in printed(boards)
