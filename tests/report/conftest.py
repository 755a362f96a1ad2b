from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from edgesr.report import parse
from edgesr.report.board_results import BoardResult, read_board
from edgesr.report.charts import Shown, draw_charts
from edgesr.report.profiles import shown_profiles

OLD_REPORT = Path(__file__).with_name("report_v1.json")


def network(**changes: Any) -> dict[str, Any]:
    metrics = {
        "mpsnr": 31.412, "mssim": 0.9012, "sam": 4.512, "cc": 0.9431, "rmse": 0.0281, "ergas": 4.2,
    }  # fmt: skip
    latency = {
        "runtime": "onnxruntime CPU float32",
        "input_shape": [1, 36, 32, 32],
        "threads": 2,
        "repeats": 20,
        "median": 41.3,
        "p95": 44.0,
    }
    return {
        "params": 1_902_848,
        "macs": 405_000_000,
        "macs_input_shape": [1, 36, 16, 16],
        "upsampler_params": 664_128,
        "metrics": metrics,
        "latency_ms": latency,
    } | changes


def surgery(kind: str, setting: int, **changes: Any) -> dict[str, Any]:
    return {
        "pass": kind,
        "rank" if kind == "lowrank" else "groups": setting,
        "params": 1_300_000 + setting,
        "upsampler_params": 56_448,
        "macs": 250_000_000,
        "latency_ms": 30.25,
        "validation": {"mpsnr_drop": 0.012, "sam_drop": 0.003},
        "chosen": False,
        "reason": "slower than the chosen one",
    } | changes


def deployed(target: str, precision: str, median: float | None, **changes: Any) -> dict[str, Any]:
    return {
        "target": target,
        "precision": precision,
        "runtime": "ONNX Runtime CPU",
        "path": f"{target}-{precision}.onnx",
        "bytes": 1_400_000,
        "metrics": network()["metrics"],
        "max_abs_difference": 4.8e-7,
        "latency_ms": None if median is None else {"median": median, "p95": 1.1 * median},
        "layers": [],
    } | changes


@pytest.fixture
def report() -> dict[str, Any]:
    """A complete report with invented figures, as a run writes it."""
    teacher = network(model="lkca_net", weights="lkca_net_x4_indian_pines.safetensors")
    student = network(params=1_289_000, upsampler_params=50_280, macs=249_000_000)
    student["latency_ms"] = student["latency_ms"] | {"median": 29.9}
    student["metrics"] = student["metrics"] | {"mpsnr": 31.401}
    history = [{"epoch": 1, "loss": 0.03, "mpsnr": 31.2}]
    return {
        "schema_version": 1,
        "created": "2031-02-03T04:05:06+00:00",
        "folder": "runs/20310203-040506",
        "data": {
            "name": "indian_pines",
            "source": "tensorly",
            "shape": [145, 145, 200],
            "bands": "4-32,36-42",
            "scale": 4,
            "degradation": "bicubic",
            "normalisation": {"mode": "band", "lower": [0.0], "upper": [1.0]},
            "split": {"test": {"windows": 1, "sizes": ["48 x 144"]}},
        },
        "environment": {
            "python": "3.11.7",
            "edgesr": "0.1.0",
            "torch": "2.13.0",
            "numpy": "2.3.0",
            "onnx": "1.20.0",
            "onnxruntime": "1.24.0",
            "platform": "Linux 6.1 x86_64",
            "cpu": "AMD EPYC",
            "cores": 2,
            "device": "cpu",
            "threads": 2,
        },
        "bicubic": {"metrics": network()["metrics"] | {"mpsnr": 30.105, "sam": 5.02}},
        "teacher": teacher,
        "student": student,
        "sites": [
            {
                "name": "upsampler",
                "layers": ["upsampler"],
                "kind": "subpixel",
                "scale": 4,
                "kernel": [3, 3],
                "stride": [1, 1],
                "in_channels": 128,
                "out_channels": 576,
                "groups": 1,
                "params": 664_128,
                "macs": 169_869_312,
                "param_share": 0.349,
                "mac_share": 0.419,
                "bias": True,
                "positions": 256,
            }
        ],
        "spectrum": [
            {
                "site": "upsampler",
                "rows": 576,
                "cols": 1152,
                "target": 0.9,
                "rank": {"sum": 301, "energy": 24},
                "effective_rank": 88.2,
                "singular_values": [3.0, 1.0, 0.5],
            }
        ],
        "candidates": [
            surgery("lowrank", 64),
            surgery("lowrank", 24, chosen=True, reason="fastest within 0.05 dB"),
            surgery("lowrank", 8, validation={"mpsnr_drop": 0.31, "sam_drop": 0.102}),
            surgery("grouped", 2, latency_ms=None, reason="loses more than 0.05 dB"),
            surgery("grouped", 8, validation={"mpsnr_drop": 1.31, "sam_drop": 0.902}),
        ],
        "chosen": {"pass": "lowrank", "rank": 24, "why": "fastest within 0.05 dB on validation"},
        "distillation": {
            "epochs": 12, "best_epoch": 9, "kept": "distilled", "history": history,
        },
        "paper_baseline": network(groups=8, upsampler_params=83_520),
        "onnx": {
            "path": "model.onnx",
            "opset": 20,
            "max_abs_difference": 4.8e-7,
            "inputs": [[1, 36, 16, 16], [3, 36, 9, 14]],
            "rewrites": ["bicubic Resize -> edge Pad, depthwise 5 x 5 Conv, pixel shuffle"],
        },
        "deployment": {
            "input_shape": [1, 36, 32, 32],
            "threads": 2,
            "repeats": 15,
            "models": [
                deployed("cpu", "fp32", 29.9),
                deployed("openvino", "int8, bf16", 9.5, runtime="OpenVINO CPU", layers=[
                    {"name": "head", "kind": "dense 3x3 conv", "precision": "int8",
                     "reason": "quantised"},
                    {"name": "tail", "kind": "", "precision": "fp32", "reason": "left out: costly"},
                ]),
                deployed("tensorrt", "fp16", None, why_not_timed="it needs a GPU"),
            ],
            "engines": [
                {"path": "net.engine", "model": "tensorrt-fp16.onnx", "precision": "fp16",
                 "library": "TensorRT 10.3", "compute_capability": "8.7", "bytes": 3_000_000,
                 "build_s": 12.0, "layers": {"fp16": 7, "fp32": 1}},
            ],
            "ratios": [
                {"name": "exact rewrites", "from": "teacher plain", "from_ms": 90.0,
                 "to": "teacher rewritten", "to_ms": 45.0, "ratio": 2.0},
            ],
            "absent": [{"what": "fp8", "why": "no GPU here"}],
        },
        "timing_s": {"teacher": 4.2, "candidates": 61.0, "distillation": 130.4},
        "recipe": {"rank_target": 0.9},
        "files": [
            {"path": name, "bytes": 1, "sha256": "0" * 64}
            for name in ("student.safetensors", "model.onnx", "recipe.toml")
        ],
    }  # fmt: skip


def board_result(**changes: Any) -> dict[str, Any]:
    """What a board with sensors brings home, with invented figures; valid by its schema."""
    times = {"median": 12.0, "p95": 13.0, "p99": 14.5, "min": 11.0, "max": 15.0, "repeats": 100}
    power = {
        "source": "ina3221", "samples": 20, "total_mw": 9000, "total_rails": ["VDD_IN"],
        "rails_mw": {"VDD_IN": 9000},
    }  # fmt: skip
    heat = {"cpu": 50.0, "gpu": 61.4}
    return {
        "schema_version": 1,
        "created": "2031-02-04T10:00:00+0100",
        "ok": True,
        "mode": "bench",
        "error": None,
        "settings": {},
        "bundle": {
            "id": "0" * 64, "files": 3, "facts": {"created": "2031-02-03T04:05:06+00:00"},
        },
        "board": {
            "model": "Orin Nano", "l4t": "36.4.3", "jetpack": {"absent": "no package"},
            "machine": "aarch64", "kernel": "5.15", "system": "Linux", "python": "3.10", "cpus": 6,
            "memory_mb": 7620, "power_mode": {"name": "15W", "id": 0},
            "clocks": {"locked": True, "cpu": {"absent": "x"}, "gpu": {"absent": "x"}},
        },
        "runtime": {"name": "tensorrt", "version": "10.3", "tensorrt_not_used_because": None},
        "models": [
            {
                "name": "fp16", "precision": "fp16", "onnx_sha256": "0" * 64, "status": "verified",
                "engine": {
                    "kind": "tensorrt", "built": True, "precision": {"fp16": 9}, "dla": {},
                    "device": "Orin", "input_type": "float32", "output_type": "float32",
                },
                "verification": {
                    "tiles": 3, "max_abs_difference": 4.8e-4, "psnr_db": 80.0, "tolerance": {},
                },
                "latency_ms": {
                    "input_shape": [1, 36, 32, 32], "warmup": 5, "without_transfers": times,
                    "with_transfers": times | {"median": 12.5},
                },
                "throughput": {
                    "frames_per_s": 80.0, "input_lines_per_s": 2560.0,
                    "output_megapixels_per_s": 47.2,
                },
                "sustained": {
                    "seconds": 60.0, "frames": 4800, "latency_ms": times,
                    "first_tenth_median_ms": 12.5, "last_tenth_median_ms": 13.0, "slowdown": 1.04,
                    "frames_per_s": 80.0,
                },
                "power": {
                    "running": power, "idle": power | {"total_mw": 5000},
                    "energy_per_frame_mj": 50.0, "energy_per_frame_with_idle_mj": 112.5,
                },
                "temperatures_c": {"start": heat, "end": heat},
                "memory": {"host_peak_mb": 300, "device": {"absent": "no"}},
            },
            {
                "name": "int8", "precision": "int8", "onnx_sha256": "1" * 64, "status": "failed",
                "reason": "no layer of the engine has it",
            },
        ],
        "live": None,
    } | changes  # fmt: skip


@pytest.fixture
def read_result(tmp_path):
    """Write an invented result of a board with some keys changed, and read it as edgesr does."""

    def read(name: str = "orin.json", **changes: Any) -> BoardResult:
        path = tmp_path / name
        path.write_text(json.dumps(board_result(**changes)))
        return read_board(path)

    return read


@pytest.fixture
def old_report() -> dict[str, Any]:
    """What a run with a search wrote when reports were no types yet, with shorter lists."""
    return json.loads(OLD_REPORT.read_text())


@pytest.fixture
def chart_of() -> Callable[..., dict[str, Any]]:
    """The figures of one chart of the page by theme; empty where it does not apply."""

    def drawn(
        name: str, report: dict[str, Any], index: int = 0, boards: Sequence[BoardResult] = ()
    ) -> dict[str, Any]:
        parsed = parse(report)
        charts = draw_charts(Shown(parsed, boards, shown_profiles(parsed, boards, ())))
        return {(one.chart.name, one.index): one.themes for one in charts}.get((name, index), {})

    return drawn
