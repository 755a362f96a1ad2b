"""A cube's metadata never ends a run that has begun: it is reported, or refused before the work."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from edgesr.commands.report import render_run
from edgesr.compress import compress
from edgesr.cube import read_cube, write_cube
from edgesr.errors import DataError, EdgesrError
from edgesr.loading.weights import load_network
from edgesr.recipe import CompressRecipe
from edgesr.report import ReportError, validate
from edgesr.scenes.upscale import upscale

LOWEST = -1.797e308  # about the lowest number of float64; float32 ends at -3.4e38
EVIL = "a\n\x1b[31m\x07\"'&<x-evil>[/bold]</script><script>alert(1)</script>{{ 7 * 7 }}\u2028"
LONG = "x" * 50_000


class Page(HTMLParser):
    """The words of a page, its elements, and what its script reads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.words = self.payload = ""
        self._inside = ""
        self.feed(path.read_text("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self._inside = str(dict(attrs).get("type", tag)) if tag == "script" else tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "application/json":
            self.payload += data
        elif self._inside not in ("script", "style"):
            self.words += data


def strict(text: str) -> dict[str, Any]:
    """JSON as browsers read it: without NaN and Infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return dict(json.loads(text, parse_constant=refuse))


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def data(materials) -> np.ndarray:
    """Float32 [72, 72, 12] with one pixel of NaN in the lower right corner."""
    values = np.load(materials.cube).astype(np.float32)
    values[71, 71] = np.nan
    return values


@pytest.fixture
def recipe(workplace: Path, plain_export: None, small_recipe: CompressRecipe) -> CompressRecipe:
    """The quickest run: one surgery, no training."""
    return replace(small_recipe, rank=8, epochs=0)


def own(data: np.ndarray, **fields: Any) -> str:
    """An own file with any metadata whatever, past :func:`write_cube`."""
    np.savez("cube.npz", edgesr_cube=1, data=data, **fields)
    return "cube.npz"


def hdf5(data: np.ndarray, nodata: float) -> str:
    with h5py.File("cube.h5", "w") as file:
        file["cube"] = data
        file["cube"].attrs["_FillValue"] = nodata
    return "cube.h5"


def test_a_run_on_nan_nodata_is_interrupted_resumed_and_opened(recipe, data, monkeypatch) -> None:
    recipe = replace(recipe, data=own(data, nodata=math.nan))
    with monkeypatch.context() as patch:
        patch.setattr("edgesr.compress.stages.report.write_page", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compress(recipe, Path("out"))
    compress(recipe, Path("out"), resume=True)

    report = strict(Path("out/report.json").read_text())
    assert report["data"]["nodata"] == "nan"
    page = Path("out/report.html")
    drawn = strict(Page(page).payload)
    assert drawn["normalisation"] == report["data"]["normalisation"]
    before = page.read_text("utf-8")
    assert render_run(Path("out")).read_text("utf-8") == before

    upscale("cube.npz", "high.tif", "out/student.safetensors", factory=recipe.model)
    high = read_cube("high.tif")
    assert math.isnan(high.nodata)
    assert np.argwhere(high.mask).min() == 71 * 4
    assert high.mask.sum() == 16


@pytest.mark.parametrize(
    ("dtype", "nodata", "written"),
    [
        ("float64", LOWEST, LOWEST),
        ("float32", LOWEST, math.nan),
        ("float32", 0.1, float(np.float32(0.1))),
        ("uint16", -9999.0, 0.0),
        ("int16", math.inf, -32768.0),
    ],
)
@pytest.mark.parametrize("suffix", [".npz", ".tif", ".hdr"])
def test_upscale_writes_a_nodata_that_the_result_can_hold(
    recipe, data, materials, dtype, nodata, written, suffix
) -> None:
    values = np.nan_to_num(data[:20, :20, :8]).astype(dtype)
    hole = dtype == "float64" or nodata == 0.1
    if hole:
        values[3, 4] = nodata
    target = Path(f"high{suffix}")
    upscale(hdf5(values, nodata), target, materials.bilinear, factory=recipe.model)
    high = read_cube(target)
    np.testing.assert_equal(high.nodata, written)
    assert high.invalid().sum() == 16 * hole


@pytest.mark.parametrize("dtype", ["float64", "float32", "int16"])
def test_a_run_reports_a_nodata_beyond_the_type(recipe, data, dtype) -> None:
    values = np.nan_to_num(data).astype(dtype)
    if dtype == "float64":
        values[71, 71] = LOWEST
    compress(replace(recipe, data=hdf5(values, LOWEST)), Path("out"))
    assert strict(Path("out/report.json").read_text())["data"]["nodata"] == LOWEST


FIELDS = {
    "texts": {"name": EVIL, "crs": EVIL, "source": EVIL},
    "long texts": {"name": LONG[:1000], "crs": LONG, "source": LONG},
    "large numbers": {
        "wavelengths": np.full(12, 1e308), "fwhm": np.full(12, 1e308), "nodata": 1e308,
        "gain": 1e308, "transform": np.array([1e-308, 0, 1e308, 0, 1e308, 1e308]),
    },
    "infinite nodata": {"nodata": -math.inf},
    "negative bands": {"wavelengths": np.linspace(-1, 0, 12), "fwhm": np.zeros(12)},
}  # fmt: skip


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
def test_strange_metadata_pass_through_report_and_page(recipe, data, fields) -> None:
    report = compress(replace(recipe, data=own(data, **fields)), Path("out"))
    assert strict(Path("out/report.json").read_text()) == report
    validate(report)
    for key in ("name", "crs", "source"):
        assert report["data"][key] == fields.get(key, report["data"][key])
    page = Page(Path("out/report.html"))
    assert "x-evil" not in page.elements
    assert "alert" not in page.payload
    strict(page.payload)
    assert load_network(Path("out/student.safetensors"), recipe.model)
    if fields.get("name") == EVIL:  # in the title, the heading, the conditions, ...
        assert page.words.count(EVIL) > 3


REFUSED = {
    "crs": "\udc80", "name": "\udc80", "source": "\udc80",
    "wavelengths": np.full(12, np.nan), "fwhm": np.full(12, np.inf), "gain": math.nan,
    "transform": np.full(6, np.inf), "nodata": EVIL, "mask": EVIL, "bad_bands": np.full(12, np.nan),
}  # fmt: skip


@pytest.mark.parametrize("field", REFUSED)
def test_what_cannot_be_reported_is_refused_before_the_work(
    recipe, data, field, monkeypatch
) -> None:
    monkeypatch.setattr("edgesr.compress.pipeline.require_sites", interrupted)
    started = replace(recipe, data=own(data, **{field: REFUSED[field]}))
    with pytest.raises(EdgesrError, match=field) as refusal:
        compress(started, Path("out"))
    assert isinstance(refusal.value, DataError | ReportError)
    assert refusal.value.exit_code == 2
    assert "\n" not in str(refusal.value)
    assert not Path("out").exists()


def test_what_weights_could_not_say_is_refused_before_the_work(recipe, data) -> None:
    started = replace(recipe, data=own(data, name=LONG))
    with pytest.raises(DataError, match=r"at data\.name: .*is too long"):
        compress(started, Path("out"))
    large = replace(recipe, data=own(data * 1e30), normalisation="band")
    with pytest.raises(DataError, match=r"at data\.normalisation\.upper"):
        compress(large, Path("out"))
    assert not Path("out").exists()


def test_older_reports_with_a_number_or_none_still_open(recipe, data) -> None:
    write_cube(read_cube(own(data, nodata=-9999.0)), Path("again.npz"))
    report = compress(replace(recipe, data="again.npz"), Path("out"))
    assert report["data"]["nodata"] == -9999.0
    validate(report | {"data": report["data"] | {"nodata": None}})
    with pytest.raises(ReportError, match=r"data\.nodata"):
        validate(report | {"data": report["data"] | {"nodata": "none"}})
