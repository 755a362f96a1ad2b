"""Results of boards, made by the board's own program on a bundle of a tiny network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from edgesr_jetson.bundle import make_bundle

from edgesr.errors import DataError
from edgesr.report.board_results import BoardResult, is_absent, read_board, read_boards

sys.path.insert(0, str(Path(__file__).parents[1] / "jetson"))

from jetson_fakes import expected, onnx_file, tiles


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result.json as ``run.py`` wrote it, on this machine."""
    folder = tmp_path_factory.mktemp("board")
    inputs = tiles((6, 5))
    files = {"fp32": onnx_file(folder / "fp32.onnx")}
    make_bundle(files, inputs, [expected(tile) for tile in inputs], {}, folder / "bundle")
    subprocess.run(
        [sys.executable, "run.py", "--repeats", "3", "--warmup", "1", "--duration", "0",
         "--idle", "0", "--runtime", "onnxruntime", "--threads", "1"],
        cwd=folder / "bundle", check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return folder / "bundle" / "result.json"


@pytest.fixture
def changed(result: Path, tmp_path: Path):
    """Write the result with some keys replaced."""

    def write(**keys: Any) -> Path:
        path = tmp_path / "changed.json"
        path.write_text(json.dumps(json.loads(result.read_text()) | keys))
        return path

    return write


def test_what_a_board_wrote_is_read(result):
    read = read_board(result)
    assert isinstance(read, BoardResult)
    assert read.name == "result.json"
    assert read.content == json.loads(result.read_text())
    assert read.content["models"][0]["latency_ms"]["with_transfers"]["median"] > 0


def test_several_keep_their_order(result, changed):
    other = changed(mode="live")
    assert [r.content["mode"] for r in read_boards([other, result])] == ["live", "bench"]


def test_a_run_that_failed_on_the_board_is_a_result(changed):
    read = read_board(changed(ok=False, error="no model was verified", models=[]))
    assert read.content["error"] == "no model was verified"


def test_absent_is_what_the_schema_calls_absent():
    assert is_absent({"absent": "no sensor"})
    assert not is_absent({"absent": "no sensor", "more": 1})
    assert not is_absent("absent")


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_board(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 600
    return message


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "none.json")
    assert "it is a folder" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not valid JSON"),
        ("\x00\xff", "not valid JSON"),
        ("[" * 100_000, "nested more than"),
        ("[]", "schema_version"),
        ('{"schema_version": NaN}', "nan"),
        ('{"schema_version": 1e999}', "inf"),
        ('{"schema_version": 2}', "2, this edgesr reads 1"),
        ('{"schema_version": 1}', "required property"),
    ],
)
def test_what_is_no_result_is_refused(tmp_path, text, why):
    path = tmp_path / "result.json"
    path.write_bytes(text.encode("latin-1"))
    assert why in refusal(path)


def test_the_place_of_what_does_not_fit_is_named(changed, result):
    models = json.loads(result.read_text())["models"]
    models[0]["precision"] = "fp64"
    message = refusal(changed(models=models))
    assert "models[0].precision" in message
    assert "fp64" in message


def test_a_report_of_a_run_is_no_board_result(report_of_a_run):
    assert "required property" in refusal(report_of_a_run)


@pytest.fixture
def report_of_a_run(tmp_path: Path) -> Path:
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"schema_version": 1, "created": "now", "data": {}}))
    return path


def test_too_large_a_file_is_not_even_read(tmp_path, monkeypatch):
    monkeypatch.setattr("edgesr.stored.LARGEST", 10)
    path = tmp_path / "large.json"
    path.write_text(" " * 11)
    assert "more than" in refusal(path)
