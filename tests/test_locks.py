"""Two real processes on one output: the second is refused; a lock ends with its process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgesr.cli.main import main
from edgesr.errors import OptionError
from edgesr.locks import Lock
from edgesr.recipe.recipes import CompressRecipe
from edgesr.run_folder import RunFolder

REPOSITORY = Path(__file__).resolve().parents[1]
HOLD = """
import sys
from pathlib import Path
from edgesr.locks import Lock

lock = Lock(Path(sys.argv[1]), Path(sys.argv[1]))
lock.take()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def hold() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Let another process hold a lock until it is killed or the test ends."""
    processes = []

    def start(path: str) -> subprocess.Popen[str]:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(Path(path).absolute())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_a_lock_vanishes_with_its_process(tmp_path, hold):
    path = tmp_path / "lock"
    process = hold(str(path))
    lock = Lock(path, tmp_path / "run")
    for attempt in (lock.check, lock.take):
        with pytest.raises(OptionError, match=rf"is being written by process {process.pid} on "):
            attempt()
    process.kill()
    process.wait()
    assert path.exists()
    lock.check()
    with lock:
        assert path.exists()
    assert not path.exists()
    lock.release()  # for the second time


def test_whoever_waits_for_a_lock_that_is_removed_takes_the_next(tmp_path):
    """Between opening and locking, the holder may let go and remove the file."""
    first, second = (Lock(tmp_path / "lock", tmp_path / "run") for _ in range(2))
    first.take()
    attempts, attempt = [], second._try

    def late(file):
        if not attempts:
            first.release()
        attempts.append(file)
        attempt(file)

    second._try = late
    second.take()
    assert len(attempts) == 2
    with pytest.raises(OptionError, match="is being written by process"):
        first.take()


@pytest.mark.parametrize(
    ("line", "lock"),
    [
        ("compress --data low.npy --output run", "run/.state/lock"),
        ("compress --data low.npy --output run --overwrite", "run/.state/lock"),
        ("compress --data low.npy --output run --resume", "run/.state/lock"),
        ("train --data low.npy --output net.safetensors", ".net.checkpoint.lock"),
        ("train --data low.npy --output net.safetensors --overwrite", ".net.checkpoint.lock"),
        ("train --data low.npy --output net.safetensors --resume", ".net.checkpoint.lock"),
        ("reproduce real --data reno=low.npy --output reno.json", ".reno.json.lock"),
    ],
)
def test_the_second_run_on_one_output_is_refused(refused, hold, line, lock):
    np.save("low.npy", np.ones((20, 20, 3), np.uint16))
    process = hold(lock)
    output = line.split("--output ")[1].split()[0]
    assert f"{output} is being written by process {process.pid} on " in refused(*line.split())


def test_the_later_of_two_that_began_together_is_refused_and_spoils_nothing(workplace):
    folders = [RunFolder(Path("run"), overwrite=False, resume=False) for _ in range(2)]
    folders[0].create(CompressRecipe(rank=8))
    with pytest.raises(OptionError, match="is being written by process"):
        folders[1].create(CompressRecipe(rank=16))
    folders[1].release()
    assert CompressRecipe.load(folders[0].state("recipe.toml")).rank == 8
    folders[0].finish({})
    folders[0].release()
    with pytest.raises(OptionError, match="holds a run"):
        folders[1].create(CompressRecipe(rank=16))
    folders[1].release()
    assert {path.name for path in Path("run").iterdir()} == {"recipe.toml", "report.json"}


def test_a_store_is_free_again_and_leaves_nothing_when_refused(workplace, capsys):
    assert main(["reproduce", "real", "--data", "a=nowhere.npy", "--output", "new/a.json"]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize("how", ["link", "second name", "other content"])
def test_what_is_called_as_a_lock_and_is_none_stays_as_it_is(tmp_path, how):
    precious, path = tmp_path / "cube.npy", tmp_path / "lock"
    precious.write_text("years of work")
    if how == "link":
        path.symlink_to(precious)
    elif how == "second name":
        path.hardlink_to(precious)
    else:
        path.write_text("more work")
    before = path.read_bytes()
    lock = Lock(path, tmp_path / "run")
    for ask in (lock.check, lock.take):
        with pytest.raises(OptionError, match=r"remove it|move it away"):
            ask()
    assert path.read_bytes() == before
    assert precious.read_text() == "years of work"


@pytest.mark.parametrize(
    "place", [".state", ".state/draft", ".state/complete", ".state/draft/models"]
)
@pytest.mark.parametrize("flags", [(False, True), (True, False), (False, False)])
def test_a_run_folder_that_leads_elsewhere_is_refused(tmp_path, place, flags):
    thesis, run = tmp_path / "thesis", tmp_path / "run"
    thesis.mkdir()
    (thesis / "chapter.tex").write_text("years of work")
    CompressRecipe().save(thesis / "recipe.toml")
    (run / place).parent.mkdir(parents=True)
    if place != ".state":
        CompressRecipe().save(run / ".state" / "recipe.toml")
    (run / place).symlink_to(thesis)
    overwrite, resume = flags
    with pytest.raises(OptionError, match="is a link"):
        RunFolder(run, overwrite=overwrite, resume=resume)
    assert {path.name for path in thesis.iterdir()} == {"chapter.tex", "recipe.toml"}
