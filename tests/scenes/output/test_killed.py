"""A child is killed at each step that changes something on the disk; the next run ends the same."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from edgesr.scenes.output import finish

EVENTS = {
    "open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.truncate",
    "shutil.rmtree", "shutil.copyfile", "mmap.__new__",
}  # fmt: skip


def killed(work: Callable[[], Any], folder: Path, step: int) -> bool:
    """Do the work in a child that is killed before its ``step``-th change below ``folder``."""
    child = os.fork()
    if child == 0:
        left = step

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if event not in EVENTS or not any(str(folder) in str(one) for one in arguments):
                return
            if event == "open" and str(arguments[1]).startswith("r"):
                return
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        code = 1
        try:
            sys.addaudithook(watch)
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert status == 0
    return False


@pytest.fixture(params=[".tif", ".img", ".zarr"])
def suffix(request: pytest.FixtureRequest) -> str:
    if request.param == ".zarr":
        pytest.importorskip("zarr", reason="the extra zarr is not installed")
    return str(request.param)


@pytest.fixture
def small(scene, monkeypatch):
    """20 x 40 pixels: 2 x 3 blocks with two overviews."""
    monkeypatch.setattr("edgesr.scenes.output.formats._pyramid.SMALLEST", 16)
    data = scene.data[:20, :40]
    return replace(scene.but(height=20, width=40), data=data)


@pytest.fixture
def expected(small, suffix, tmp_path, content) -> dict[str, bytes]:
    """The files of a run that nobody interrupted."""
    folder = tmp_path / "uninterrupted"
    folder.mkdir()
    small.write(folder / f"out{suffix}", stac=True)
    return content(folder)


@pytest.mark.parametrize("written", [0, 6])
@pytest.mark.parametrize("every", [37, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_step(small, suffix, tmp_path, expected, content, written, every):
    """At every 37th, or every; from the start, or with all blocks there."""
    folder = tmp_path / "work"
    target = folder / f"out{suffix}"
    for step in count(every // 2, every):
        folder.mkdir()
        with small.open(target, stac=True) as store:
            small.fill(store, most=written)
        was_killed = killed(lambda: small.write(target, resume=True, stac=True), folder, step)
        for name, whole in content(folder).items():
            assert expected.get(name, whole) == whole  # half of a file is never seen
        if was_killed:
            small.write(target, resume=True, stac=True)
        assert content(folder) == expected
        shutil.rmtree(folder)
        if not was_killed:
            break
    assert step > every


def test_killed_twice_in_the_middle_of_a_file(small, suffix, tmp_path, expected, content):
    folder = tmp_path / "work"
    folder.mkdir()
    target = folder / f"out{suffix}"

    def half_of_a_block() -> None:
        write_bytes = Path.write_bytes

        def halved(path: Path, data: bytes) -> int:
            if len(list(path.parent.iterdir())) == 3:
                write_bytes(path, data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return write_bytes(path, data)

        Path.write_bytes = halved
        small.write(target, stac=True)

    def half_of_the_result() -> None:
        def stop(done: int, total: int) -> None:
            if done == 4:
                os.kill(os.getpid(), signal.SIGKILL)

        with small.open(target, resume=True, stac=True) as store:
            small.fill(store)
            finish(store, stop)

    assert killed(half_of_a_block, folder, 10**6)
    assert list((folder / f".out{suffix}.part" / "blocks").glob(".*"))
    assert killed(half_of_the_result, folder, 10**6)
    assert not target.exists()
    small.write(target, resume=True, stac=True)
    assert content(folder) == expected
