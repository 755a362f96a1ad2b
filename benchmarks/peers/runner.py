"""One row after the other: make the tool's files, judge them, time them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edgesr_export.errors import ExportError
from edgesr_export.targets import runtimes

from benchmarks.peers.child import MADE
from benchmarks.peers.environments import Environments, PeerError, run
from benchmarks.peers.inputs import NETWORK
from benchmarks.peers.judge import Judge
from benchmarks.peers.peer import GENERIC, Environment, Peer
from benchmarks.peers.remote import Remote
from benchmarks.peers.store import Store
from benchmarks.peers.table import OURS, Form, contenders, failure, pick
from benchmarks.peers.timing import figures, in_turn
from edgesr.errors import EdgesrError


@dataclass(frozen=True)
class Runner:
    """What all rows share.

    Attributes:
        peers: rows by name.
        environments: of the tools.
        judge: of what they make.
        store: keeps what is found.
        work: folder of the inputs and of the tools' files.
        threads: of a call.
        facts: what is true of the whole table, with "limit_db".
        say: tells how far the work is.
    """

    peers: Mapping[str, Peer]
    environments: Environments
    judge: Judge
    store: Store
    work: Path
    threads: int
    facts: Mapping[str, Any]
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)

    @property
    def inputs(self) -> Path:
        """Folder of what every tool is given."""
        return self.work / "inputs"

    def make(self, name: str) -> None:
        """Let a tool work and judge what it makes; a failure is kept as such."""
        peer = self.peers[name]
        row: dict[str, Any] = {
            "title": peer.title, "settings": peer.settings, "source": peer.source,
            "packages": list(peer.environment.packages), "note": peer.note,
            "versions": {}, "files": [],
        }  # fmt: skip
        failures = []
        try:
            python = self.environments.python(peer.environment)
            try:
                self._work(python, peer)
            except PeerError as error:  # what was made before may still be good
                failures.append(str(error))
            made = self._made(name)
            row |= {key: made[key] for key in ("versions", "seconds") if key in made}
            for one in made["made"]:
                self.say(f"  judging {one['file']}")
                judged = self._judged(peer, one, failures)
                row["files"] += [judged] if judged["drops"] else []
        except EdgesrError as error:
            failures.append(str(error))
        if failures:
            row["failed"] = "; ".join(dict.fromkeys(failures))
        self._keep(name, row)

    def time(self, name: str, image: np.ndarray) -> None:
        """Time the forms of which one stands for the row, in turn with ours."""
        row = dict(self.store.row(name) or {})
        row.pop("untimed", None)
        if not row.get("files"):
            return
        ours = self._ours()
        candidates = contenders(row, self.facts["limit_db"])
        with ExitStack() as opened:
            calls = {}
            for number, form in enumerate(candidates):
                remote = opened.enter_context(self._open(self.peers[name], form))
                calls[str(number)] = lambda remote=remote: remote.milliseconds(image)
            if ours is not None:
                remote = opened.enter_context(self._open(self.peers[OURS], ours))
                calls["ours"] = lambda remote=remote: remote.milliseconds(image)
            try:
                times = in_turn(calls)
            except PeerError as error:
                self._keep(name, row | {"untimed": str(error)})
                return
        for number, form in enumerate(candidates):
            found = times[str(number)]
            row["files"][row["files"].index(form.file)]["times"][form.runtime] = figures(
                found, times.get("ours", found)
            )
        self._keep(name, row)

    def told(self, name: str) -> str:
        """A row in one line."""
        row = self.store.row(name) or {}
        form = pick(row, self.facts["limit_db"])
        parts = [f"failed: {why}"] if (why := failure(row)) else []
        if form:
            time = f", {form.time['ms']:.1f} ms" if form.time else ""
            parts.insert(
                0,
                f"{form.file['label'] or form.runtime}: {form.budget['psnr_drop']:+.3f} dB,"
                f" test {form.drop['test']['psnr_drop']:+.3f} dB{time}",
            )
        return "; ".join(parts) or "not made yet"

    def _work(self, python: str, peer: Peer) -> None:
        folder = self.work / peer.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        words = ["make", peer.name, peer.module, str(self.inputs.resolve()), str(folder.resolve())]
        command = [python, "-m", "benchmarks.peers.child", *words]
        run(command, "the tool", peer.minutes, folder / "log.txt")

    def _made(self, name: str) -> dict[str, Any]:
        """What the tool says that it has made."""
        path = self.work / name / MADE
        if not path.is_file():
            return {"made": []}
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return found

    def _judged(self, peer: Peer, made: Mapping[str, Any], failures: list[str]) -> dict[str, Any]:
        """A file's size, and its drop in each runtime that takes it."""
        file = self.work / peer.name / made["file"]
        drops = {}
        asked = made["runtimes"] or peer.runtimes
        for runtime in [one for one in asked if not missing(one)] or asked:
            try:
                with self._remote(peer, runtime, file) as network:
                    drops[runtime] = self.judge.drops(network)
            except (EdgesrError, ExportError) as error:
                failures.append(f"{made['label'] or file.name} in {runtime}: {error}")
        size = self.judge.size(file, self.inputs / NETWORK)
        return {"label": made["label"], "file": made["file"], **size, "drops": drops, "times": {}}

    def _ours(self) -> Form | None:
        """The form of edgesr's default that everything is timed beside; None until it is there."""
        row = self.store.row(OURS)
        return pick(row, self.facts["limit_db"]) if row and OURS in self.peers else None

    def _open(self, peer: Peer, form: Form) -> Remote:
        return self._remote(peer, form.runtime, self.work / peer.name / form.file["file"])

    def _remote(self, peer: Peer, runtime: str, file: Path) -> Remote:
        own = runtime not in GENERIC
        python = self.environments.python(peer.environment if own else Environment())
        return Remote(python, peer, runtime, file, self.threads)

    def _keep(self, name: str, row: dict[str, Any]) -> None:
        self.store.put(name, row, **self.facts)


def missing(runtime: str) -> str:
    """Why this machine has no such runtime, such as a CPU without bfloat16; empty where it has."""
    return runtimes()[runtime].missing() if runtime in GENERIC else ""
