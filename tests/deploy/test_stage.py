"""When fine-tuned weights replace those that were only quantised."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from edgesr.compress import compress
from edgesr.compress.deploy_config import deploy_config
from edgesr.deploy import Limits, Model
from edgesr.deploy import stage as deployment
from edgesr.deploy.stage import Artifacts, DeployConfig
from edgesr.loading.workload import open_workload
from edgesr.recipe.recipes import CompressRecipe
from edgesr.stored import typed


def model(layers: int, left: int) -> Model:
    reasons = ["within the limits"] * layers + ["they would not hold"] * left
    return Model(
        "cpu",
        "int8",
        "cpu-int8.onnx",
        [],
        [],
        [{"name": "", "kind": "", "precision": "int8", "reason": reason} for reason in reasons],
        {"int8": layers, "fp32": left},
        left_out=left,
    )


@dataclass(frozen=True)
class FakeMaker:
    """Writes "tuned" and answers with a model of ``layers`` layers in int8."""

    folder: Path
    layers: int
    quality: dict[str, tuple[float, float]]
    limits: Limits = field(default_factory=lambda: Limits(0.05, 0.05))
    threads: int = 1
    asked: list[tuple[Limits, dict[str, np.ndarray] | None]] = field(default_factory=list)

    reference: dict[str, np.ndarray] | None = None

    def evaluate(self, network: object) -> dict[str, np.ndarray]:
        mpsnr, sam = self.quality[str(network)]
        return {"mpsnr": mpsnr + np.zeros((6, 3)), "sam": sam + np.arange(6)}

    def make(self, source: Path, target: str, precision: str) -> Model:
        self.asked.append((self.limits, self.reference))
        (self.folder / "cpu-int8.onnx").write_text("tuned")
        return model(self.layers, 0)


@pytest.fixture
def tuned(tmp_path, monkeypatch):
    monkeypatch.setattr(deployment, "open_runner", lambda path, runtime, threads: path)
    (tmp_path / "cpu-int8.onnx").write_text("plain")

    def run(layers: int, quality: tuple[float, float]):
        builder = FakeMaker(tmp_path, layers, {"plain": (30.0, 2.0), "tuned": quality})
        found = deployment._tuned(builder, [model(5, 3)], Path("plain"), Path("tuned"))
        return found[0], (tmp_path / "cpu-int8.onnx").read_text(), builder.asked

    return run


def test_more_layers_in_int8_win(tuned):
    found, content, _ = tuned(8, (30.0, 2.0))
    assert (found.tuned, found.counts["int8"], content) == (True, 8, "tuned")


def test_no_more_layers_keep_the_plain_file(tuned):
    found, content, _ = tuned(5, (30.0, 2.0))
    assert (found.tuned, content) == (False, "plain")


def test_the_limits_hold_against_the_network_before_tuning(tuned):
    _, _, asked = tuned(8, (29.98, 2.01))
    [(limits, reference)] = asked
    assert limits == Limits(0.05, 0.05)
    np.testing.assert_array_equal(reference["mpsnr"], np.full((6, 3), 30.0))
    np.testing.assert_array_equal(reference["sam"], 2.0 + np.arange(6))


def test_tuning_that_alone_breaks_the_limits_is_dropped(tuned):
    found, content, asked = tuned(8, (29.9, 2.0))
    assert (found.tuned, content, asked) == (False, "plain", [])


def test_limits_are_the_recipe_s_budget():
    assert deploy_config(CompressRecipe(max_psnr_drop=0.2)).limits == Limits(0.2, 0.05)
    assert deploy_config(CompressRecipe(max_sam_drop=0.3)).limits == Limits(0.05, 0.3)
    assert deploy_config(CompressRecipe(confidence=0)).limits == Limits(0.05, 0.05, 0)


def test_what_was_made_survives_json():
    made = Artifacts([model(2, 1)], [], [])
    assert typed(Artifacts, made.to_dict()) == made
    assert replace(made, models=[]) != made


def test_a_run_tunes_where_layers_were_left_out(workplace, plain_export, small_recipe, caplog):
    pytest.importorskip("nncf", reason="the extra int8 is not installed")
    recipe = replace(
        small_recipe,
        groups=2,
        targets=("cpu", "tensorrt"),
        precisions=("fp32", "int8"),
        max_psnr_drop=0.0,
        max_sam_drop=0.002,
        qat=True,
    )
    with caplog.at_level("INFO", logger="edgesr"):
        report = compress(recipe, Path("run"))
    told = caplog.text
    models = [m for m in report["deployment"]["models"] if m["precision"] == "int8"]
    left_out = any(
        layer["reason"].startswith("left out") for model in models for layer in model["layers"]
    )
    assert ("quantisation simulated" in told) == (left_out or any(m["tuned"] for m in models))
    for model in models:
        assert model["validation"]["drop"]["mpsnr"] <= 0
        assert model["validation"]["drop"]["sam"] <= 0.002


def test_a_run_for_a_target_of_another_package(workplace, plain_export, small_recipe, numpy_target):
    report = compress(replace(small_recipe, epochs=0, targets=("cpu", numpy_target)), Path("run"))
    (row,) = (one for one in report["deployment"]["models"] if one["target"] == numpy_target)
    assert row["max_abs_difference"] < 1e-4
    assert row["latency_ms"]["median"] > 0
    assert CompressRecipe.load(Path("run/recipe.toml")).targets == ("cpu", numpy_target)


def test_a_run_where_a_usual_target_is_not_there(
    workplace, plain_export, small_recipe, without_openvino
):
    usual = CompressRecipe().targets
    assert usual == ("cpu", "tensorrt")
    report = compress(replace(small_recipe, epochs=0, targets=usual), Path("run"))
    made = {one["target"] for one in report["deployment"]["models"]}
    assert made == {"cpu", "tensorrt"}


def test_the_stages_need_no_recipe_and_no_run(workplace, plain_export, subject, small_recipe):
    workload = open_workload(small_recipe)
    config = DeployConfig(precisions=("fp32",), tile=8)
    made = deployment.make(config, Path(), subject.source, workload)
    Path("scratch").mkdir()
    table, timings = deployment.measure(
        config, Path(), made, workload, subject.network, {}, Path("scratch")
    )
    profile = deployment.profile(config, Path(), made, workload, Path("scratch"))
    assert [one["path"] for one in table["models"]] == ["models/cpu-fp32.onnx"]
    assert set(timings) >= {"teacher plain", "teacher rewritten"}
    assert [one["name"] for one in profile["networks"]] == ["teacher", "student"]
