"""The proof that is run on arm64 holds for a good bundle, and can fail."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from edgesr_jetson.bundle import make_bundle
from jetson_fakes import expected, tiles

PROVE = runpy.run_path(str(Path(__file__).parents[2] / "tests" / "jetson" / "arm64" / "prove.py"))
QUICK = ["--repeats", "2", "--warmup", "0", "--duration", "0", "--idle", "0",
         "--runtime", "onnxruntime", "--threads", "1"]  # fmt: skip


def test_a_good_bundle_is_proved(bundle, tmp_path, validated, capfd):
    subject = PROVE["Bundle"](bundle, QUICK)
    assert PROVE["prove_verified"](subject, tmp_path / "result.json") == "fp32"
    assert validated(tmp_path / "result.json")["ok"] is True
    PROVE["prove_live"](subject, "fp32", tmp_path)
    assert "live: 6 lines in, 12 out" in capfd.readouterr().out


def test_damage_is_proved_to_be_refused(bundle, tmp_path, capfd):
    PROVE["prove_refusals"](PROVE["Bundle"](bundle, QUICK), "fp32", tmp_path)
    assert capfd.readouterr().out.count("proved: refused with exit code 2") == 7


def test_a_network_that_answers_otherwise_is_not_proved(onnx_files, tmp_path, capfd):
    inputs = tiles((6, 5))
    make_bundle(onnx_files, inputs, [expected(inputs[0]) + 0.1], {}, tmp_path / "b")
    result = tmp_path / "result.json"
    assert PROVE["main"]([str(tmp_path / "b"), str(result), *QUICK]) == 2
    assert "not proved: exit code 0 and ok" in capfd.readouterr().err
    assert result.exists()


def test_a_program_that_ignores_damage_is_not_proved(bundle, tmp_path):
    PROVE["flip_bit"](bundle)
    (bundle / "run.py").write_text(
        "import json, sys\n"
        "json.dump({'ok': True, 'error': None, 'models': []}, open(sys.argv[-1], 'w'))\n"
    )
    with pytest.raises(PROVE["NotProvedError"], match="exit code 2; found: 0"):
        PROVE["Bundle"](bundle, []).refuses("has SHA-256")
