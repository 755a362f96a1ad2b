"""A tile of EnMAP from weights to a COG that others accept; for who has it beside the checkout."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from edgesr.cli.main import main
from edgesr.cube import make_scene, open_cube, read_cube
from edgesr.loading.card import trained_on
from edgesr.loading.weights import save_network
from edgesr.models import create_model

TILE = Path(__file__).resolve().parents[3] / "shared/data/formats/enmap_tile_a.tif"
BAD = range(129, 135)  # where water absorbs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not TILE.is_file(), reason=f"{TILE.name} is not beside the checkout"),
]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Of a small network, after a few steps on the tile, mirrored to what can be divided."""
    cube = read_cube(TILE)
    data = np.pad(cube.data, ((0, 64), (0, 64), (0, 0)), mode="symmetric")
    good = [band for band in range(cube.bands) if band not in BAD]
    scene = make_scene(
        replace(cube, data=data, mask=None), patch=32, bands=",".join(map(str, good))
    )
    torch.manual_seed(0)
    network = create_model("lkca_net", bands=len(good), scale=4, blocks=1, channels=16)
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    for lr, hr in map(scene.pair, scene.train):
        optimiser.zero_grad()
        (network(lr[None]) - hr).abs().mean().backward()
        optimiser.step()
    network.eval()
    save_network(network, tmp_path / "net.safetensors", data=trained_on(scene, network))
    return tmp_path / "net.safetensors"


def test_a_tile_of_enmap_becomes_a_cog(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text(f"{TILE}\n")
    more = ["--model", str(weights), "--bands", "all", "--quiet"]
    assert main(["upscale", str(TILE), "high.tif", *more]) == 0
    assert main(["archive", "list.txt", "out", *more, "--split", "600"]) == 0
    assert main(["report", "out"]) == 0
    made = tmp_path / "out" / f"{TILE.stem}.tif"
    assert made.read_bytes() == Path("high.tif").read_bytes()
    assert "data:image/png;base64," in Path("out/report.html").read_text()
    assert json.loads(Path("out/archive.json").read_text())["failed"] == []
    with rasterio.open(TILE) as low, rasterio.open(made) as high, open_cube(TILE) as source:
        assert (high.count, high.height, high.width) == (low.count, 4 * low.height, 4 * low.width)
        assert high.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert (high.crs, high.nodata, high.bounds) == (low.crs, low.nodata, low.bounds)
        assert high.transform.almost_equals(low.transform * low.transform.scale(0.25), 1e-12)
        assert high.scales == pytest.approx([1e-4] * high.count)
        tags = [high.tags(band) for band in high.indexes]
        assert [float(one["wavelength"]) for one in tags] == pytest.approx(source.wavelengths)
        assert [float(one["fwhm"]) for one in tags] == pytest.approx(source.fwhm)
        assert [band for band, one in enumerate(tags) if one["bbl"] == "0"] == [*BAD]
        assert [band for band, one in enumerate(tags) if one.get("interpolated") == "1"] == [*BAD]
        seen = high.read().reshape(high.count, 32, 4, 32, 4).mean(axis=(2, 4))
        share = np.abs(seen - low.read()).mean() / low.read().mean()
        assert share < 0.2  # of the tile itself, in its own numbers
    if not (find_spec("rio_cogeo") and find_spec("rioxarray")):
        return  # pip install rio-cogeo rioxarray
    import rio_cogeo
    import rioxarray

    assert rio_cogeo.cog_validate(made, strict=True) == (True, [], [])
    with rioxarray.open_rasterio(made) as image:
        assert image.shape == (224, 128, 128)
        assert image.rio.crs.to_epsg() == 32633
