"""A whole search on a small network: every figure is computed again from the files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_trials
import numpy as np
import pytest
import torch
from edgesr_export.runtime import session

from edgesr.compress import compress
from edgesr.compress.candidates import calibrate, enumerate_candidates
from edgesr.compress.search import Search, Trial, loop, require_quality, search
from edgesr.compress.search.budget import Budget
from edgesr.compress.search.design import Design
from edgesr.compress.surgery_config import budget_of, search_options, surgery_options
from edgesr.distill.trainer import TrainResult
from edgesr.errors import OptionError
from edgesr.evaluation.cost import count
from edgesr.evaluation.evaluate import evaluate
from edgesr.loading.weights import load_network, save_network
from edgesr.loading.workload import open_workload
from edgesr.models import create_model
from edgesr.recipe.recipes import CompressRecipe
from edgesr.report import validate
from edgesr.run_folder import RunFolder
from edgesr.surgery import Candidate, apply_changes, changes_of, require_sites, spectrum

pytest.importorskip("optuna", reason="needs the extra 'search'")

NETWORK = {"bands": 12, "scale": 4, "blocks": 2, "channels": 16}


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(1)
    model = create_model("lkca_net", **NETWORK)
    with torch.no_grad():  # a fresh network does next to nothing, so nothing would be lost
        model.upsampler.weight.mul_(20)
        for number, block in enumerate(model.body):
            block.layer_scale.fill_(0.05 * (number + 1))
    path = tmp_path_factory.mktemp("search") / "lkca.safetensors"
    save_network(model, path)
    return path


@pytest.fixture(scope="module")
def recipe(materials, weights) -> CompressRecipe:
    return CompressRecipe(
        data=str(materials.cube),
        weights=str(weights),
        bands="all",
        rank_target=0.5,
        rank_criterion="energy",
        method="lowrank",
        patch=16,
        threads=1,
        latency_tile=8,
        epochs=1,
        steps_per_epoch=2,
        batch=2,
        baseline_groups=0,
        precisions=("fp32",),
        targets=("cpu",),
        max_macs=0.5 * count(create_model("lkca_net", **NETWORK)).macs,
        max_psnr_drop=3.0,
        trials=5,
    )


@pytest.fixture
def run(recipe, workplace) -> Callable[..., dict[str, Any]]:
    def start(output: str = "out", resume: bool = False, **options: Any) -> dict[str, Any]:
        return compress(replace(recipe, **options), Path(output), resume=resume)

    return start


def of_seed(trials: list[Trial]) -> list[Trial]:
    """What the seed decides of trials; latencies are the machine's."""
    return [replace(trial, latency_ms=None) for trial in trials]


def test_what_the_search_says_is_so(run, recipe):
    report = run()
    validate(report)
    found, trials = report["search"], report["search"]["trials"]
    assert [t["number"] for t in trials] == list(range(5))
    assert len({json.dumps(t["changes"]) for t in trials}) == 5
    assert trials[0]["removed"] == 0
    assert [c["pass"] for c in trials[0]["changes"]] == ["lowrank"]

    workload = open_workload(recipe)
    for trial in trials:
        built = apply_changes(create_model("lkca_net", **NETWORK), trial["changes"])
        cost = count(built, tuple(workload.example().shape))
        assert (cost.params, cost.macs) == (trial["params"], trial["macs"])
        within = trial["macs"] <= recipe.max_macs
        assert within == (trial["validation"] is not None)
        assert trial["within"] == (within and trial["validation"]["mpsnr_drop"] <= 3.0)

    (chosen,) = (t for t in trials if t["chosen"])
    trained = [t for t in trials if t["validation"]]
    assert chosen["within"]
    assert chosen["finished"]["mpsnr_drop"] <= 3.0
    assert chosen["validation"]["mpsnr_drop"] == min(t["validation"]["mpsnr_drop"] for t in trained)
    student = load_network(Path("out/student.safetensors")).model
    assert count(student, tuple(workload.example().shape)).macs == report["student"]["macs"]
    assert report["student"]["macs"] == chosen["macs"] <= recipe.max_macs
    assert changes_of(student) == chosen["changes"]
    for name, network in (("student", student), ("teacher", workload.model)):
        measured = evaluate(network, workload.scene)
        assert report[name]["metrics"]["mpsnr"] == pytest.approx(measured["mpsnr"], abs=1e-4)
    tile = torch.rand(1, 12, 9, 7)
    with torch.no_grad():
        expected = student(tile).numpy()
    np.testing.assert_allclose(session("out/model.onnx")(tile.numpy()), expected, atol=1e-4)
    assert found["upsampler_alone"]["macs"] == trials[0]["macs"]
    page = Path("out/report.html").read_text()
    assert chosen["label"] in page
    assert "What the search tried" in page


@pytest.fixture
def searching(recipe, workplace) -> Callable[..., Search]:
    """Search alone, timed in PyTorch: nothing is exported."""
    workload = open_workload(recipe)
    sites = require_sites(workload.model, workload.example())
    spectra = {site.name: spectrum(workload.model, site) for site in sites}
    candidates = enumerate_candidates(surgery_options(recipe), sites, spectra)
    calibrated = calibrate(workload, sites, spectra, ["lowrank"], recipe.seed)
    before = evaluate(workload.model, workload.scene, "budget")
    for candidate in candidates:
        after = evaluate(calibrated.operate(candidate), workload.scene, "budget")
        candidate.psnr_drop = before["mpsnr"] - after["mpsnr"]

    def start(output: str, resume: bool = False) -> Search:
        folder = RunFolder(Path(output), overwrite=False, resume=resume)
        folder.create(recipe)
        try:
            found, _ = search(
                search_options(recipe),
                calibrated,
                candidates,
                candidates[-1],
                workload.model,
                folder.state(""),
                lambda _, closed: TrainResult(closed, [], {}),
                folder.remember,
            )
        finally:
            folder.release()
        return found

    return start


def test_an_interrupted_search_ends_as_if_it_had_not_been(searching, monkeypatch):
    whole = searching("whole")
    assert whole.runtime == "torch"
    once, attempt = [], loop._Bench.attempt

    def interrupted(self, number, design):
        if number == 4 and not once:
            once.append(number)
            raise KeyboardInterrupt
        return attempt(self, number, design)

    monkeypatch.setattr(loop._Bench, "attempt", interrupted)
    with pytest.raises(KeyboardInterrupt):
        searching("halves")
    halves = searching("halves", resume=True)
    assert of_seed(halves.trials) == of_seed(whole.trials)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"max_macs": 10.0}, "no design of 4 keeps to --max-macs 10"),
        ({"rank": 8}, "leave out one or the other"),
        ({"runtime": "onnxruntime-cuda"}, "--runtime onnxruntime-cuda cannot run here"),
    ],
)
def test_a_budget_that_nothing_meets_leaves_no_folder(run, options, reason):
    with pytest.raises(OptionError, match=reason) as refusal:
        run(trials=4, **options)
    assert "\n" not in str(refusal.value)
    assert not Path("out").exists()


def test_a_student_that_misses_the_quality_is_refused(recipe):
    pool = [Candidate("lowrank", 8, {}, 0, 0)]
    short = made_trials.trial(0, 500, 0.0)
    good, bad = (
        replace(short, finished={"psnr_drop": loss, "sam_drop": 0.1}) for loss in (2.9, 3.1)
    )
    require_quality(Search([good], good, pool, [], "torch"), budget_of(recipe))
    with pytest.raises(OptionError, match=r"no design of 1 keeps to every limit: design 0 comes"):
        require_quality(Search([bad], bad, pool, [], "torch"), budget_of(recipe))


class Finals:
    """Stands for what :func:`loop._finished` asks of a bench: known losses after full trainings."""

    def __init__(self, losses: dict[int, float], limit: float = 0.05) -> None:
        self.losses, self.budget, self.trained = losses, Budget({}, limit), list[int]()
        self.faster = None

    def build(self, design: Design) -> int:
        return design.removed

    def finish(self, trial: Trial, closed: int) -> TrainResult:
        self.trained.append(trial.number)
        model = torch.nn.Module()
        model.number = closed
        return TrainResult(model, [], {})

    def drop(self, model: torch.nn.Module) -> dict[str, float]:
        return {"psnr_drop": self.losses[model.number], "sam_drop": 0.0}


def short(losses: list[float]) -> list[Trial]:
    """Trials, the later the faster, with these losses after their short training."""
    return [
        made_trials.trial(number, 900 - 100 * number, loss, 90.0 / 2**number)
        for number, loss in enumerate(losses)
    ]


@pytest.mark.parametrize(
    ("after_short", "after_full", "trained", "taken"),
    [
        ([0.0, 0.1, 0.3], [0.0, 0.01, 0.04], [2], 2),  # the fastest, though not yet good enough
        ([0.0, 0.1, 0.3], [0.0, 0.01, 0.06], [2, 1], 1),  # it missed: the next
        ([0.0, 0.1, 0.3], [0.0, 0.01, 0.29], [2, 0], 0),  # it won next to nothing: no hope for 1
        ([0.0, 0.1, 0.9], [0.0, 0.01, 0.01], [1], 1),  # too far from it to hope
        (  # what holds after the short training is the last resort
            [0.0, 0.06, 0.07, 0.08, 0.1, 0.3], [0.0, 0.0, 0.06, 0.06, 0.06, 0.06],
            [5, 4, 3, 2, 0], 0,
        ),
        ([0.9, 0.8, 0.7], [0.4, 0.3, 0.2], [2], 2),  # nothing is near: the nearest
    ],
)  # fmt: skip
def test_designs_are_trained_to_the_end_until_one_holds(after_short, after_full, trained, taken):
    bench = Finals(dict(enumerate(after_full)))
    trials, chosen, training = loop._finished(bench, short(after_short), bench.finish)
    assert bench.trained == trained
    assert (chosen.number, training.model.number) == (taken, taken)
    assert [one.number for one in trials if one.finished] == sorted(trained)
    assert trials[taken] == chosen
    assert chosen.drop["psnr_drop"] == after_full[taken]
