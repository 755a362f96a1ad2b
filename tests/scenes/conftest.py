"""A scene of three tiles along an axis, and networks that fit it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from edgesr_export.card import write_card

from edgesr.cube import Cube, make_scene, write_cube
from edgesr.deploy.inputs import write_network
from edgesr.loading.card import make_card, trained_on
from edgesr.loading.weights import load_custom, save_network
from edgesr.loading.workload import Workload
from edgesr.models import create_model

FACTORY = "small_networks:bilinear"
CENTRES = np.arange(12) * 10.0 + 400
SIDE = 150  # of the scene: three tiles along an axis at x4


@pytest.fixture(scope="session")
def scene_cube() -> Cube:
    """150 x 140 pixels of 12 bands; a hole, and a corner of 70 x 70 without a measurement."""
    rows, cols = np.mgrid[0:SIDE, 0:140]
    fields = [1 + np.sin(rows / (3 + k)) * np.cos(cols / (4 + k)) for k in range(3)]
    noise = np.random.default_rng(1)
    spectra = 1 + np.abs(noise.normal(size=(3, 12))).cumsum(axis=1) / 12
    data = 500 * np.stack(fields, axis=-1) @ spectra + noise.normal(scale=3, size=(SIDE, 140, 12))
    data = data.clip(1, 9000).astype(np.int16)
    data[40:43, 60:66] = -999
    data[76:, 66:] = -999
    return Cube(
        data,
        "scene",
        wavelengths=CENTRES,
        fwhm=np.full(12, 9.5),
        nodata=-999.0,
        gain=1e-4,
        crs=rasterio.crs.CRS.from_epsg(32633).to_wkt(),
        transform=(40.0, 0.0, 500_000.0, 0.0, -40.0, 5_800_000.0),
    )


@pytest.fixture(scope="session")
def models(materials, scene_cube, tmp_path_factory) -> dict[str, Path]:
    """Weights and ONNX of a network that looks one pixel far, and of one that looks everywhere."""
    folder = tmp_path_factory.mktemp("models")
    made = {}
    for name, bands in (("near", "0-7"), ("global", "2-11")):
        scene = make_scene(scene_cube.crop(replace(scene_cube.extent, height=72, width=60)),
                           scale=4, patch=16, bands=bands)  # fmt: skip
        if name == "near":
            with pytest.MonkeyPatch.context() as patch:
                patch.syspath_prepend(str(materials.folder))
                network = load_custom(FACTORY)
        else:
            torch.manual_seed(0)
            network = create_model("lkca_net", bands=10, scale=4, blocks=1, channels=16)
            with torch.no_grad():
                for weight in network.parameters():
                    weight += 0.2 * torch.randn_like(weight)
        data = trained_on(scene, network)
        assert data["context"] == {"near": 1, "global": "global"}[name]
        made[f"{name}.safetensors"] = folder / f"{name}.safetensors"
        save_network(network, made[f"{name}.safetensors"], data=data)
        path = made[f"{name}.onnx"] = folder / f"{name}.onnx"
        write_network(network, Workload(scene, network, {}, "", name), 32, path)
        write_card(path, make_card(data, name))
    return made


@pytest.fixture
def low(scene_cube, workplace) -> str:
    write_cube(scene_cube, workplace / "low.tif")
    return "low.tif"
