"""Tables of invented records, against figures worked out by hand."""

from __future__ import annotations

import pytest
from benchmark_fakes import record

from benchmarks import sections
from benchmarks.roofline import distances, peaks


def timed(network: str, form: str, milliseconds: float, side: int = 64) -> dict:
    return record(
        f"latency, LR {side}", milliseconds, network=network, form=form,
        input_shape=[1, 128, side, side], params=4_000_000, upsampler_params=30_000,
        macs_at_16=990_000_000,
    )  # fmt: skip


def row(table: str, start: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_latency_holds_cost_every_form_and_the_gain(saved):
    results = saved(
        timed("dense", "plain", 400), timed("dense", "slabs", 100), timed("R=32", "plain", 320),
        timed("R=32", "slabs", 40), timed("R=32", "int8", 20), timed("R=32", "eager", 5),
        absent={"latency, LR 64": {"dense | int8": "no nncf"}},
    )  # fmt: skip
    table = sections.latency(results)
    assert row(table, "LKCA-Net") == [
        "LKCA-Net", "4.000 M", "30.00 k", "0.9900 G", "400 (40.0)", "–", "100 (10.0)", "–", "–",
        "4.0x",
    ]  # fmt: skip
    assert row(table, "LKCA-Net, rank 32")[-2:] == ["20.0 (2.00)", "20.0x"]
    assert "Not measured: dense | int8: no nncf." in table
    for fact in ("2031-02-03", "Abacus 9", "2 threads", "7 rounds", "1 x 128 x 64 x 64", "1.30"):
        assert fact in table


def test_runtimes_have_a_row_for_each(saved):
    table = sections.runtimes(saved(timed("dense", "plain", 400), timed("R=32", "eager", 5)))
    assert row(table, "plain")[1:] == ["400 (40.0)", "–", "–"]
    assert row(table, "torch")[1:] == ["–", "–", "5.00 (0.50)"]


def test_sizes_compare_within_a_size(saved):
    results = saved(
        timed("dense", "plain", 30, 16), timed("dense", "slabs", 10, 16),
        timed("dense", "plain", 500), timed("dense", "slabs", 100), timed("dacn", "plain", 9, 16),
    )  # fmt: skip
    table = sections.sizes(results)
    assert row(table, "LKCA-Net")[1:] == ["30.0 → 10.0 (3.0x)", "500 → 100 (5.0x)"]
    assert row(table, "DACN")[1:] == ["9.00", "–"]


def test_steps(saved):
    results = saved(
        record("surgery", 1500, step="whitened SVD"),
        record("making a file", 9000, step="export by torch", rounds=1),
        record("an image in tiles", 2000, tile=64, output_pixels=4_000_000, input_lines=500),
        record("an image in tiles", 4000, tile=None, output_pixels=4_000_000, input_lines=500),
    )  # fmt: skip
    table = sections.steps(results)
    assert "took 10 minutes" in table
    assert "| surgery | whitened SVD | 1500 (150) | 7 |" in table
    assert "| making a file | export by torch | 9000 | 1 |" in table
    assert "tiles of LR 64: 2.00 MP/s out, 250.0 lines/s in" in table
    assert "tile chosen by memory: 1.00 MP/s out, 125.0 lines/s in" in table


def grown(axis: str, exponent: float) -> list[dict]:
    return [
        record(
            f"growth with {axis}", 2 * x**exponent, axis=axis, x=x, unit="pixels",
            peak_bytes=x * 2**20,
        )
        for x in (1, 4, 16)
    ]  # fmt: skip


def test_scaling_explains_or_admits_what_is_superlinear(saved):
    results = saved(*grown("pixels", 1), *grown("pixels, DACN", 2), *grown("bands", 1.5))
    table = sections.scaling(results)
    assert row(table, "pixels")[1:] == [
        "1 to 16 pixels", "2.00 to 32.0", "1.00 (1.00)", "1 to 16", "1.00 (1.00)",
    ]  # fmt: skip
    assert row(table, "pixels, DACN")[3] == "2.00 (2.00)"
    assert "**pixels, DACN**: attention" in table
    assert "**bands**: unexplained" in table
    assert "**pixels**" not in table
    assert "results/abacus-scaling.png" in table


@pytest.fixture
def roof(saved):
    def ran(
        network: str, ms: float, macs: float, size: float, precision: str, form: str = "slabs"
    ) -> dict:
        return record(
            "roofline", ms, network=network, form=form, precision=precision, macs=macs,
            least_bytes=size, input_shape=[1, 128, 64, 64], slowest_operators={"Conv": 7.0},
        )  # fmt: skip

    return saved(
        record("roofline", 15, least=10, peak="fp32", work=1e9),  # 200 GFLOP/s in the best round
        record("roofline", 20, peak="fp32", work=1e9),  # the slower of two does not count
        record("roofline", 10, peak="int8", work=4e9),  # 800
        record("roofline", 100, peak="copy", work=1e9),  # 10 GB/s
        ran("dense", 60, 2e9, 1e8, "fp32"),  # 20 ms of arithmetic, 10 of traffic
        ran("R=32", 60, 2e9, 1e8, "int8"),  # 5 ms, 10 of traffic
        ran("dense", 400, 2e9, 1e8, "fp32", "plain"),  # not what is deployed
    )


def test_the_best_of_each_kind_is_the_peak(roof):
    assert peaks(roof) == {
        "fp32": (pytest.approx(2e11), "FLOP/s"),
        "int8": (pytest.approx(8e11), "FLOP/s"),
        "copy": (pytest.approx(1e10), "byte/s"),
    }


def test_the_floor_is_the_longer_of_arithmetic_and_traffic(roof):
    dense, student, _ = distances(roof)
    assert (dense.floor_ms, dense.bound) == (pytest.approx(20), "arithmetic")
    assert (student.floor_ms, student.bound) == (pytest.approx(10), "traffic")
    assert (dense.gap, student.gap) == (pytest.approx(3), pytest.approx(6))
    assert dense.gflops == pytest.approx(4e9 / 0.06 / 1e9)


def test_the_largest_gap_is_named(roof):
    table = sections.roofline(roof)
    assert (
        "**Largest gap of what is deployed:** LKCA-Net, rank 32, slabs: 6.0 times its floor"
        in table
    )
    assert "Conv 7.00 ms" in table
    assert row(table, "LKCA-Net, slabs")[1:] == ["64", "60.0", "20.0", "arithmetic", "67", "3.0x"]


def test_gpu_has_a_column_for_each_network_and_size(saved):
    def ran(group: str, network: str, form: str, side: int, ms: float) -> dict:
        return record(group, ms, network=network, form=form, input_shape=[1, 128, side, side])

    results = saved(
        ran("GPU, R=32, LR 64", "R=32", "eager fp32", 64, 2),
        ran("GPU, R=32, LR 64", "R=32", "graph fp16", 64, 1),
        ran("GPU, R=32, LR 128", "R=32", "eager fp32", 128, 8),
        absent={
            "GPU, R=32, LR 64": {"tensorrt": "none here"},
            "GPU, R=32, LR 128": {"tensorrt": "none here"},
        },
        machine_info={
            "cpu": "Abacus 9", "device": "cuda (Abacus X)", "threads": 2, "torch": "2.9",
            "onnxruntime": "1.30",
        },
    )  # fmt: skip
    table = sections.gpu(results)
    assert "| Form | LKCA-Net, rank 32, LR 64 | LKCA-Net, rank 32, LR 128 |" in table
    assert row(table, "eager fp32")[1:] == ["2.00 (0.20)", "8.00 (0.80)"]
    assert row(table, "graph fp16")[1:] == ["1.00 (0.10)", "–"]
    assert "Abacus X" in table
    assert table.count("none here") == 1
