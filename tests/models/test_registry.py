from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from edgesr_export.errors import ExportError
from torch import nn

from edgesr.errors import ModelError
from edgesr.models import available, create_model, register

SMALL: dict[str, dict[str, Any]] = {
    "lkca_net": {"bands": 6, "scale": 2, "blocks": 1, "channels": 16},
    "dacn": {"bands": 40, "scale": 2, "overlap": 4, "variant": "published"},
    "vdsr": {"bands": 6, "scale": 2},
    "3dfcnn": {"bands": 6, "scale": 2},
}


def test_available() -> None:
    assert available() == sorted(SMALL)


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_config_rebuilds_the_network(name: str) -> None:
    model = create_model(name, **SMALL[name]).eval()
    assert (model.name, model.bands, model.scale) == (name, SMALL[name]["bands"], 2)
    assert SMALL[name].items() <= model.config.items()
    twin = create_model(name, **json.loads(json.dumps(model.config))).eval()
    twin.load_state_dict(model.state_dict())
    lr = torch.rand(1, model.bands, 4, 4)
    torch.testing.assert_close(twin(lr), model(lr))


def test_raw_dacn_rebuilds() -> None:
    model = create_model("dacn", scale=2)
    assert (model.bands, model.name) == (32, "dacn")
    assert create_model("dacn", **model.config).config == model.config


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("srcnn", {}, "unknown network 'srcnn'; choose one of 3dfcnn, dacn, lkca_net, vdsr"),
        ("vdsr", {"bands": 4, "blocks": 2}, "no option blocks; its options are bands, scale"),
        ("lkca_net", {}, "lkca_net needs bands"),
        ("lkca_net", {"bands": 102, "groups": 3}, "choose one of 1, 2, 4, 8, 16$"),
        ("lkca_net", {"bands": 102, "groups": 32}, r"scale\^2=16; choose one of 1, 2, 4, 8, 16$"),
        ("lkca_net", {"bands": 128, "scale": 8, "groups": 128}, "choose one of .*32, 64$"),
        ("lkca_net", {"bands": 9, "scale": 3, "groups": 9}, "choose one of 1$"),
        ("lkca_net", {"bands": 9, "groups": 0}, "groups=0"),
        ("lkca_net", {"bands": 9, "groups": True}, "groups=True"),
        ("lkca_net", {"bands": 0}, "bands=0; give a whole number of at least 1"),
        ("lkca_net", {"bands": 9.0}, "bands=9.0"),
        ("lkca_net", {"bands": 9, "scale": 1}, "scale=1; give a whole number of at least 2"),
        ("lkca_net", {"bands": 9, "blocks": 0}, "blocks=0"),
        ("lkca_net", {"bands": 9, "channels": 40}, "multiple of 16, such as 32"),
        ("lkca_net", {"bands": 9, "dilations": (1, 2, 3)}, "two whole numbers"),
        ("lkca_net", {"bands": 9, "dilations": 3}, "two whole numbers"),
        ("lkca_net", {"bands": 9, "dilations": (0, 3)}, "dilations=0"),
        ("lkca_net", {"bands": 9, "drop_path": 1}, "drop_path=1; give a rate from 0 to below 1"),
        ("lkca_net", {"bands": 9, "drop_path": float("nan")}, "drop_path=nan"),
        ("lkca_net", {"bands": 9, "paper_exact": "yes"}, "choose one of False, True"),
        ("dacn", {"scale": 3}, "scale=3; choose one of 2, 4, 8"),
        ("dacn", {"variant": "keras"}, "variant='keras'; choose one of paper, published"),
        ("dacn", {"bands": 40, "overlap": 32}, "overlap=32"),
        ("vdsr", {"bands": 4, "scale": "x4"}, "scale='x4'"),
        ("3dfcnn", {"bands": -1}, "bands=-1"),
    ],
)
def test_impossible_combinations(name: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message) as refusal:
        create_model(name, **config)
    assert "\n" not in str(refusal.value)


def test_a_taken_name_leaves_the_registry_unchanged() -> None:
    before = available()
    with pytest.raises(ExportError, match="registered already"):
        register("vdsr")(nn.Identity)
    assert available() == before
    assert create_model("vdsr", bands=4).name == "vdsr"
