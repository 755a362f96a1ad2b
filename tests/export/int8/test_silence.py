"""Does anything phone home? Asked of a process of its own: under pytest NNCF stays silent anyway.

Two watches, set before anything is imported: Python's audit hook, which writes down every socket
asked for, also by forked children, and refuses it; and on Linux the kernel (seccomp), which kills a
process that opens one in compiled code. So not even the control reaches a network.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("nncf")

SOCKET_CALL = {"x86_64": 41, "aarch64": 198}.get(platform.machine())
BY_KERNEL = sys.platform == "linux" and SOCKET_CALL is not None

SCRIPT = """
import os, sys
log = os.open({log!r}, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
def watch(event, arguments):
    if event.startswith("socket."):
        os.write(log, event.encode() + b"\\n")
        raise OSError("no network here")
sys.addaudithook(watch)

def forbid(call):
    import ctypes, struct
    kill, allow = (0x06, 0, 0, 0x80000000), (0x06, 0, 0, 0x7FFF0000)
    steps = [(0x20, 0, 0, 0), (0x15, 0, 1, call), kill, allow]  # number of the call: equal?
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    address = ctypes.addressof(program)
    entry = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), address))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # no new privileges, which a filter wants
    assert libc.prctl(22, 2, entry, 0, 0) == 0, ctypes.get_errno()
    return libc

if {by_kernel}:
    libc = forbid({call})

import numpy as np
import export.int8.silence as silence
if {control}:
    silence.silence_telemetry = lambda: None
from export.int8.calibrate import calibrate, checked_tiles
from export.int8.flavour import TARGETS
from export.int8.layers import find_layers, prepare
from export.model_file import load_model

model = prepare(load_model({network!r}))
layers = [layer for layer in find_layers(model) if not layer.fixed]
tiles = checked_tiles([np.load({tile!r})], model)
assert calibrate(model, layers, tiles, TARGETS["tensorrt"]).weights
if {control}:
    from openvino_telemetry import Telemetry
    Telemetry().sender.executor.shutdown(wait=True)
print("quantised", flush=True)
if {by_kernel}:
    libc.socket(2, 1, 0)  # the watch must bite
"""


def quantise(network, tile, folder, *, control=False, by_kernel=False):
    """What a quantisation asked for, its standard output, exit status and home folder."""
    home, log, tile_file = folder / "home", folder / "log", folder / "tile.npy"
    home.mkdir()
    np.save(tile_file, tile)
    script = SCRIPT.format(
        network=str(network),
        tile=str(tile_file),
        log=str(log),
        control=control,
        by_kernel=by_kernel,
        call=SOCKET_CALL,
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "NNCF_CI", "NNCF_DEV")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment, "HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
    )
    return log.read_text().split(), done, home


def test_quantisation_opens_no_socket_and_leaves_no_client_id(network, tiles, tmp_path):
    asked, done, home = quantise(network, tiles[0], tmp_path, by_kernel=BY_KERNEL)
    assert done.stdout == "quantised\n", done.stderr
    assert done.returncode == (-signal.SIGSYS if BY_KERNEL else 0)
    assert asked == []
    assert not (home / "intel").exists()


def test_without_the_silence_it_would(network, tiles, tmp_path):
    asked, done, home = quantise(network, tiles[0], tmp_path, control=True)
    assert done.returncode == 0, done.stderr
    assert asked
    assert (home / "intel").exists()
