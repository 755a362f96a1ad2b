from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from edgesr.cli.main import main
from edgesr.commands.analyze import analyze, draw, render
from edgesr.errors import OptionError
from edgesr.models import create_model
from edgesr.recipe.recipes import AnalyzeRecipe


def payload(page: Path) -> dict[str, Any]:
    """What the scripts of a page read."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found is not None
    return json.loads(found[1])


@pytest.fixture
def recipe(materials, workplace) -> AnalyzeRecipe:
    return AnalyzeRecipe(
        data=str(materials.cube),
        model="small_networks:bilinear",
        weights=str(materials.bilinear),
        patch=16,
        threads=1,
    )


def test_sites_and_spectra_of_a_third_party_network(recipe):
    """A dense [128, 72] upsampler; numbers from its weights alone."""
    analysis = analyze(recipe)
    (site,) = analysis.sites
    assert (site.name, site.kind, site.scale) == ("upsampler", "subpixel", 4)
    assert site.param_share == pytest.approx((128 * 72 + 128) / (128 * 72 + 128 + 64))
    weight = load_file(recipe.weights)["upsampler.weight"].flatten(1).double()
    values = torch.linalg.svdvals(weight)
    told = analysis.to_dict()["sites"][0]["spectrum"]
    assert told["singular_values"] == pytest.approx(values.tolist(), rel=1e-9)
    for kind, power in (("sum", 1), ("energy", 2)):
        share = values.pow(power).cumsum(0) / values.pow(power).sum()
        assert told["rank"][kind] == int((share < 0.9).sum()) + 1
    assert analysis.name == "small_networks:bilinear"
    assert analysis.cost.params == 128 * 72 + 128 + 64
    assert [share.label for share in analysis.shares] == ["x4"]  # it exists at one scale alone


def test_the_target_moves_the_rank(recipe):
    low, high = (
        analyze(replace(recipe, rank_target=target)).to_dict()["sites"][0]["spectrum"]
        for target in (0.5, 1.0)
    )
    assert low["rank"]["sum"] == 8
    assert high["rank"]["sum"] == 72
    assert (low["target"], high["target"]) == (0.5, 1.0)


def test_the_share_of_the_upsampler_at_other_scales(materials, recipe):
    """Figure 1: a known network is built for every scale, and counted."""
    analysis = analyze(replace(recipe, model="lkca_net", weights=str(materials.lkca_net)))
    assert [share.label for share in analysis.shares] == ["x2", "x4", "x8"]
    for share, scale in zip(analysis.shares, (2, 4, 8), strict=True):
        network = create_model("lkca_net", bands=12, scale=scale, blocks=1, channels=16)
        upsampler = sum(weight.numel() for weight in network.upsampler.parameters())
        total = sum(weight.numel() for weight in network.parameters())
        assert (share.backbone, share.upsampler) == (total - upsampler, upsampler)


def test_the_text_names_what_a_reader_looks_for(recipe):
    text = render(analyze(recipe))
    for part in ("small_networks:bilinear x4", "8 -> 128 channels, kernel 3x3", "128 x 72",
                 "90% of the sum   rank 39", "90% of the energy  rank 16"):  # fmt: skip
        assert part in text


def test_the_page_is_written_once(recipe, workplace):
    analysis = analyze(recipe)
    page = draw(analysis, Path("new/figures"))
    assert [path.name for path in page.parent.iterdir()] == ["spectrum.html"]
    before = page.read_bytes()
    with pytest.raises(OptionError, match=r"spectrum\.html exists; pass --overwrite"):
        draw(analysis, Path("new/figures"))
    assert draw(analysis, Path("new/figures"), overwrite=True).read_bytes() == before
    (workplace / "file").touch()
    with pytest.raises(OptionError, match="cannot be written: file is no folder"):
        draw(analysis, Path("file/figures"))


def test_every_site_gets_its_figure(recipe):
    analysis = analyze(recipe)
    site, found = analysis.sites[0], analysis.spectra["upsampler"]
    several = replace(
        analysis,
        sites=[site, replace(site, name="second")],
        spectra={"upsampler": found, "second": found},
    )
    charts = payload(draw(several, Path("figures")))["charts"]
    assert set(charts) == {"share", "spectrum-0", "spectrum-1"}
    assert charts["spectrum-1"] == charts["spectrum-0"]


def test_the_page_shows_the_figures_and_loads_nothing(recipe):
    """The same numbers as the text; singular values cumulated as torch does."""
    analysis = analyze(replace(recipe, rank_target=0.9))
    page = draw(analysis, Path("figures"))
    charts, text = payload(page)["charts"], page.read_text("utf-8")
    backbone, upsampler = charts["share"]["light"]["data"]
    assert (backbone["y"], backbone["x"], upsampler["x"]) == (["x4"], [64], [128 * 72 + 128])
    values = torch.linalg.svdvals(load_file(recipe.weights)["upsampler.weight"].flatten(1).double())
    curve = charts["spectrum-0"]["dark"]["data"][2]
    assert curve["y"][1:] == pytest.approx((values.cumsum(0) / values.sum()).tolist())
    assert "128 × 72" in text
    assert "The first 39 hold 90 % of their sum" in text
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'")
    head = text.split("<script")[0]
    assert not re.search(r"\b(src|href)=\"(?!#|data:)", head)


def test_names_are_no_markup_on_the_page(recipe):
    analysis = replace(analyze(recipe), name="<b>net</b>")
    text = draw(analysis, Path("figures")).read_text("utf-8")
    assert "<b>net" not in text
    assert "&lt;b&gt;net" in text


def test_the_command(recipe, capsys):
    options = [
        "analyze", "--data", recipe.data, "--model", recipe.model, "--weights", recipe.weights,
        "--patch", "16", "--threads", "1",
    ]  # fmt: skip
    assert main([*options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == analyze(recipe).to_dict()
    assert main([*options, "--output", "figures"]) == 0
    assert "8 -> 128 channels" in capsys.readouterr().out
    assert Path("figures/spectrum.html").is_file()
    assert main([*options, "--output", "figures"]) == 2
