"""What surrounds a command: streams that are closed or full, ASCII, no folder, Ctrl-C anywhere."""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from edgesr_export.interrupts import held

from edgesr.cli import main as command_line
from edgesr.cli.main import main
from edgesr.distill import checkpoint
from edgesr.progress import LOGGER, log

full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def light(tmp_path, monkeypatch) -> Path:
    """A current folder with a cube, whose name is not ASCII."""
    np.save(tmp_path / "sçene.npy", np.arange(4 * 4 * 2, dtype=np.uint16).reshape(4, 4, 2))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(monkeypatch, tmp_path) -> Callable[[Callable[[], Any]], int]:
    """Run a function as ``edgesr info``, whose exit code is returned."""
    monkeypatch.chdir(tmp_path)

    def run(work: Callable[[], Any]) -> int:
        chosen = SimpleNamespace(
            run=lambda _: work(),
            quiet=False,
            verbose=False,
            log_json=None,
            after_interrupt="; go on",
        )
        monkeypatch.setattr(
            command_line,
            "build_parser",
            lambda: SimpleNamespace(prog="edgesr", parse_known_args=lambda _: (chosen, [])),
        )
        return main(["info"])

    return run


@pytest.fixture
def heeded() -> Iterator[None]:
    """A job in the background ignores Ctrl-C from its start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press() -> None:
    signal.raise_signal(signal.SIGINT)


class Unwritable(io.StringIO):
    """A stream that takes nothing, or nothing when it is flushed."""

    def __init__(self, number: int, late: bool) -> None:
        super().__init__()
        self.error, self.late = OSError(number, os.strerror(number)), late

    def write(self, text: str) -> int:
        if self.late:
            return len(text)
        raise self.error

    def flush(self) -> None:
        raise self.error


# --- in this process --------------------------------------------------------------------------


ARGUMENTS = {
    "info": ["info", "sçene.npy"],
    "json": ["info", "sçene.npy", "--json"],
    "boards": ["estimate", "--list"],  # by rich
    "tables": ["reproduce", "--list"],
    "help": ["--help"],
    "help of a command": ["upscale", "--help"],
}


def code_of(arguments: list[str]) -> int:
    try:
        return main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_results_that_cannot_be_printed(light, monkeypatch, capsys, name, late):
    monkeypatch.setattr(sys, "stdout", Unwritable(errno.ENOSPC, late))
    assert code_of(ARGUMENTS[name]) == 4
    told = capsys.readouterr().err
    assert told == (
        "edgesr: error: stdout cannot be written ([Errno 28] No space left on device); all else"
        " is done\n"
    )


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_reader_that_has_seen_enough(light, monkeypatch, capsys, name):
    monkeypatch.setattr(sys, "stdout", Unwritable(errno.EPIPE, False))
    assert code_of(ARGUMENTS[name]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE, errno.EIO])
@pytest.mark.parametrize("late", [False, True])
def test_messages_that_cannot_be_shown_cost_nothing_else(
    light, command, monkeypatch, capsys, number, late
):
    def work() -> None:
        log("a message")
        LOGGER.warning("another")
        (light / "made").write_text("whole")
        print("result")

    monkeypatch.setattr(sys, "stderr", Unwritable(number, late))
    assert command(work) == 0
    assert capsys.readouterr().out == "result\n"
    assert (light / "made").exists()


@pytest.mark.parametrize("stream", [None, Unwritable(errno.ENOSPC, False)])
def test_the_code_of_a_refusal_does_not_depend_on_stderr(light, monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    assert code_of(["info", "absent.npy"]) == 2
    assert code_of(["info", "--nonsense"]) == 2


def test_closed_streams_take_all(light, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert code_of(["info", "sçene.npy"]) == 0
    assert (sys.stdout, sys.stderr) == (None, None)


def test_ascii_alone(light, monkeypatch):
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding="ascii"))
    assert code_of(["info", "sçene.npy"]) == 0
    assert rb"s\xe7ene.npy" in content.getvalue()


def test_a_log_that_takes_no_more(light, monkeypatch, capsys):
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    def work(_: Any) -> None:
        log("one")
        log("two")

    monkeypatch.setattr(Path, "open", lambda *_, **__: Full())
    monkeypatch.setattr("edgesr.cli.networks.run_info", work)
    assert code_of(["info", "sçene.npy", "--log-json", "log.jsonl"]) == 0
    told = capsys.readouterr().err.splitlines()
    assert [line for line in told if line.startswith("warning: --log-json cannot be written")]
    assert len(told) == 3


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "a.tif"), "a.tif: Permission denied"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "not enough"),
        (ImportError("lib.so: failed to map: Cannot allocate memory"), "not enough memory"),
        (RuntimeError("can't start new thread"), "not enough memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory"),
    ],
)
def test_what_the_system_refuses_is_one_line(command, capsys, error, line):
    def work() -> None:
        raise error

    assert command(work) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"edgesr: error: {line}")


def test_a_current_folder_that_is_gone(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    for arguments in (["info", "a.npy"], ["train", "--data", "a.npy", "--output", "b.safetensors"]):
        assert main(arguments) == 2
        assert capsys.readouterr().err == (
            "edgesr: error: the current folder was removed; change to one that exists\n"
        )
    assert code_of(["--help"]) == 0


# --- Ctrl-C -----------------------------------------------------------------------------------


def swallowed() -> None:
    with suppress(BaseException):
        press()


def turned_into_another_error() -> None:
    try:
        press()
    except BaseException as error:
        raise RuntimeError("unexpected pos 64 vs 0") from error


def turned_into_a_refusal() -> None:
    try:
        press()
    except BaseException as error:
        raise OSError(errno.ENOSPC, "No space left on device") from error


def swallowed_before_a_message() -> None:
    swallowed()
    log("never reached")
    print("nor this")


def in_a_destructor() -> None:
    class Careless:
        def __del__(self) -> None:
            press()

    Careless()
    log("never reached")


def held_back() -> None:
    with held():
        turned_into_another_error()


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize(
    "work",
    [
        press,
        swallowed,
        turned_into_another_error,
        turned_into_a_refusal,
        swallowed_before_a_message,
        in_a_destructor,
        held_back,
    ],
)
def test_ctrl_c_always_ends_as_one(command, capsys, work):
    assert command(work) == 130
    captured = capsys.readouterr()
    assert captured.err == "edgesr: interrupted; go on\n"
    assert captured.out == ""


@pytest.mark.usefixtures("heeded")
def test_ctrl_c_while_a_checkpoint_is_written(tmp_path, monkeypatch):
    """It is whole, and the training resumes from it."""
    save = torch.save

    def pressed(content: Any, file: Any) -> None:
        turned = [press, lambda: save(content, file)]
        for step in turned:
            step()

    monkeypatch.setattr(torch, "save", pressed)
    path = tmp_path / "net.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, {"seed": 1}, {"epoch": 3})
    assert checkpoint.load(path, {"seed": 1}) == {"epoch": 3}
    assert list(tmp_path.iterdir()) == [path]


# --- in a shell -------------------------------------------------------------------------------


def shell(command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    edgesr = f"'{sys.executable}' -m edgesr"
    paths = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        ["/bin/sh", "-c", command.replace("edgesr", edgesr)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@full
@pytest.mark.parametrize(
    ("redirected", "code", "lines"),
    [
        (">/dev/full", 4, 1),
        pytest.param(">/dev/full 2>/dev/full", 4, 0, marks=pytest.mark.slow),
        (">&- 2>&-", 0, 0),
        pytest.param(">/dev/null 2>&- <&-", 0, 0, marks=pytest.mark.slow),
    ],
)
def test_streams_of_a_shell(light, redirected, code, lines):
    done = shell(f"edgesr info scene.npy {redirected}", renamed(light))
    assert done.returncode == code
    assert len(done.stderr.splitlines()) == lines


def renamed(folder: Path) -> Path:
    shutil.copy(folder / "sçene.npy", folder / "scene.npy")
    return folder


@pytest.mark.slow
@full
@pytest.mark.parametrize("redirected", [">/dev/full", ">&-", "2>/dev/full", "2>&-", ">&- 2>&-"])
def test_whatever_becomes_of_the_messages_the_file_is_whole(light, materials, redirected):
    options = (
        f"--data {materials.cube} --blocks 1 --patch 16 --epochs 1 --steps-per-epoch 2 --batch 2"
        " --threads 1 --output net.safetensors"
    )
    done = shell(f"edgesr train {options} {redirected}", light)
    assert done.returncode == (4 if redirected == ">/dev/full" else 0), done.stderr
    assert "Traceback" not in done.stderr
    assert (light / "net.safetensors").is_file()
    assert not (light / "net.checkpoint").exists()


@pytest.mark.slow
def test_names_beyond_ascii_in_the_locale_c(light):
    done = shell("edgesr info sçene.npy", light, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert r"s\xe7ene.npy" in done.stdout
    done = shell("edgesr info s*.npy", light, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (done.returncode, done.stderr) == (0, "")
