"""The same archive on workers of Dask, which are killed, and their scheduler and client, too."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgesr.errors import OptionError
from edgesr.scenes.archive.engines import Cluster, UnfinishedError

pytest.importorskip("distributed", reason="pip install 'edgesr[cluster]'")

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
WAIT = 30
ARCHIVE = """
import sys
from pathlib import Path
from conftest import Scenes
from edgesr.errors import OptionError
from edgesr.scenes.archive.engines import Cluster
if __name__ == "__main__":
    scenes = Scenes(*map(Path, sys.argv[1:4]))
    scenes.run(Cluster(2, 1, scenes.out / ".state" / "workers"))
"""
FAULTS = {
    "a": "good 1",
    "b": "corrupt",
    "c": "flaky",
    "d": "once",
    "e": "deadly",
    "f": "good 2",
    "h": "broken",
    "i": "stalled",
    "j": "good 3",
    "k": "warns",
}
KINDS = {"b": "refused", "e": "died", "h": "error", "i": "late"}


def until(holds: Callable[[], Any], what: str) -> Any:
    """What ``holds`` returns when it is true; a test that waits for more than ``WAIT`` s fails."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {WAIT} s in vain until {what}")


def listening(processes: list[psutil.Process]) -> set[str]:
    """Addresses at which somebody listens."""
    return {
        connection.laddr.ip
        for process in processes
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }


@pytest.fixture
def scratch(scenes) -> Path:
    return scenes.out / ".state" / "workers"


def test_every_fault_costs_one_scene_alone(scenes, scratch, capfd):
    made = scenes.add(**FAULTS).run(Cluster(2, 1, scratch), retries=1, timeout=0.5)
    assert {one.id: one.kind for one in made.failed} == KINDS
    assert [one.reason for one in made.failed] == [
        f"{scenes.folder / 'b.txt'}: cannot be read as a GeoTIFF (it is truncated); copy it again",
        "its worker died every time, as by a crash or a lack of memory",
        "RuntimeError: the weather",
        "it took longer than --timeout 0.5 s",
    ]
    scenes.assert_whole(*KINDS)
    assert {one.id: one.warnings for one in made.done if one.warnings} == {
        "k": ["numbers of another kind"]
    }
    assert [scenes.executions(name) for name in "acdefhij"] == [1, 2, 2, 2, 1, 2, 2, 1]
    assert made.engine == "2 workers of 1 thread"
    assert capfd.readouterr().err == ""
    assert not (scratch.parent).exists()


def test_a_killed_client_leaves_nothing_behind_and_the_next_one_goes_on(scenes):
    scenes.add(**{f"s{i}": f"good {i}" for i in range(6)}, x="waits", y="waits")
    words = [sys.executable, "-c", ARCHIVE, scenes.folder, scenes.out, scenes.log]
    with subprocess.Popen(words, env=ENVIRONMENT) as client:
        try:
            receipts = scenes.out / ".receipts"
            until(lambda: len([*receipts.glob("*.json")]) == 6, "six scenes are done")
            until(lambda: len([*receipts.glob("*.begun")]) == 2, "two are being done")
            processes = psutil.Process(client.pid).children(recursive=True)
            assert len(processes) >= 2
            assert listening([psutil.Process(client.pid), *processes]) == {"127.0.0.1"}
        finally:
            client.kill()
    assert not psutil.wait_procs(processes, WAIT)[1]
    assert [*scenes.out.glob(".*.part.tif")]  # halves of what the workers were at
    (scenes.folder / "go").touch()
    scenes.run()
    scenes.assert_whole()
    assert [scenes.executions(f"s{i}") for i in range(6)] == [1] * 6


@pytest.fixture
def scheduler() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A scheduler in a process of its own, with one worker, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    started = [
        subprocess.Popen(
            [sys.executable, "-m", *words.split()], env=ENVIRONMENT, stderr=subprocess.DEVNULL
        )
        for words in (
            f"distributed.cli.dask_scheduler --host {address} --no-dashboard",
            f"distributed.cli.dask_worker {address} --nthreads 1 --no-dashboard --no-nanny",
        )
    ]
    yield started[0], address
    for process in reversed(started):
        process.kill()
        process.wait(WAIT)


def test_a_killed_scheduler_ends_the_archive_and_another_engine_goes_on(
    scenes, scratch, scheduler, capfd
):
    process, address = scheduler
    scenes.add(a="good 1", b="good 2", x="waits")

    def kill_it() -> None:
        until((scenes.out / ".receipts" / "x.begun").exists, "the last scene has begun")
        process.kill()

    killer = threading.Thread(target=kill_it)
    killer.start()
    with pytest.raises(UnfinishedError, match=r"the scheduler is gone .* same command"):
        scenes.run(Cluster(0, 1, scratch, address))
    killer.join()
    assert capfd.readouterr().err == ""
    assert [scenes.executions(name) for name in "abx"] == [1, 1, 1]
    (scenes.folder / "go").touch()
    scenes.run()
    scenes.assert_whole()
    assert [scenes.executions(name) for name in "ab"] == [1, 1]


@pytest.mark.slow
def test_a_death_is_blamed_on_the_scene_that_was_being_done(scenes, scratch):
    scenes.add(**{f"s{i:02}": "deadly" if i % 6 == 2 else f"good {i}" for i in range(24)})
    deadly = {name for name, text in scenes.texts.items() if text == "deadly"}
    made = scenes.run(Cluster(2, 1, scratch), retries=0)
    assert {one.id for one in made.failed} == deadly
    scenes.assert_whole(*deadly)


@pytest.mark.slow
def test_ctrl_c_ends_client_and_workers_without_a_word_of_theirs(scenes):
    scenes.add(a="good", x="waits")
    words = [sys.executable, "-c", ARCHIVE, scenes.folder, scenes.out, scenes.log]
    with subprocess.Popen(
        words, env=ENVIRONMENT, start_new_session=True, stderr=subprocess.PIPE, text=True
    ) as client:
        until((scenes.out / ".receipts" / "x.begun").exists, "the last scene has begun")
        workers = psutil.Process(client.pid).children(recursive=True)
        os.killpg(client.pid, signal.SIGINT)
        told = client.communicate(timeout=WAIT)[1]
    assert "Dask Worker process" not in told
    assert told.splitlines()[-1] == "KeyboardInterrupt"
    assert not psutil.wait_procs(workers, WAIT)[1]
    assert {path.name for path in scenes.out.iterdir()} == {".receipts", "archive.json", "a.tif"}


@pytest.mark.slow
def test_clients_and_workers_are_killed_over_and_over(scenes):
    """Whatever is killed whenever: in the end everything is there, as if nothing had been."""
    words = ("good", "once", "flaky", "good")
    scenes.add(**{f"s{i}": f"{words[i % 4]} {i}" for i in range(60)})
    command = [sys.executable, "-c", ARCHIVE, scenes.folder, scenes.out, scenes.log]
    for seconds in (2.0, 2.5, 3.0, 3.5):
        with subprocess.Popen(command, env=ENVIRONMENT) as client:
            time.sleep(seconds)
            workers = psutil.Process(client.pid).children(recursive=True)
            client.kill()
        assert not psutil.wait_procs(workers, WAIT)[1]
    subprocess.run(command, env=ENVIRONMENT, check=True, timeout=300)
    scenes.assert_whole()
    finished = [scenes.executions(f"s{i}") for i in range(0, 60, 4)]
    assert max(finished) <= 5  # never again once its receipt was there: one for each client
    assert sum(finished) <= len(finished) + 4 * 2


def test_nobody_at_the_address(scenes, scratch, monkeypatch):
    monkeypatch.setattr("edgesr.scenes.archive.engines.PATIENCE", 0.1)
    with pytest.raises(OptionError, match=r"nobody answers at --scheduler tcp://127\.0\.0\.1:1 "):
        scenes.add(a="good").run(Cluster(0, 1, scratch, "tcp://127.0.0.1:1"))
    with pytest.raises(OptionError, match="nobody answers at --scheduler nonsense"):
        scenes.run(Cluster(0, 1, scratch, "nonsense"))
    assert not scenes.out.exists()
