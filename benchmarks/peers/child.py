"""What runs in a tool's environment: ``python -m benchmarks.peers.child make|serve ...``.

``make`` writes the tool's files and tells of them in ``made.json``, after each; ``serve`` answers
images until its input ends. What a tool prints goes to stderr: stdout carries the answers.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import re
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from benchmarks.peers.inputs import Inputs
from benchmarks.peers.peer import GENERIC, Call, Peer, find

MADE = "made.json"
ANSWER, TIME = b"a", b"t"
"""Kinds of request: an answer, or nothing but the time that it took."""


def make(peer: Peer, inputs: Inputs, output: Path) -> None:
    """Let the tool work."""
    started = time.perf_counter()
    made: list[dict[str, object]] = []
    for one in peer.make(inputs, output):
        file = os.path.relpath(one.file, output)
        made.append({"label": one.label, "file": file, "runtimes": list(one.runtimes)})
        content = {
            "made": made,
            "versions": versions(peer),
            "seconds": round(time.perf_counter() - started, 1),
        }
        part = output / f"{MADE}.part"
        part.write_text(json.dumps(content), "utf-8")
        part.replace(output / MADE)


def versions(peer: Peer) -> dict[str, str]:
    """Of what the row needs, as installed."""
    found = {}
    for package in peer.environment.packages or ("onnxruntime", "openvino", "nncf", "torch"):
        name = re.split(r"[\[<>=!~ ]", package)[0]
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def opened(peer: Peer, runtime: str, file: Path, threads: int) -> Call:
    """The file, loaded by one of the row's runtimes."""
    if runtime not in GENERIC:
        if peer.open is None:
            raise ValueError(f"{peer.name} has no runtime {runtime}")
        return peer.open(file, threads)
    from edgesr_export.targets import runtimes

    return runtimes()[runtime].open(file, threads, 0)


def serve(call: Call, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the requests end: a kind and an image each; nanoseconds, then the answer."""
    while kind := requests.read(1):
        image = read_array(requests)
        started = time.perf_counter_ns()
        found = call(image)
        answers.write(struct.pack("<q", time.perf_counter_ns() - started))
        if kind == ANSWER:
            write_array(answers, found)
        answers.flush()


def write_array(stream: BinaryIO, array: np.ndarray) -> None:
    """Its length, then the array as a .npy file has it."""
    held = io.BytesIO()
    np.save(held, np.ascontiguousarray(array))
    stream.write(struct.pack("<q", held.tell()))
    stream.write(held.getbuffer())
    stream.flush()


def read_array(stream: BinaryIO) -> np.ndarray:
    """What :func:`write_array` wrote."""
    (length,) = struct.unpack("<q", stream.read(8))
    return np.load(io.BytesIO(stream.read(length)))


def main(words: list[str]) -> None:
    """``make NAME MODULE INPUTS OUTPUT`` or ``serve NAME MODULE RUNTIME FILE THREADS``."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    action, name, module, *rest = words
    peer = find(name, module)
    if action == "make":
        inputs, output = (Path(word).resolve() for word in rest)
        os.chdir(output)  # some tools write beside themselves
        make(peer, Inputs(inputs), output)
    else:
        runtime, file, threads = rest
        serve(opened(peer, runtime, Path(file), int(threads)), sys.stdin.buffer, answers)


if __name__ == "__main__":
    main(sys.argv[1:])
