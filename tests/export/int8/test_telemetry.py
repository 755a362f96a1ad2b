"""Does NNCF phone home? Asked of a process of its own: under pytest it stays silent anyway."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("nncf")

SCRIPT = """
import sys
import numpy as np
import edgesr_export.int8.telemetry as silence
network, tile, control = sys.argv[1:]
if control == "control":
    silence.silence_telemetry = lambda: None
from edgesr_export.int8.calibrate import calibrate, checked_tiles
from edgesr_export.targets import find_target
from edgesr_export.int8.layers import find_layers, prepare
from edgesr_export.model_file import load_model

model = prepare(load_model(network))
layers = [layer for layer in find_layers(model) if not layer.fixed]
tiles = checked_tiles([np.load(tile)], model)
assert calibrate(model, layers, tiles, find_target("tensorrt").scheme).weights
if control == "control":
    from openvino_telemetry import Telemetry
    Telemetry().sender.executor.shutdown(wait=True)
"""


@pytest.fixture
def quantise(network, tiles, tmp_path, watched):
    """Traces of a quantisation, with the silence or, as the control, without it."""
    np.save(tmp_path / "tile.npy", tiles[0])
    repository = Path(__file__).parents[3]
    return lambda control="": watched(
        "-c", SCRIPT, network, tmp_path / "tile.npy", control, path=(repository,)
    )


def test_quantisation_opens_no_socket_and_leaves_no_client_id(quantise):
    traces = quantise()
    assert traces.code == 0, traces.errors
    assert traces.sockets == []
    assert traces.files == set()


@pytest.mark.slow
def test_without_the_silence_it_would(quantise):
    traces = quantise("control")
    assert traces.code == 0, traces.errors
    assert traces.sockets
    assert any(file.startswith("home/intel/") for file in traces.files)
