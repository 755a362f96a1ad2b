"""``python3 run.py`` as a field engineer types it: unpacked elsewhere, nothing else importable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from edgesr_jetson.bundle import make_bundle
from jetson_fakes import expected, onnx_file, tiles

QUICK = ("--repeats", "3", "--warmup", "1", "--duration", "0.1", "--idle", "0.05",
         "--runtime", "onnxruntime", "--threads", "1")  # fmt: skip
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}


def run(folder: Path, *arguments: str, stdin: bytes | None = None):
    return subprocess.run(
        [sys.executable, "run.py", *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        input=stdin,
        capture_output=True,
        timeout=120,
    )


def unpack(bundle: Path, tmp_path: Path) -> Path:
    with tarfile.open(bundle.with_name(bundle.name + ".tar.gz")) as archive:
        archive.extractall(tmp_path / "board", filter="data")
    return tmp_path / "board" / "bundle"


def write_sensors(root: Path) -> None:
    device = root / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
    device.mkdir(parents=True)
    (device / "in1_label").write_text("VDD_IN\n")
    (device / "in1_input").write_text("5000\n")
    (device / "curr1_input").write_text("1200\n")
    zone = root / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text("41500\n")


def test_from_archive_to_verified_result(bundle, tmp_path, validated):
    folder = unpack(bundle, tmp_path)
    write_sensors(tmp_path / "root")
    done = run(folder, *QUICK, "--root", str(tmp_path / "root"), "--power-interval", "0.01")
    assert done.returncode == 0, done.stderr.decode()
    result = validated(folder / "result.json")
    assert result["ok"] is True
    assert result["error"] is None
    assert result["runtime"]["name"] == "onnxruntime"
    assert result["bundle"]["facts"] == {"name": "tiny"}
    fp32, fp16 = result["models"]
    assert fp32["verification"]["tiles"] == 2
    assert fp32["verification"]["max_abs_difference"] < 1e-6
    assert 1e-6 < fp16["verification"]["max_abs_difference"] < 2e-2
    for entry in (fp32, fp16):
        times = entry["latency_ms"]["with_transfers"]
        assert 0 < times["min"] <= times["median"] <= times["p95"] <= times["p99"] <= times["max"]
        assert entry["latency_ms"]["input_shape"] == [1, 3, 6, 5]
        frames = entry["throughput"]["frames_per_s"]
        assert frames == pytest.approx(1e3 / times["median"])
        assert entry["throughput"]["input_lines_per_s"] == pytest.approx(6 * frames)
        assert entry["throughput"]["output_megapixels_per_s"] == pytest.approx(frames * 120e-6)
        assert entry["sustained"]["frames"] >= 1
        power = entry["power"]
        assert power["running"]["total_mw"] == power["idle"]["total_mw"] == 6000
        assert power["energy_per_frame_mj"] == 0
        per_frame = entry["sustained"]["seconds"] / entry["sustained"]["frames"]
        assert power["energy_per_frame_with_idle_mj"] == pytest.approx(6000 * per_frame)
        assert entry["temperatures_c"]["start"] == {"cpu-thermal": 41.5}
    assert b"fp16" in done.stdout
    assert b"written to result.json" in done.stdout


def test_it_imports_python_numpy_and_onnxruntime_alone(bundle, tmp_path):
    folder = unpack(bundle, tmp_path)
    report = tmp_path / "modules.txt"
    code = (
        "import runpy, sys\n"
        f"sys.argv[1:] = {list(QUICK)!r}\n"
        "try:\n    runpy.run_path('run.py', run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "files = {m: getattr(v, '__file__', None) or '' for m, v in sys.modules.items()}\n"
        f"open({str(report)!r}, 'w').write('\\n'.join(f'{{m}} {{f}}' for m, f in files.items()))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=ENVIRONMENT, check=True,
                   capture_output=True, timeout=120)  # fmt: skip
    modules = [line.partition(" ")[::2] for line in report.read_text().splitlines()]
    tops = {name.split(".")[0] for name, _ in modules}
    assert not tops & {"edgesr", "edgesr_export", "edgesr_jetson", "torch", "onnx", "scipy"}
    assert {"board", "numpy", "onnxruntime"} <= tops
    board = [file for name, file in modules if name.startswith("board.")]
    assert all(file.startswith(str(folder)) for file in board)


def test_it_tells_nobody_and_leaves_the_result_alone(bundle, tmp_path, watched):
    folder = unpack(bundle, tmp_path)
    before = sorted(folder.rglob("*"))
    traces = watched(folder / "run.py", *QUICK)
    assert traces.code == 0, traces.errors
    assert traces.sockets == []
    assert traces.files == {"work/result.json"}
    assert sorted(folder.rglob("*")) == before


def test_run_from_within_board_and_from_elsewhere(bundle, tmp_path, validated):
    folder = unpack(bundle, tmp_path)
    done = subprocess.run(
        [sys.executable, str(folder / "board/run.py"), *QUICK, "--models", "fp32"],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert [m["name"] for m in validated(tmp_path / "result.json")["models"]] == ["fp32"]
    assert not (folder / "result.json").exists()


def refuse(folder: Path, validated, message: str, *arguments: str, stdin: bytes | None = None):
    """Run, and make sure that it ends in one line, exit code 2, and a result that says so."""
    done = run(folder, *QUICK, *arguments, stdin=stdin)
    error = [
        line for line in done.stderr.decode().splitlines() if line.startswith("run.py: error:")
    ]
    assert done.returncode == 2
    assert len(error) == 1
    assert "Traceback" not in done.stderr.decode()
    assert message in error[0]
    result = validated(folder / "result.json")
    assert result["ok"] is False
    assert message in result["error"]
    assert not list(folder.rglob("*.part"))
    return result


def test_a_tampered_bundle(bundle, validated):
    path = bundle / "models/fp32/model.onnx"
    content = bytearray(path.read_bytes())
    content[-20] ^= 4
    path.write_bytes(content)
    result = refuse(bundle, validated, "models/fp32/model.onnx has SHA-256")
    assert result["models"] == []
    assert result["board"] is not None


def test_a_bundle_with_another_identity(bundle, validated):
    refuse(bundle, validated, "this is bundle ", "--bundle-id", "0123abcd")


def test_a_tile_outside_the_range(bundle, validated):
    refuse(bundle, validated, "a tile of 1x3x64x64 is outside", "--tile", "64x64")


def test_an_unknown_model(bundle, validated):
    refuse(bundle, validated, "the bundle has no model int8; it has fp32, fp16", "--models", "int8")


def test_an_unknown_option(bundle):
    done = run(bundle, "--repeats", "none")
    assert done.returncode == 2
    assert b"a whole number of at least 1 is needed, got 'none'" in done.stderr


def test_a_wrong_answer_is_not_measured(tmp_path, onnx_files, validated):
    inputs = tiles((6, 5))
    wrong = expected(inputs[0]).copy()
    wrong[0, 1, 3, 4] += 0.01
    make_bundle(
        onnx_files, inputs, {"fp32": [wrong], "fp16": [expected(inputs[0])]}, {}, tmp_path / "b"
    )
    result = refuse(tmp_path / "b", validated, "1 of 2 models failed: fp32")
    fp32, fp16 = result["models"]
    assert fp32["status"] == "failed"
    assert "largest difference 1.00e-02, at most 1e-03" in fp32["reason"]
    assert "latency_ms" not in fp32
    assert fp16["status"] == "verified"
    assert "latency_ms" in fp16


def test_an_unsupported_operator_names_it(tmp_path, validated):
    files = {"fp32": onnx_file(tmp_path / "a.onnx", operator="Frobnicate")}
    inputs = tiles((6, 5))
    make_bundle(files, inputs, [expected(inputs[0])], {}, tmp_path / "b")
    result = refuse(tmp_path / "b", validated, "1 of 1 models failed")
    assert "Frobnicate" in result["models"][0]["reason"]


def test_a_result_that_cannot_be_written(bundle, tmp_path):
    done = run(bundle, *QUICK, "--models", "fp32", "--output", str(tmp_path / "none/result.json"))
    assert done.returncode == 2
    assert b"result.json cannot be written (No such file or directory)" in done.stderr
    assert b"Traceback" not in done.stderr


def test_live_from_a_pipe(bundle, tmp_path, validated):
    cube = np.random.default_rng(3).uniform(size=(21, 3, 5)).astype(">f4")
    done = run(bundle, *QUICK, "--live", "-", "--width", "5", "--dtype", ">f4", "--layout", "bil",
               "--models", "fp32", "--write", "results/out.img", stdin=cube.tobytes())  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    report = validated(bundle / "result.json")["live"]
    assert report["lines"] == {"received": 21, "processed": 21, "dropped": 0, "with_nodata": 0}
    assert report["published_mark"]["prisma_line_ms"] == 4.34
    written = np.fromfile(bundle / "results/out.img", "<f4").reshape(42, 3, 10)
    image = cube.transpose(1, 0, 2)[None].astype("float64")
    assert np.allclose(written.transpose(1, 0, 2), expected(image)[0], atol=1e-5)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((9, 3, 5), 2000.0), "values from 2000 to 2000, the network expects 0 to 1"),
        (np.zeros((9, 3, 40, 40)), "a block of 40 lines is outside the bundle's range 6 to 8"),
    ],
    ids=["digital numbers", "high tiles"],
)
def test_live_sources_that_cannot_be_used(bundle, validated, array, message):
    np.save(bundle.parent / "lines.npy", array)
    result = refuse(bundle, validated, message, "--live", "../lines.npy", "--models", "fp32",
                    "--write", "../out.img")  # fmt: skip
    assert result["live"] is None
    assert not (bundle.parent / "out.img").exists()


def test_live_needs_to_know_a_raw_line(bundle, validated):
    (bundle.parent / "raw").write_bytes(b"12345")
    refuse(bundle, validated, "say --width, --dtype and --layout", "--live", "../raw")


def test_settings_are_in_the_result(bundle, validated):
    run(bundle, *QUICK, "--models", "fp16", "--tile", "7x9")
    result = validated(bundle / "result.json")
    assert result["settings"]["tile"] == [7, 9]
    assert result["models"][0]["latency_ms"]["input_shape"] == [1, 3, 7, 9]
    assert json.loads((bundle / "result.json").read_text())["mode"] == "bench"
