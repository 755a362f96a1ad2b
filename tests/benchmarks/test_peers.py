"""Other tools in one table: what they make is judged, what fails says why, the page follows."""

from __future__ import annotations

import copy
import importlib
import json

import numpy as np
import pytest
import torch

from benchmarks.peers import table as tables
from benchmarks.peers.environments import Environments, PeerError
from benchmarks.peers.inputs import NETWORK, Inputs, score
from benchmarks.peers.judge import Judge, hand_over
from benchmarks.peers.peer import PEERS, Environment, Peer, load, register
from benchmarks.peers.runner import Runner
from benchmarks.peers.store import Store
from benchmarks.peers.table import pick, rendered, table
from benchmarks.peers.timing import LEAST, figures, in_turn
from benchmarks.results import FOLDER
from edgesr.cube import Cube, make_scene
from edgesr.errors import OptionError
from edgesr.evaluation.cost import count
from edgesr.evaluation.evaluate import evaluate
from edgesr.loading.workload import Workload
from edgesr.models import create_model

FACTS = {
    "limit_db": 0.05, "tile": 16, "threads": 1, "date": "2031-02-03",
    "machine": {"cpu": "Abacus 9", "torch": "2.9", "onnxruntime": "1.30"},
}  # fmt: skip


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A tiny network and scene, handed over."""
    rows, columns, bands = np.mgrid[0:96, 0:96, 0:3]
    cube = Cube(np.sin(rows / 7 + bands / 9) + np.cos(columns / 5) + 3, "waves")
    scene = make_scene(cube, scale=4, patch=16, bands="all")
    torch.manual_seed(0)
    model = create_model("lkca_net", bands=3, scale=4, blocks=1, channels=16).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)  # an exporter writes equal tensors once
    workload = Workload(scene, model, {}, "", "lkca_net")
    work = tmp_path_factory.mktemp("peers")
    digest = hand_over(workload, work / "inputs", {"runs": {"edgesr-default": "there"}})
    return workload, work, digest


@pytest.fixture
def runner(given, tmp_path):
    workload, work, digest = given
    importlib.import_module("tests.benchmarks.fake_peers")
    peers = {name: peer for name, peer in PEERS.items() if name.startswith("fake")}
    return Runner(
        peers, Environments(tmp_path, install=False), Judge(workload, 90.0),
        Store(tmp_path / "out" / "peers.json", digest), work, 1, FACTS,
    )  # fmt: skip


def test_what_is_handed_over_is_the_network_and_the_budget_blocks(given):
    workload, work, _ = given
    inputs = Inputs(work / "inputs")
    image = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(inputs.network()(image), workload.model(image))
    expected = evaluate(workload.model, workload.scene, "budget")["mpsnr"]
    assert score(inputs, inputs.network()) == pytest.approx(expected, abs=1e-4)
    assert inputs.calibration.shape[1] == 3
    assert inputs.facts["runs"] == {"edgesr-default": "there"}


def test_an_exported_file_has_the_parameters_of_the_network(given):
    workload, work, _ = given
    path = work / "inputs" / NETWORK
    size = Judge(workload, 90.0).size(path, path)
    counted = count(workload.model)
    pooled = 48 * 16 * 16  # inputs of the pool, which a file's own count leaves out
    assert size == {
        "params": counted.params, "macs": counted.macs - pooled, "bytes": path.stat().st_size,
    }  # fmt: skip


def test_all_files_of_a_folder_count(given, tmp_path):
    workload, work, _ = given
    path = work / "inputs" / NETWORK
    (tmp_path / "network.param").write_bytes(b"7767517")
    (tmp_path / "network.bin").write_bytes(bytes(1000))
    judge = Judge(workload, 90.0)
    assert judge.size(tmp_path, path) == judge.size(path, path) | {"bytes": 1007}


def test_a_tools_files_are_judged_timed_and_kept(runner):
    runner.make("fake-good")
    row = runner.store.row("fake-good")
    same, off = (one["drops"]["fake"] for one in row["files"])
    assert same["test"]["psnr_drop"] == pytest.approx(0, abs=1e-3)
    assert off["budget"]["psnr_drop"] > 1
    assert "failed" not in row
    assert not row["files"][0]["times"]

    runner.time("fake-good", np.zeros((1, 3, 16, 16), np.float32))
    kept = json.loads(runner.store.path.read_text())
    assert kept["rows"]["fake-good"]["files"][0]["times"]["fake"]["rounds"] >= LEAST
    assert kept["limit_db"] == 0.05
    assert "offset 0" in runner.told("fake-good")

    gone = runner.work / "fake-good" / "0.txt"
    held = gone.read_bytes()
    gone.unlink()
    runner.time("fake-good", np.zeros((1, 3, 16, 16), np.float32))
    assert "failed: while it was timed: fake: " in runner.told("fake-good")
    gone.write_bytes(held)
    runner.time("fake-good", np.zeros((1, 3, 16, 16), np.float32))
    assert "failed" not in runner.told("fake-good")

    other = Store(runner.store.path, "another teacher")
    assert other.row("fake-good") is None
    assert Store(runner.store.path, runner.store.teacher).row("fake-good") == row


def test_a_tool_that_fails_says_why_and_keeps_what_it_made(runner):
    runner.make("fake-broken")
    row = runner.store.row("fake-broken")
    assert row["failed"].startswith("the tool: ValueError: no such layer; first in none such: ")
    assert [one["label"] for one in row["files"]] == ["first"]
    assert row["files"][0]["drops"].keys() == {"onnxruntime"}


def test_a_runtime_that_the_machine_lacks_is_no_failure_where_there_is_another(runner, monkeypatch):
    monkeypatch.setattr(
        "benchmarks.peers.runner.missing", lambda name: "no" if name == "none such" else ""
    )
    runner.make("fake-broken")
    row = runner.store.row("fake-broken")
    assert row["failed"] == "the tool: ValueError: no such layer"
    assert row["files"][0]["drops"].keys() == {"onnxruntime"}
    monkeypatch.setattr("benchmarks.peers.runner.missing", lambda name: "no")
    runner.make("fake-broken")  # nothing else is left: what it says is the reason
    assert "first in none such: " in runner.store.row("fake-broken")["failed"]


def test_a_tool_that_hangs_is_stopped(runner):
    runner.make("fake-hanging")
    row = runner.store.row("fake-hanging")
    assert (row["failed"], row["files"]) == ("the tool: stopped after 0.01 minutes", [])
    runner.time("fake-hanging", np.zeros((1, 3, 16, 16), np.float32))  # there is nothing to time
    assert "failed" in runner.told("fake-hanging")


def test_an_environment_that_is_not_there_is_a_reason(tmp_path):
    environments = Environments(tmp_path, install=False)
    with pytest.raises(PeerError, match="not installed"):
        environments.python(Environment("none", ("no-such-package==1",)))


def test_a_file_that_is_no_store_is_refused(tmp_path):
    path = tmp_path / "peers.json"
    path.write_text("[]")
    with pytest.raises(OptionError, match="other results"):
        Store(path, "")


def test_calls_take_turns_in_both_directions():
    order: list[str] = []

    def call(name, ms):
        order.append(name)
        return ms

    found = in_turn({"a": lambda: call("a", 1.0), "b": lambda: call("b", 2.0)}, rounds=7)
    assert "".join(order) == "ab" + "abba" * 3 + "ab"
    assert found == {"a": [1.0] * 7, "b": [2.0] * 7}
    slow = in_turn({"a": lambda: 1e5}, rounds=50)
    assert len(slow["a"]) == LEAST
    assert figures(found["b"], found["a"]) == {
        "ms": 2.0, "iqr_ms": 0.0, "rounds": 7, "ratio": [2.0, 2.0],
    }  # fmt: skip


def file(label, macs, drop, high, ms=None, runtime="onnxruntime", params=2000):
    budget = {"psnr_drop": drop, "psnr_low": drop - 0.01, "psnr_high": high}
    time = {} if ms is None else {runtime: {"ms": ms, "ratio": [ms / 10, ms / 10]}}
    test = {"psnr_drop": drop, "sam_drop": 0.0}
    return {
        "label": label, "file": f"{label}.onnx", "params": params, "macs": macs, "bytes": 10**6,
        "drops": {runtime: {"budget": budget, "test": test}}, "times": time,
    }  # fmt: skip


def row(title, *files, **more):
    return {
        "title": title, "settings": "as it is", "source": "https://example.org",
        "packages": [], "versions": {"tool": "1.2"}, "files": list(files), **more,
    }  # fmt: skip


def test_the_least_work_within_the_limit_stands_for_a_row():
    within = file("within", 50, 0.02, 0.049)
    files = [file("safe", 90, 0.0, 0.01), within, file("over", 10, 0.03, 0.06)]
    assert pick(row("a", *files), 0.05).file is within
    assert (
        pick(row("a", file("x", 9, 0.3, 0.4), file("y", 99, 0.1, 0.2)), 0.05).file["label"] == "y"
    )
    quick = [file("slow", 50, 0.0, 0.01, 20.0), file("quick", 50, 0.01, 0.02, 10.0)]
    assert pick(row("a", *quick), 0.05).file["label"] == "quick"
    both = file("both", 50, 0.1, 0.2, 20.0) | {"drops": {}}
    for runtime, ms in (("onnxruntime", 20.0), ("openvino", 9.0)):
        part = file("both", 50, 0.1, 0.2, ms, runtime)
        both["drops"] |= part["drops"]
        both["times"] |= part["times"]
    assert pick(row("a", file("worse", 9, 0.3, 0.4, 1.0), both), 0.05).runtime == "openvino"
    unknown = file("unknown", None, 0.0, 0.01)
    assert pick(row("a", unknown, within), 0.05).file is within
    assert pick(row("a", failed="why"), 0.05) is None


def test_the_table_says_where_a_tool_is_better_and_what_failed():
    ours = row("edgesr, default", file("", 100, 0.01, 0.02, 10.0))
    theirs = row(
        "Other", file("half", 90, 0.03, 0.04, 20.0, params=3000), seconds=12.0, note="It rounds."
    )
    content = {
        **FACTS,
        "rows": {
            "edgesr-default": ours,
            "other": theirs,
            "gone": row("Gone", failed="not installed: pip: no"),
        },
    }
    text = table(content)
    assert (
        "| Other, half | 3 k | 90 | 1.00 | +0.030 [+0.020, +0.040] | +0.030 | +0.000 | 20.0 |"
        in text
    )
    assert "- fewer MACs: Other." in text
    assert "- fewer parameters: none." in text
    assert "- a shorter time: none." in text
    assert "- **Gone**: not installed: pip: no" in text
    assert "(`--only other`; tool 1.2): as it is" in text
    assert "Tried: half. 12 s. It rounds.\n" in text
    untimed = copy.deepcopy(content)
    untimed["rows"]["other"]["files"][0]["times"] = {}
    assert "| – | – | onnxruntime |" in table(untimed)
    del untimed["rows"]["edgesr-default"]
    assert "not in the table yet" in table(untimed)

    page = "before\n<!-- peers -->\nold\n<!-- /peers -->\nafter\n"
    once = rendered(page, content)
    assert once.startswith("before\n<!-- peers -->\n\n| Tool |")
    assert once.endswith("\n<!-- /peers -->\nafter\n")
    assert "\nold\n" not in once
    assert rendered(once, content) == once


def test_the_committed_page_is_what_the_committed_results_say():
    page = tables.PAGE.read_text("utf-8")
    assert len(tables.MARKED.findall(page)) == 1
    path = FOLDER / "peers.json"
    if path.is_file():
        assert rendered(page, json.loads(path.read_text("utf-8"))) == page


def test_every_tool_registers_and_names_its_documentation():
    peers = {name: peer for name, peer in load().items() if not name.startswith("fake")}
    assert [*peers][:2] == ["edgesr-default", "edgesr-search"]
    assert {"aimet-spatial-svd", "torch-pruning", "nncf", "modelopt", "ncnn", "mnn", "tvm"} <= {
        *peers
    }
    for peer in peers.values():
        assert peer.settings
        assert peer.source
        assert all("==" in package for package in peer.environment.packages[:1])
    with pytest.raises(ValueError, match="two peers are called nncf"):
        register(Peer("nncf", "", "", "", peers["nncf"].make))
