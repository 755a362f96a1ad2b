"""Lists, STAC, folders and patterns; and one output for each scene."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgesr.cube import Cube, write_cube
from edgesr.errors import DataError, OptionError
from edgesr.scenes.archive.jobs import make_jobs
from edgesr.scenes.archive.sources import Source, find_sources


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The current folder, with cubes in it and below."""
    monkeypatch.chdir(tmp_path)
    cube = Cube(np.ones((2, 2, 3), np.float32), "made")
    for name in ("in/b.npy", "in/a.tif", "in/deep/c.hdr", "in/.hidden/d.npy", "in/out/e.npy"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_cube(cube, tmp_path / name)
    (tmp_path / "in" / "readme.txt").write_text("no cube")
    (tmp_path / "in" / "empty.tif").touch()
    return tmp_path


def names(sources: list[Source], below: Path) -> list[str]:
    assert all(Path(one.path).is_absolute() for one in sources)
    return [str(Path(one.path).relative_to(below)) for one in sources]


def test_a_folder_gives_every_cube_once_in_order(place, caplog):
    found = find_sources("in", leave_out=Path("in/out"))
    assert names(found, place / "in") in (
        ["a.tif", "b.npy", "deep/c.hdr"],
        ["a.tif", "b.npy", "deep/c.img"],
    )
    assert "empty.tif: the file is empty" in caplog.text


def test_a_pattern_gives_what_fits_in_order(place):
    assert names(find_sources("in/*.*"), place / "in") == [
        "a.tif",
        "b.npy",
        "empty.tif",
        "readme.txt",
    ]
    assert names(find_sources(f"{place}/in/**/*.hdr"), place) == ["in/deep/c.hdr"]


def test_a_list_has_its_own_order_and_paths_relative_to_it(place):
    (place / "in" / "list.txt").write_text("# mine\nb.npy\n\n  a.tif  \n/abs/x.h5:/cube\n")
    found = find_sources("in/list.txt")
    assert [one.path for one in found] == [
        str(place / "in" / "b.npy"),
        str(place / "in" / "a.tif"),
        "/abs/x.h5:/cube",
    ]


def test_a_table_may_name_the_outputs(place):
    (place / "list.csv").write_text("output,href,cloud\nfirst.tif,in/a.tif,0\n,in/b.npy,1\n")
    assert find_sources("list.csv") == [
        Source(str(place / "in/a.tif"), "first.tif"),
        Source(str(place / "in/b.npy")),
    ]


def item(name: str, **assets: object) -> dict:
    return {"type": "Feature", "id": name, "assets": assets}


def test_stac_items_are_called_by_their_id(place):
    bands = [{"name": "1"}]
    items = [
        item("one", thumb={"href": "t.png"}, data={"href": "in/a.tif"}),
        item("2/3", thumb={"href": "t.png"}, cube={"href": "in/b.npy", "eo:bands": bands}),
        item("four", other={"href": f"file://{place}/in/b.npy", "bands": bands}),
    ]
    collection = {"type": "FeatureCollection", "features": items}
    (place / "items.json").write_text(json.dumps(collection))
    found = find_sources("items.json")
    assert names(found, place) == ["in/a.tif", "in/b.npy", "in/b.npy"]
    assert [one.output for one in found] == ["one", "2_3", "four"]
    (place / "item.geojson").write_text(json.dumps(items[0]))
    assert names(find_sources("item.geojson", asset="thumb"), place) == ["t.png"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "name\nx\n", "neither a column path nor href"),
        ("a.csv", "path,output\n,x\n", "row 2 has no path"),
        ("a.txt", "# nothing\n", "names no scene"),
        ("a.txt", "https://example.org/a.tif\n", "lies on another machine"),
        ("a.txt", "a\0b\n", "null character"),
        ("a.json", "[1]", "no STAC item"),
        ("a.json", "{", "not valid JSON"),
        ("a.json", '{"features": [{"id": "x"}]}', "item 0 has no id or no assets"),
        ("a.json", json.dumps(item("x", png={"href": "a"})), "has no asset with bands.*png"),
        ("a.json", json.dumps(item("x", data={"href": 3})), "has no asset data"),
    ],
)
def test_a_list_that_cannot_be_used_is_told_in_one_line(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises((DataError, OptionError), match=said) as caught:
        find_sources(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_what_is_no_list(place):
    with pytest.raises(DataError, match="not text in UTF-8"):
        find_sources("in/a.tif")
    with pytest.raises(OptionError, match="does not exist; name a list"):
        find_sources("nothing.txt")
    with pytest.raises(OptionError, match="names no scene"):
        find_sources("nothing*")
    (place / "list.txt").write_text("in/a.tif\n")
    with pytest.raises(OptionError, match="--asset is for STAC items"):
        find_sources("list.txt", asset="data")


def test_outputs_are_called_as_their_sources_or_as_the_list_wants(tmp_path):
    sources = [
        Source("/in/a.b.nc"),
        Source("/in/x.h5:/group/cube"),
        Source("/in/c.nc", "sub/c"),
        Source("/in/d.nc", "d.tif"),
    ]
    jobs = make_jobs(sources, tmp_path / "out", ".tif", {"tile": 8})
    assert [job.id for job in jobs] == ["a.b", "x_cube", "sub/c", "d"]
    assert [Path(job.target) for job in jobs] == [
        tmp_path / "out" / name for name in ("a.b.tif", "x_cube.tif", "sub/c.tif", "d.tif")
    ]
    assert jobs[0].options == {"tile": 8}


def test_two_sources_of_one_output_are_refused_and_listed(tmp_path):
    sources = [Source("/one/a.tif"), Source("/b.tif"), Source("/two/a.nc"), Source("/c.tif", "b")]
    with pytest.raises(OptionError) as caught:
        make_jobs(sources, tmp_path, ".tif", {})
    assert "2 outputs have several sources" in str(caught.value)
    assert "a of /one/a.tif and /two/a.nc; b of /b.tif and /c.tif" in str(caught.value)


@pytest.mark.parametrize("output", ["../a", "/a", "a/../../b", ".receipts/a", "a\0b", "."])
def test_an_output_lies_in_the_archive(tmp_path, output):
    with pytest.raises(OptionError, match="does not lie in the archive"):
        make_jobs([Source("/a.tif", output)], tmp_path, ".tif", {})
