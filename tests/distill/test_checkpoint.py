from __future__ import annotations

import pickle

import pytest
import torch

from edgesr.distill import checkpoint
from edgesr.errors import ModelError, OptionError

RUN = {"seed": 1, "data": ["a"]}


def test_a_state_returns_as_it_was_saved(tmp_path):
    path = tmp_path / "new" / "state.pt"
    state = {"epoch": 3, "weights": {"w": torch.rand(3)}, "history": [{"loss": 0.1}]}
    checkpoint.save(path, RUN, state)
    loaded = checkpoint.load(path, dict(RUN))
    assert torch.equal(loaded["weights"]["w"], state["weights"]["w"])
    assert loaded["history"] == state["history"]
    assert [p.name for p in path.parent.iterdir()] == ["state.pt"]


def test_a_place_that_does_not_take_it_is_said_in_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OptionError, match=r"state\.pt cannot be written .*--output") as wrong:
        checkpoint.save(tmp_path / "file" / "state.pt", RUN, {})
    assert "\n" not in str(wrong.value)


def test_a_full_disk_is_said_in_one_line(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise RuntimeError("[enforce fail at writer] . file write failed\nframes")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OptionError, match=r"file write failed.*free some space") as wrong:
        checkpoint.save(tmp_path / "state.pt", RUN, {})
    assert "frames" not in str(wrong.value)
    assert not list(tmp_path.iterdir())


def test_another_run_is_refused_with_what_differs(tmp_path):
    path = tmp_path / "state.pt"
    checkpoint.save(path, RUN, {})
    with pytest.raises(OptionError, match="seed was 1, now 2"):
        checkpoint.load(path, {**RUN, "seed": 2})


class Code:
    def __reduce__(self):
        return print, ("this must not run",)


@pytest.mark.parametrize("content", ["text", "truncated", "pickle", "code", "other", "empty"])
def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path, capsys, content):
    path = tmp_path / "state.pt"
    if content == "text":
        path.write_text("hello")
    elif content == "empty":
        path.write_bytes(b"")
    elif content == "pickle":
        path.write_bytes(pickle.dumps(Code(), protocol=2))
    elif content == "code":
        torch.save({"format": 1, "run": RUN, "state": Code()}, path)
    elif content == "other":
        torch.save({"weights": torch.rand(2)}, path)
    else:
        checkpoint.save(path, RUN, {"w": torch.rand(1000)})
        path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ModelError, match=r"state\.pt is not a") as refusal:
        checkpoint.load(path, RUN)
    assert "\n" not in str(refusal.value)
    assert "this must not run" not in capsys.readouterr().out
