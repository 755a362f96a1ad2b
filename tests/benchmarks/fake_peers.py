"""Tools of a kind: one that works, in a runtime of its own; one that breaks; one that hangs."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.peers.peer import Made, Peer, register


def offsets(inputs, output):
    for offset in (0.0, 0.1):
        path = output / f"{offset:g}.txt"
        path.write_text(f"{inputs.onnx}\n{offset}")
        print("a tool that talks")
        yield Made(f"offset {offset:g}", path)


def opened(file, threads):
    import onnxruntime

    network, offset = Path(file).read_text().splitlines()
    session = onnxruntime.InferenceSession(network)
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image})[0] + float(offset)


def broken(inputs, output):
    yield Made("first", inputs.onnx)
    raise ValueError("no such layer")


def hanging(inputs, output):
    time.sleep(600)
    yield Made("", inputs.onnx)


for name, make, options in (
    ("fake-good", offsets, {"open": opened, "runtimes": ("fake",)}),
    ("fake-broken", broken, {"runtimes": ("onnxruntime", "none such")}),
    ("fake-hanging", hanging, {"minutes": 0.01}),
):
    register(Peer(name, name.title(), "as it is", "https://example.org", make, **options))
