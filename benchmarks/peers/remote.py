"""A network that another process runs, maybe in another environment."""

from __future__ import annotations

import struct
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np

from benchmarks.peers.child import ANSWER, TIME, read_array, write_array
from benchmarks.peers.environments import ROOT, PeerError, reason, variables
from benchmarks.peers.peer import Peer

SECONDS = 1800.0
"""For one answer, loading and compiling included."""


class Remote:
    """Call it with an image [N, B, h, w].

    Args:
        python: interpreter of the tool's environment.
        peer: the row.
        runtime: one of the row's.
        file: that the tool has made.
        threads: of a call.

    Raises:
        PeerError: at a call, where the process fails.
    """

    def __init__(self, python: str, peer: Peer, runtime: str, file: Path, threads: int) -> None:
        self.runtime = runtime
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed by __exit__)
        words = [peer.name, peer.module, runtime, str(file.resolve()), str(threads)]
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.peers.child", "serve", *words],
            cwd=ROOT,
            env=variables() | {"OMP_NUM_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
        )

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The answer [N, B, h r, w r]."""
        found = self._ask(ANSWER, image)[1]
        assert found is not None
        return found

    def milliseconds(self, image: np.ndarray) -> float:
        """What a call takes where it runs, from array to array."""
        return self._ask(TIME, image)[0] / 1e6

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            if stream is not None:
                with suppress(BrokenPipeError):  # it has gone with a request half read
                    stream.close()

    def _ask(self, kind: bytes, image: np.ndarray) -> tuple[int, np.ndarray | None]:
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None
        assert answers is not None
        late = threading.Event()
        watch = threading.Timer(SECONDS, lambda: (late.set(), self._process.kill()))
        watch.start()
        try:
            requests.write(kind)
            write_array(requests, image)
            (spent,) = struct.unpack("<q", answers.read(8))
            return spent, read_array(answers) if kind == ANSWER else None
        except (BrokenPipeError, struct.error, ValueError, EOFError):
            code = self._process.wait()
            self._said.seek(0)
            said = reason(self._said.read(), code)
            why = f"no answer within {SECONDS:g} s" if late.is_set() else said
            raise PeerError(f"{self.runtime}: {why}") from None
        finally:
            watch.cancel()
