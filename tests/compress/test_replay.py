"""The same files, byte for byte, from a run's decisions alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from edgesr.cli.main import main
from edgesr.compress import compress
from edgesr.compress.decisions import Decisions, Surgery, differences
from edgesr.errors import OptionError
from edgesr.stored import read_json


@pytest.fixture
def finished(workplace, plain_export, small_recipe) -> Path:
    """A run with an int8 file and a native one."""
    pytest.importorskip("nncf")
    wanted = replace(small_recipe, precisions=("fp32", "int8"), io=("normalised", "native"))
    compress(wanted, Path("run"))
    return Path("run")


def test_a_replay_makes_the_same_bytes_and_asks_no_clock(finished, monkeypatch, capsys):
    for place in ("edgesr.evaluation.latency.measure", "edgesr_export.paired.compare"):
        monkeypatch.setattr(place, None)
    assert main(["compress", "--replay", str(finished), "--output", "again"]) == 0
    made = {path.relative_to("again") for path in Path("again").rglob("*") if path.is_file()}
    assert Path("student.safetensors") in made
    assert {path.name for path in made if path.parent.name == "models"} >= {"cpu-fp32.onnx"}
    for name in made:
        assert (Path("again") / name).read_bytes() == (finished / name).read_bytes(), name
    assert f"{len(made)} of {len(made)} files equal" in capsys.readouterr().out


def test_decisions_are_followed_even_where_a_run_would_decide_otherwise(finished):
    """Another epoch and another rank than this run took."""
    path = finished / "decisions.json"
    content = read_json(path, "the decisions")
    setting = content["surgery"]["setting"]
    content["surgery"] |= {"setting": setting + 8, "settings": {"upsampler": setting + 8}}
    content["best"] |= {"epoch": 1, "weights": "own"}
    path.write_text(json.dumps(content))
    assert main(["compress", "--replay", str(finished), "--output", "again"]) == 0
    other = Path("again/student.safetensors").read_bytes()
    assert len(other) > (finished / "student.safetensors").stat().st_size


def test_a_share_of_the_distillation_is_followed(finished):
    """Half of the way: the mean of the closed form's weights and the trained ones."""
    path = finished / "decisions.json"
    content = read_json(path, "the decisions")
    content["best"].pop("share", None)
    made = {}
    for name, best in (
        ("closed", {"epoch": 0}),
        ("trained", {"epoch": 2}),
        ("half", {"epoch": 2, "share": 0.5}),
    ):
        path.write_text(json.dumps({**content, "best": {**content["best"], **best}}))
        assert main(["compress", "--replay", str(finished), "--output", name]) == 0
        made[name] = load_file(Path(name) / "student.safetensors")
    assert any(not torch.equal(made["closed"][key], made["trained"][key]) for key in made["half"])
    for key, value in made["half"].items():
        torch.testing.assert_close(value, (made["closed"][key] + made["trained"][key]) / 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "again", "--rank", "8"], "leave out --rank"),
        ([], "--replay needs --output"),
        (["--output", "run"], "exists; name a folder that does not"),
    ],
)
def test_a_replay_takes_all_from_the_run(finished, arguments, message, capsys):
    assert main(["compress", "--replay", str(finished), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not Path("again").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("{}", "holds no decisions"),
        ('{"version": 99}', "update edgesr"),
    ],
)
def test_damaged_decisions_are_refused(tmp_path, content, message):
    path = tmp_path / "decisions.json"
    path.write_text(content)
    with pytest.raises(OptionError, match=message):
        Decisions.load(path)


def test_what_was_decided_otherwise_is_said():
    best = {"epoch": 3, "weights": "own", "tuning_mpsnr": 1.0, "tuning_sam": 1.0}
    layers = {"a": ("int8", ""), "b": ("int8", "")}
    one = Decisions(Surgery("lowrank", 8, {"up": 8}), best, 1, int8={"cpu": layers})
    other = replace(
        one,
        surgery=Surgery("lowrank", 16, {"up": 16}),
        best={**best, "epoch": 4},
        int8={"cpu": {**layers, "b": ("fp32", "equal")}},
    )
    assert differences(one, one) == []
    assert differences(one, other) == [
        "surgery: lowrank 16, was lowrank 8",
        "epoch kept: 4, was 3",
        "int8 for cpu: 1 layers, was 2 (equal)",
    ]
