"""Scenes of a few bytes, the function that stands for the network, and workers that are shared."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # workers get the same path

from scene_fakes import executions, expected

from edgesr.scenes.archive import SceneJob, make_jobs, run_archive
from edgesr.scenes.archive.engines import Engine, ThisProcess
from edgesr.scenes.archive.model import Archive
from edgesr.scenes.archive.sources import Source

CALL = "scene_fakes:upscale"


@dataclass(frozen=True)
class Scenes:
    """A folder of scenes, and the archive that is made of them."""

    folder: Path
    out: Path
    log: Path

    def add(self, **texts: str) -> Scenes:
        """Write scenes; names may hold what Python's keywords do not."""
        for name, text in texts.items():
            (self.folder / f"{name}.txt").write_text(text)
        return self

    @property
    def texts(self) -> dict[str, str]:
        return {path.stem: path.read_text() for path in sorted(self.folder.glob("*.txt"))}

    @property
    def jobs(self) -> list[SceneJob]:
        sources = [Source(str(self.folder / f"{name}.txt")) for name in self.texts]
        return make_jobs(sources, self.out, ".tif", {"log": str(self.log)})

    def run(self, engine: Engine | None = None, split: int | None = None, **more: Any) -> Archive:
        jobs = [replace(job, split=split) for job in self.jobs]
        return run_archive(
            jobs, self.out, engine or ThisProcess(), call=CALL, strips="scene_fakes", **more
        )

    def executions(self, name: str) -> int:
        return executions(self.log, name)

    def assert_whole(self, *without: str) -> None:
        """Every good scene has its output as it must be, the others none, and nothing else is."""
        made = {p.name: p.read_bytes() for p in self.out.glob("*") if p.suffix == ".tif"}
        good = {name: text for name, text in self.texts.items() if name not in without}
        assert made == {f"{name}.tif": expected(text) for name, text in good.items()}
        assert {p.name for p in self.out.iterdir()} - made.keys() == {".receipts", "archive.json"}
        kept = {p.name for p in (self.out / ".receipts").iterdir()}
        assert kept == {f"{name}.json" for name in good}


@pytest.fixture
def scenes(tmp_path: Path) -> Scenes:
    """An empty folder for scenes."""
    (tmp_path / "in").mkdir()
    return Scenes(tmp_path / "in", tmp_path / "out", tmp_path / "log")
