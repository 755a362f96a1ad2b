"""``edgesr archive``, as typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgesr.cli.main import main


@pytest.fixture
def place(scenes, tmp_path, monkeypatch):
    """The current folder, with a list of three scenes and a model; the function is a fake."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edgesr.commands.archive.UPSCALE", "scene_fakes:upscale")
    monkeypatch.setattr("edgesr.cli.scenes.scene_options", lambda _: {"log": str(scenes.log)})
    scenes.add(a="good 1", b="good 2", c="good 3")
    (tmp_path / "list.txt").write_text("in/a.txt\nin/b.txt\nin/c.txt\n")
    (tmp_path / "model.onnx").write_bytes(b"model")
    return tmp_path


HERE = str(Path(__file__).parent)
WORDS = ("archive", "list.txt", "out", "--model", "model.onnx")


def test_an_archive_is_made_and_goes_on(place, scenes, capsys):
    assert main([*WORDS]) == 0
    scenes.assert_whole()
    written = capsys.readouterr()
    assert written.out.startswith("out: 3 scenes, 3 of them now, 48 pixels; edgesr report out")
    assert "3 of 3 scenes, " in written.err
    assert main([*WORDS, "--resume", "--quiet"]) == 0
    written = capsys.readouterr()
    assert written.out.startswith("out: 3 scenes, 0 of them now")
    assert written.err == ""
    content = json.loads((place / "out" / "archive.json").read_text())
    assert content["model"].endswith("model.onnx")


def test_scenes_that_fail_give_3_and_a_line_each(place, scenes, capsys):
    scenes.add(a="corrupt", b="broken")
    assert main([*WORDS, "--retries", "0"]) == 3
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("warning: a failed: ") for line in lines)
    assert any(line == "warning: b failed: RuntimeError: the weather" for line in lines)
    assert lines[-1].startswith("edgesr: error: 2 of 3 scenes failed, such as a (")
    assert lines[-1].endswith("out/archive.json lists them, and the same command tries again")
    scenes.assert_whole("a", "b")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--workers", "-1"), "--workers must be an integer from 0"),
        (("--threads", "0"), "--threads must be an integer from 1"),
        (("--timeout", "nan", "--workers", "1"), "--timeout must be"),
        (("--timeout", "5"), "--workers 1 or more"),
        (("--workers", "2", "--scheduler", "tcp://h:1"), "contradict each other"),
        (("--resume",), "there is no archive in out"),
        (("--model", "none.onnx"), "none.onnx does not exist"),
        (("--format", "png"), "invalid choice"),
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_written(place, capsys, words, said):
    before = sorted(place.rglob("*"))
    try:
        code = main([*WORDS, *words])
    except SystemExit as stop:
        code = stop.code
    written = capsys.readouterr()
    assert code == 2
    assert said in written.err
    assert len(written.err.splitlines()) == 1
    assert written.out == ""
    assert sorted(place.rglob("*")) == before


def test_without_workers_nothing_of_dask_is_imported(place, scenes):
    code = (
        "import sys\n"
        "sys.modules['dask'] = sys.modules['distributed'] = None\n"
        "import edgesr.commands.archive as command, edgesr.cli.scenes as cli\n"
        "from edgesr.cli.main import main\n"
        "command.UPSCALE = 'scene_fakes:upscale'\n"
        "cli.scene_options = lambda _: {'log': sys.argv[1]}\n"
        "code = main(sys.argv[2:])\n"
        "assert 'torch' not in sys.modules\n"
        "sys.exit(code)"
    )
    path = "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
    words = [sys.executable, "-c", path + code, HERE, str(scenes.log), *WORDS]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    scenes.assert_whole()
    done = subprocess.run([*words, "--workers", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, "there is nothing left to do"
    (scenes.out / "a.tif").unlink()
    done = subprocess.run([*words, "--workers", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'edgesr[cluster]'" in done.stderr
