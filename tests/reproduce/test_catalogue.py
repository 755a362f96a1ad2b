"""What is run for which row; the published counts hold for the networks of the rows."""

from __future__ import annotations

import pytest

from edgesr.cube.protocols import PROTOCOLS
from edgesr.errors import OptionError
from edgesr.evaluation.cost import count
from edgesr.models import create_model
from edgesr.reproduce import catalogue
from edgesr.reproduce.published import figures, rows
from edgesr.reproduce.runner import _ordered
from edgesr.reproduce.trial import Trial

PAPERS = [name for name in catalogue.TITLES if name != "real"]
OTHERS_NETWORKS = {"SSPSR", "MSDformer", "ESSAformer", "EDSR", "MCNet", "MSFMNet", "PDENet"} | {
    "AS3 ITransUNet", "CSSFENet", "FGIN with group size 32", "DSDCN with group size 32",
}  # fmt: skip
SWAPPED = {("houston2018", 4, "VDSR"), ("houston2018", 4, "3DFCNN")}
"""Rows that the paper prints with each other's parameters and FLOPs."""


def table(name: str, seeds: int = 1):
    (found,) = catalogue.find(name, catalogue.cubes_of(name), seeds)
    return found


@pytest.mark.parametrize("name", PAPERS)
def test_every_row_of_a_network_that_we_have_is_run(name: str) -> None:
    for row in table(name).rows:
        assert (row.trials == ()) == (row.label in OTHERS_NETWORKS), row.label
        for trial in row.trials:
            assert trial.scene.protocol == row.cube
            assert trial.scene.scale == row.scale


def _networks() -> list[tuple[str, dict, dict]]:
    found = {}
    for name in PAPERS:
        for row in table(name).rows:
            if "params_M" in row.published and row.trials:
                trial, bands = row.trials[0], PROTOCOLS[row.cube].shape[2]
                config = {"bands": bands, "scale": row.scale, **trial.config}
                printed = dict(row.published)
                if (row.cube, row.scale, row.label) in SWAPPED:
                    twin = next(iter({"VDSR", "3DFCNN"} - {row.label}))
                    printed = next(
                        figures(other)
                        for other in rows(name)
                        if (other["label"], other["scale"]) == (twin, row.scale)
                    )
                found[f"{name} {row.label} x{row.scale}"] = (trial.network, config, printed)
    return [(key, *value) for key, value in found.items()]


NETWORKS = _networks()


def test_all_printed_costs_are_checked() -> None:
    assert len(NETWORKS) == 6 + 3 * 2 * 5  # Table I; three cubes, two scales, five networks


@pytest.mark.parametrize(
    ("network", "config", "printed"), [case[1:] for case in NETWORKS], ids=[c[0] for c in NETWORKS]
)
def test_parameters_and_flops_are_the_published_ones(network, config, printed) -> None:
    cost = count(create_model(network, **config))
    assert round(cost.params / 1e6, 3) == pytest.approx(printed["params_M"], abs=1e-9)
    assert round(cost.macs / 1e9, 3) == pytest.approx(printed["gmacs"], abs=1e-9)


def _row(name: str, label: str, scale: int = 4) -> Trial:
    return next(
        row.trials[0] for row in table(name).rows if (row.label, row.scale) == (label, scale)
    )


def test_what_two_tables_share_is_run_once() -> None:
    """The paper's d = 0.66, alpha = 0.01 with all terms is the LKCA-KD of Table V."""
    one = {
        _row("lkca:2", "d = 0.66").key,
        _row("lkca:3", "alpha = 0.01").key,
        _row("lkca:4", "SAM + grad + cos").key,
        _row("lkca:5", "LKCA-KD").key,
    }
    assert len(one) == 1
    assert _row("lkca:5", "LKCA-Net").key == _row("lkca:1", "16 blocks").key
    assert _row("lkca:5", "LKCA-KD").teacher == _row("lkca:1", "32 blocks")


def test_distillation_differs_from_lr_by_its_teacher_alone() -> None:
    kd, lr = _row("lkca:5", "LKCA-KD"), _row("lkca:5", "LKCA-LR")
    assert kd.config == lr.config
    assert kd.config["groups"] == 8
    assert {"alpha": 0.01, "decay": 0.66, "decay_every": 10}.items() <= kd.training.items()
    assert lr.teacher is None


def test_rows_vary_what_their_table_varies() -> None:
    assert [row.trials[0].training["decay"] for row in table("lkca:2").rows] == [1, 0.75, 0.66, 0.5]
    alphas = [row.trials[0].training["alpha"] for row in table("lkca:3").rows]
    assert alphas == [1.0, 0.1, 0.05, 0.01, 0.005]
    assert _row("lkca:4", "SAM + grad").training["kd_cos"] == 0
    assert [row.trials[0].config["blocks"] for row in table("lkca:1").rows] == [
        4,
        8,
        16,
        32,
        48,
        64,
    ]
    assert _row("dacn:1", "DACN without multi-head attention").config == {"attention": False}
    assert _row("dacn:1", "DACN without custom loss").training["loss"] == "mse"


def test_dacn_is_measured_as_its_authors_do() -> None:
    for name in ("dacn:1", "dacn:2"):
        for row in table(name).rows:
            assert all(trial.convention == "dacn" for trial in row.trials)


def test_seeds_repeat_a_row_but_not_bicubic() -> None:
    by_label = {row.label: row for row in table("lkca:5", seeds=3).rows if row.scale == 4}
    assert [trial.seed for trial in by_label["LKCA-KD"].trials] == [0, 1, 2]
    assert len({trial.key for trial in by_label["LKCA-KD"].trials}) == 3
    assert len(by_label["Bicubic"].trials) == 1


def test_what_others_need_comes_first() -> None:
    ordered = _ordered(table("lkca:4").trials())
    keys = [trial.key for trial in ordered]
    assert len(keys) == len(set(keys)) == 3
    assert keys.index(ordered[1].teacher.key) == 0


def test_cubes_that_are_not_given_leave_rows_without_trials() -> None:
    (found,) = catalogue.find("lkca:fig4", ["houston2018"], 1)
    assert [bool(row.trials) for row in found.rows] == [False, True, False]


def test_a_rehearsal_keeps_the_networks_and_shortens_everything_else() -> None:
    (found,) = catalogue.rehearsed([table("lkca:5")])
    for row, full in zip(found.rows, table("lkca:5").rows, strict=True):
        for trial, whole in zip(row.trials, full.trials, strict=True):
            assert (trial.network, trial.config) == (whole.network, whole.config)
            assert trial.key != whole.key
            for short in (trial, trial.teacher):
                if short is not None and short.training:
                    assert short.training["epochs"] * short.training["steps_per_epoch"] == 1
                    assert short.scene.protocol == "auto"


def test_epochs_reach_the_teacher_too() -> None:
    (found,) = catalogue.shortened([table("lkca:4")], 7)
    trial = found.rows[0].trials[0]
    assert trial.training["epochs"] == trial.teacher.training["epochs"] == 7
    assert trial.training["alpha"] == 0.01


def test_an_unknown_table() -> None:
    with pytest.raises(OptionError, match=r"no table 'lkca:8'; choose one of lkca:1, "):
        catalogue.find("lkca:8", [], 1)
