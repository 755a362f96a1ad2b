from __future__ import annotations

import struct

from benchmark_fakes import record

from benchmarks.figures import draw_scaling


def test_one_column_for_each_axis(saved, tmp_path):
    def points(axis: str) -> list[dict]:
        return [
            record(f"growth with {axis}", x, axis=axis, x=x, unit="bands", peak_bytes=x * 2**20)
            for x in (1, 2, 4)
        ]

    widths = []
    for axes in (("bands",), ("bands", "blocks")):
        results = saved(*(point for axis in axes for point in points(axis)))
        path = draw_scaling(results, tmp_path / "figure.png")
        header = path.read_bytes()[:24]
        assert header[:8] == b"\x89PNG\r\n\x1a\n"
        widths.append(struct.unpack(">I", header[16:20])[0])
    assert widths[1] == 2 * widths[0]


def test_without_growth_there_is_no_figure(saved, tmp_path):
    assert draw_scaling(saved(), tmp_path / "figure.png") is None
    assert not (tmp_path / "figure.png").exists()
