"""``edgesr report`` of an archive."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import pytest
import rasterio

from edgesr.cli.main import main
from edgesr.cube import Cube, write_cube
from edgesr.scenes.archive.quicklook import quick_look


def pixels(png: bytes) -> np.ndarray:
    with rasterio.MemoryFile(png) as memory, memory.open() as image:
        return image.read()


def test_a_page_tells_what_is_done_and_what_failed(scenes, monkeypatch, capsys):
    monkeypatch.chdir(scenes.out.parent)
    scenes.add(**{f"s{i}": f"good {i}" for i in range(20)}, x="corrupt").run()
    (scenes.folder / "y<b>.txt").write_text("broken")
    scenes.run()
    assert main(["report", "out"]) == 0
    assert capsys.readouterr().out.startswith("out/report.html: open it in a browser")
    page = (scenes.out / "report.html").read_text("utf-8")
    assert re.search(r"<dt>Scenes that are done</dt><dd class=\"after\">20<", page)
    assert re.search(r"<dt>Scenes that failed</dt><dd class=\"after\">2<", page)
    assert "y&lt;b&gt;" in page
    assert "RuntimeError: the weather" in page
    assert 'id="looks"' not in page, "no output is an image"
    scenes.run(retries=0)
    assert main(["report", "out"]) == 0, "its own page is drawn again"


def test_a_page_shows_the_outputs(scenes, monkeypatch):
    scenes.add(**{f"s{i:02}": f"good {i}" for i in range(20)}).run()
    for path in scenes.out.glob("*.tif"):
        write_cube(Cube(np.arange(48.0).reshape(4, 4, 3), "made"), path)
    monkeypatch.chdir(scenes.out.parent)
    assert main(["report", "out", "--output", "page.html"]) == 0
    page = (scenes.out.parent / "page.html").read_text("utf-8")
    found = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="(s\d+)">', page)
    assert [name for _, name in found][:: len(found) - 1] == ["s00", "s19"]
    assert len(found) == 12
    assert pixels(base64.b64decode(found[0][0])).shape == (3, 4, 4)


def test_a_page_shows_nothing_from_outside_the_archive(scenes, monkeypatch):
    scenes.add(a="good").run()
    write_cube(Cube(np.ones((2, 2, 3)), "secret"), scenes.out.parent / "secret.tif")
    content = json.loads((scenes.out / "archive.json").read_text())
    content["done"][0]["id"] = "../secret"
    (scenes.out / "archive.json").write_text(json.dumps(content))
    monkeypatch.chdir(scenes.out.parent)
    assert main(["report", "out"]) == 0
    assert 'id="looks"' not in (scenes.out / "report.html").read_text("utf-8")


def test_an_archive_that_cannot_be_shown_is_refused(scenes, monkeypatch, capsys):
    scenes.add(a="good").run()
    monkeypatch.chdir(scenes.out.parent)
    assert main(["report", "out", "--import", "a.json"]) == 2
    assert "leave out --import" in capsys.readouterr().err
    (scenes.out / "archive.json").write_text(json.dumps({"schema_version": 1}))
    assert main(["report", "out"]) == 2
    assert "does not fit its schema" in capsys.readouterr().err
    assert not (scenes.out / "report.html").exists()


def test_a_quick_look_takes_the_bands_of_its_colours(tmp_path):
    wavelengths = np.array([400.0, 460.0, 550.0, 650.0, 900.0])
    data = np.zeros((400, 100, 5), np.float32)
    data[:200, :, 3] = 1  # red above
    data[200:, :, 1] = 1  # blue below
    data[0, 0] = np.nan
    write_cube(Cube(data, "made", wavelengths=wavelengths), tmp_path / "a.tif")
    red, green, blue = pixels(quick_look(tmp_path / "a.tif"))
    assert red.shape == (192, 48)
    assert set(red[2:90].ravel()) == {255}
    assert set(red[100:].ravel()) == {0}
    assert set(blue[100:].ravel()) == {255}
    assert set(green.ravel()) == {0}


def test_a_quick_look_of_anything_else_is_none(tmp_path):
    (tmp_path / "a.tif").write_text("no image")
    assert quick_look(tmp_path / "a.tif") is None
    assert quick_look(tmp_path / "b.tif") is None


@pytest.mark.parametrize("bands", [1, 2, 7])
def test_a_quick_look_without_wavelengths(tmp_path, bands):
    data = np.random.default_rng(0).integers(0, 99, (9, 8, bands)).astype(np.uint16)
    write_cube(Cube(data, "made"), tmp_path / "a.tif")
    assert pixels(quick_look(tmp_path / "a.tif")).shape == (3, 9, 8)
