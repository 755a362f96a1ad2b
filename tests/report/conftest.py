from __future__ import annotations

from typing import Any

import pytest


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
        "timing_s": {"teacher": 4.2, "candidates": 61.0, "distillation": 130.4},
        "recipe": {"rank_target": 0.9},
        "files": [
            {"path": name, "bytes": 1, "sha256": "0" * 64}
            for name in ("student.safetensors", "model.onnx", "recipe.toml")
        ],
    }  # fmt: skip
