"""Trials are done once, in order, and survive an interruption."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reproduce_fakes import QUICK, SCENE, lkca, saved_cube

from edgesr.cube import make_scene, read_cube
from edgesr.distill import checkpoint as checkpoints
from edgesr.errors import DataError
from edgesr.evaluation.evaluate import evaluate, evaluate_bicubic
from edgesr.loading.weights import load_network
from edgesr.reproduce import runner as runner_module
from edgesr.reproduce.runner import Runner
from edgesr.reproduce.scenes import Scenes
from edgesr.reproduce.store import Store, load
from edgesr.reproduce.trial import BICUBIC, Surgery, Trial
from edgesr.surgery.structure import changes_of


@pytest.fixture(scope="module")
def cube(tmp_path_factory) -> Path:
    return saved_cube(tmp_path_factory.mktemp("cube") / "made.npy")


@pytest.fixture
def run(cube, tmp_path):
    """Do trials with a fresh runner, as another process would, on one results file."""

    def work(*trials: Trial, keep_all: bool = True) -> Store:
        store = Store(tmp_path / "results.json")
        Runner(store, Scenes({"made": str(cube)})).run_all(trials, keep_all)
        return store

    return work


def untrainable(*_, **__):
    raise AssertionError("trained again")


def test_a_result_is_what_the_kept_network_measures(run, cube) -> None:
    trial = lkca()
    store = run(trial)
    result, scene = store.get(trial), make_scene(read_cube(cube), patch=16, bands="all",
                                                 normalisation="scene")  # fmt: skip
    model = load_network(store.weights(trial)).model
    assert result["test"] == pytest.approx(evaluate(model, scene), abs=1e-5)
    assert result["params"] == sum(p.numel() for p in model.parameters())
    assert result["epochs"] == 1
    assert result["rank"]["full"] == 6 * 16
    assert not list(store.folder.glob("*.checkpoint"))


def test_bicubic_needs_no_network(run, cube) -> None:
    trial = Trial(SCENE, BICUBIC)
    scene = make_scene(read_cube(cube), patch=16, bands="all", normalisation="scene")
    assert run(trial).get(trial)["test"] == pytest.approx(evaluate_bicubic(scene), abs=1e-5)


def test_what_is_done_is_not_done_again(run, monkeypatch) -> None:
    first = run(lkca())
    monkeypatch.setattr(runner_module, "train", untrainable)
    assert run(lkca()).content == first.content


def test_an_interrupted_run_goes_on(run, monkeypatch) -> None:
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    run(lkca())
    with monkeypatch.context() as patch:
        patch.setattr(runner_module, "train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(lkca(), lkca(seed=1))
    assert run(lkca(), lkca(seed=1)).get(lkca(seed=1)) is not None


def test_a_training_goes_on_from_its_checkpoint(run, monkeypatch) -> None:
    trial = lkca().but(training={"epochs": 3})
    whole = run(trial).get(trial)
    other = trial.but(config={**trial.config, "drop_path": 0.0})  # another key, the same network
    genuine, saved = checkpoints.save, []

    def interrupted_after_two(path, description, state):
        genuine(path, description, state)
        saved.append(state["epoch"])
        if len(saved) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", interrupted_after_two)
        with pytest.raises(KeyboardInterrupt):
            run(other)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", lambda _, __, state: saved.append(state["epoch"]))
        resumed = run(other).get(other)
    assert saved == [1, 2, 3]
    assert resumed["test"] == whole["test"]


def test_only_networks_that_others_need_are_kept(run) -> None:
    base = lkca()
    cut = Trial(SCENE, "lkca_net", source=base, surgery=Surgery("grouped", 2))
    store = run(cut, keep_all=False)
    assert store.weights(base).exists()
    assert not store.weights(cut).exists()


@pytest.mark.parametrize(("method", "setting"), [("grouped", 4), ("lowrank", 5)])
def test_surgery_is_the_closed_form_on_the_source(run, method, setting) -> None:
    base = lkca()
    cut = Trial(SCENE, "lkca_net", source=base, surgery=Surgery(method, setting))
    store = run(cut)
    result, (change,) = store.get(cut), changes_of(load_network(store.weights(cut)).model)
    assert change["pass"] == method
    assert result["upsampler_params"] < store.get(base)["upsampler_params"]
    assert "validation" not in result  # nothing was trained


def test_a_student_is_distilled_from_the_kept_teacher(run, monkeypatch) -> None:
    teacher = lkca(blocks=2)
    student = lkca(groups=4).but(teacher=teacher, training={"alpha": 1.0})
    genuine, given = runner_module.train, []

    def watched(model, scenes, config, **options):
        given.append((len(model.body), options["teacher"], [s.name for s in options["sites"]]))
        return genuine(model, scenes, config, **options)

    monkeypatch.setattr(runner_module, "train", watched)
    run(student)
    assert [blocks for blocks, _, _ in given] == [2, 1]
    assert given[0][1:] == (None, [])
    assert len(given[1][1].body) == 2
    assert given[1][2] == ["upsampler"]


def test_a_teacher_whose_weights_are_gone_is_trained_again(run) -> None:
    base = lkca()
    store = run(base)
    before = store.get(base)["test"]
    store.weights(base).unlink()
    cut = Trial(SCENE, "lkca_net", source=base, surgery=Surgery("lowrank", 5))
    store = run(cut)
    assert store.weights(base).exists()
    assert store.get(base)["test"] == pytest.approx(before)


def test_keys_do_not_depend_on_the_order_of_options() -> None:
    one = Trial(SCENE, "lkca_net", {"blocks": 1, "groups": 2}, QUICK)
    other = Trial(SCENE, "lkca_net", {"groups": 2, "blocks": 1}, dict(reversed(QUICK.items())))
    assert one.key == other.key
    assert one.key != one.but(seed=1).key


def test_a_file_of_something_else_is_refused(tmp_path) -> None:
    for text in ("[]", "{", json.dumps({"format": 99, "trials": {}})):
        path = tmp_path / "other.json"
        path.write_text(text)
        with pytest.raises(DataError, match=r"results .*choose another --output"):
            load(path)
