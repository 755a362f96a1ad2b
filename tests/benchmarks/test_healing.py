"""The comparison of distillations: what it makes is kept, and its table says what was made."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import healing
from benchmarks.healing import Case, table

TINY = (  # noqa: SIM905
    "--seeds 1 --seconds 0.01 --bands 4 --channels 16 --blocks 2 --kept 1 --rank 2 --patch 32"
    " --batch 1 --teacher-epochs 1 --teacher-steps 1 --methods paper output"
).split()


@pytest.fixture
def cube(tmp_path):
    rows, columns, bands = np.mgrid[0:96, 0:64, 0:6]
    path = tmp_path / "cubes" / "waves.npy"
    path.parent.mkdir()
    np.save(path, np.sin(rows / 7 + bands / 9) + np.cos(columns / 5) + 3)
    return path


def test_results_are_kept_and_made_once(cube, tmp_path, capsys, monkeypatch):
    output = tmp_path / "out" / "healing.json"
    (cube.parent / "notes.txt").write_text("no cube")
    words = ["--cubes", str(cube.parent), "--output", str(output), *TINY]
    assert healing.main(words) == 0
    shown = capsys.readouterr()
    assert "notes.txt is left out" in shown.err
    content = json.loads(output.read_text())
    assert sorted(content["runs"]) == ["waves 0 output 0.0002 0.01", "waves 0 paper 0.0002 0.01"]
    for one in content["runs"].values():
        assert one["steps"] >= healing.EPOCHS
        assert {"psnr_drop", "sam_drop"} <= one.keys() & one["closed"].keys()
    assert content["costs"]["waves"].keys() == {"output", "paper"}

    monkeypatch.setattr(healing, "heal", None)  # nothing is left to do
    assert healing.main(words) == 0
    assert capsys.readouterr().out == shown.out

    assert healing.main([*words, "--rank", "3"]) == 2
    assert "other options" in capsys.readouterr().err
    assert json.loads(output.read_text()) == content


def test_an_unknown_distillation_is_refused(cube, tmp_path, capsys):
    output = tmp_path / "healing.json"
    words = ["--cubes", str(cube), "--output", str(output), "--methods", "best"]
    assert healing.main(words) == 2
    assert "--methods must be of" in capsys.readouterr().err
    assert not output.exists()


def test_only_networks_that_every_way_has_healed_are_compared():
    ways = [("paper", 1e-3, 9.0), ("output", 1e-3, 9.0)]
    cases = [Case("a", seed, *way) for seed in range(3) for way in ways]

    def result(drop: float) -> dict:
        closed = {"psnr_drop": 1.0, "sam_drop": 0.5}
        return {"steps": 10, "psnr_drop": drop, "sam_drop": 0.1, "closed": closed}

    drops = dict(zip((case.key for case in cases[:5]), (0.2, 0.1, 0.4, 0.5, 9.0), strict=True))
    lines = list(table(cases, {key: result(drop) for key, drop in drops.items()}))
    assert lines[0].startswith("1 cubes, 2 networks")
    assert lines[3].startswith("| closed form |  |  | 0 | 1.000 (0.000) | 1.000 | 0.500 |")
    assert lines[4].startswith("| paper | 0.001 | 9 | 10 | 0.300 (0.141) | 0.300 | 0.100 |  |")
    assert lines[5].startswith("| output | 0.001 | 9 | 10 | 0.300 (0.283) | 0.300 | 0.100 | 1 of 2")
