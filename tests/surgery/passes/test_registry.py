"""A pass of another package takes part in everything; no pass is needed for the others."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from typing import Any

import edgesr_export.registry
import pytest
import torch

from edgesr.compress.candidates import (
    SurgeryOptions,
    calibrate,
    enumerate_candidates,
    measure_candidates,
    select,
)
from edgesr.cube import Cube, make_scene
from edgesr.errors import ModelError, OptionError
from edgesr.loading.standalone import write_loader
from edgesr.loading.weights import load_network, save_network
from edgesr.loading.workload import Workload
from edgesr.models import create_model
from edgesr.surgery import (
    PASSES,
    changes_of,
    choose,
    decompose,
    find_layers,
    find_sites,
    shrink_all,
    spectrum,
    walk,
)
from edgesr.surgery.passes import BackbonePass, UpsamplerPass, passes_of

TOY = '''
import torch

from edgesr.surgery.passes import BackbonePass, UpsamplerPass
from edgesr.surgery.structure import Factorised, Geometry, positive


class Bottleneck(Factorised):
    """Everything through the first ``width`` channels."""

    def __init__(self, geometry, width):
        super().__init__(geometry)
        self.keep = geometry.pointwise(geometry.in_channels, width, bias=False)
        self.expand = geometry.build(width, geometry.out_channels, 1, bias=geometry.bias)


class Toy(UpsamplerPass, BackbonePass):
    name, title, letter, setting = "toy", "first channels", "w", "width"
    colours, marker = ("#112233", "#ddeeff"), "star"
    prepared = []  # what a test counts

    def shape(self, change, layers):
        width = positive(change, "width")
        return [Bottleneck(Geometry.of(layer), width) for layer in layers]

    def admissible(self, site):
        return [width for width in (8, 4, 2) if width < site.in_channels]

    def cost(self, site, setting):
        weights = site.in_channels * setting + setting * site.out_channels * 9
        return weights + site.out_channels, weights * site.positions

    def fits(self, site):
        return site.kernel == (3, 3) and site.groups == 1

    def prepare(self, model, site, moments):
        self.prepared.append(site.name)
        return model.get_submodule(site.layers[0]).weight.detach()

    @torch.no_grad()
    def fill(self, model, student, change, prepared):
        [path] = change["layers"]
        old, new = model.get_submodule(path), student.get_submodule(path)
        width = change["width"]
        new.keep.weight.copy_(torch.eye(prepared.shape[1])[:width, :, None, None])
        new.expand.weight.copy_(prepared[:, :width])
        new.expand.bias.copy_(old.bias)

    def for_error(self, site, prepared, error, step):
        return 1
'''


@pytest.fixture
def toy(kept, tmp_path, monkeypatch):
    """The pass ``toy``, offered by the entry point of an installed package."""
    (tmp_path / "toy_package.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    kept(PASSES)
    offer(monkeypatch, "toy", "toy_package:Toy")
    yield PASSES["toy"]
    del sys.modules["toy_package"]


def offer(monkeypatch, name, value):
    point = EntryPoint(name, value, "edgesr.passes")
    monkeypatch.setattr(edgesr_export.registry, "entry_points", lambda group: [point])


@pytest.fixture
def hidden(kept, monkeypatch):
    """Take a pass of the project's own out of the registry."""

    def hide(name):
        modules = {key: one for key, one in PASSES._modules().items() if key != name}
        del kept(PASSES)[name]
        monkeypatch.setattr(PASSES, "_modules", lambda: modules)

    return hide


@pytest.fixture(scope="module")
def workload():
    torch.manual_seed(0)
    model = create_model("lkca_net", bands=6, scale=2, blocks=2, channels=16).eval()
    with torch.no_grad():
        model.upsampler.weight.mul_(20)
    pixels = torch.rand(64, 64, 6, generator=torch.Generator().manual_seed(0)).numpy()
    return Workload(
        make_scene(Cube(pixels, "noise"), scale=2, patch=16, bands="all"), model, {}, "", ""
    )


@pytest.fixture
def site(workload):
    [found] = find_sites(workload.model, workload.example())
    return found


def enumerated(workload, site, **options):
    spectra = {site.name: spectrum(workload.model, site)}
    return enumerate_candidates(SurgeryOptions(**options), [site], spectra), spectra


def test_a_pass_of_another_package_comes_last_in_the_walk(toy, site):
    assert list(passes_of(UpsamplerPass)) == ["lowrank", "grouped", "toy"]
    methods = [candidate.method for candidate in walk(site, 16)]
    assert list(dict.fromkeys(methods)) == ["lowrank", "grouped", "toy"]
    assert [c.label for c in walk(site, 16, ["toy"])] == ["toy w=8", "toy w=4", "toy w=2"]
    assert toy.label(4) == "first channels w=4"


def test_a_pass_of_another_package_is_measured_chosen_stored_and_loaded(
    toy, workload, site, tmp_path
):
    candidates, spectra = enumerated(workload, site, method="toy")
    calibrated = calibrate(workload, [site], spectra, ["toy"], seed=0)
    tile = workload.example(8)
    measured = measure_candidates(calibrated, candidates, tile, 1, tmp_path)
    assert toy.prepared == ["upsampler"]  # once for all settings
    assert [one.setting for one in measured] == [8, 4, 2]
    for predicted, one in zip(candidates, measured, strict=True):
        [after] = find_sites(calibrated.operate(one), workload.example())
        assert one.latency_ms > 0
        assert predicted.upsampler_params == one.upsampler_params == after.params
        assert predicted.upsampler_macs == after.macs

    chosen = select(measured, SurgeryOptions(method="toy"), 1000.0)
    student = calibrated.operate(chosen)
    change = {"pass": "toy", "site": "upsampler", "layers": ["upsampler"], "width": chosen.setting}
    assert changes_of(student) == [change]
    save_network(student, tmp_path / "student.safetensors")
    loaded = load_network(tmp_path / "student.safetensors").model
    assert changes_of(loaded) == [change]
    write_loader(student, tmp_path / "student.py")
    written: dict[str, Any] = {"__name__": "student", "__file__": str(tmp_path / "student.py")}
    exec((tmp_path / "student.py").read_text(), written)
    with torch.no_grad():
        expected = student(tile)
        assert torch.equal(loaded(tile), expected)
        assert torch.equal(written["load"]()(tile), expected)


def test_a_file_whose_pass_is_not_installed_is_refused_in_one_line(
    toy, workload, site, tmp_path, monkeypatch
):
    student, _ = toy.apply(workload.model, site, 4)
    save_network(student, tmp_path / "student.safetensors")
    del PASSES._things["toy"]
    monkeypatch.setattr(edgesr_export.registry, "entry_points", lambda group: [])
    with pytest.raises(ModelError, match="install the package that adds 'toy'") as e:
        load_network(tmp_path / "student.safetensors")
    assert "\n" not in str(e.value)


def test_a_pass_of_another_package_shrinks_layers_of_the_backbone(toy, workload):
    layers = find_layers(workload.model, workload.example())
    shared = {layer.name: decompose(workload.model, layer) for layer in layers}
    student, changes = shrink_all(workload.model, layers, 0.5, shared)
    taken = {change["site"] for change in changes if change["pass"] == "toy"}
    assert taken == {layer.name for layer in layers if toy.fits(layer)} != set()
    assert changes_of(student) == changes


def test_a_setting_that_a_site_cannot_have_is_refused(toy, workload, site):
    with pytest.raises(OptionError, match=r"'upsampler' cannot have width 3: choose from \[8"):
        toy.apply(workload.model, site, 3)


def test_layers_that_no_file_can_build_are_named(toy, workload, site, tmp_path, monkeypatch):
    student, _ = toy.apply(workload.model, site, 4)
    kind = type(student.upsampler)
    monkeypatch.setattr(kind, "forward", lambda self, x: self.expand(self.keep(x).relu()))
    with pytest.raises(ModelError, match="cannot build a Bottleneck, which its pass put into"):
        write_loader(student, tmp_path / "student.py")
    assert not (tmp_path / "student.py").exists()


def test_a_broken_package_is_named_and_left_out(site, monkeypatch):
    monkeypatch.setattr(PASSES, "_broken", set())
    offer(monkeypatch, "lost", "a_module_that_is_nowhere")
    with pytest.warns(RuntimeWarning, match="the pass 'lost' .* is left out: ModuleNotFoundError"):
        assert list(passes_of(UpsamplerPass)) == ["lowrank", "grouped"]


def test_the_others_do_without_any_one_pass(hidden, workload, site):
    hidden("lowrank")
    candidates, _ = enumerated(workload, site)
    assert {candidate.method for candidate in candidates} == {"grouped"}
    with pytest.raises(OptionError, match="no pass that is installed has --rank"):
        enumerated(workload, site, settings={"rank": 8})
    with pytest.raises(OptionError, match="method must be auto or grouped, got 'lowrank'"):
        choose(candidates, 1.0, method="lowrank")


def test_the_backbone_does_without_any_one_pass(hidden, workload):
    hidden("tucker")
    layers = find_layers(workload.model, workload.example())
    assert all(set(decompose(workload.model, layer)) == {"lowrank"} for layer in layers)
    assert list(passes_of(BackbonePass)) == ["lowrank"]
