"""Blocks that are complete or absent, of one key, by one process."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from edgesr.errors import DataError, EdgesrWarning, OptionError
from edgesr.scenes.output import (
    BlockStore,
    SceneMeta,
    check_target,
    finish,
    interrupted,
    written_files,
)

HOLD = """
import sys
from pathlib import Path
from edgesr.scenes.output import BlockStore, SceneMeta

store = BlockStore.open(Path(sys.argv[1]), SceneMeta(20, 20, 2, "uint8"), key={})
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out.tif"


def test_nothing_but_the_result_is_left(scene, target):
    assert scene.write(target) == [target]
    assert list(target.parent.iterdir()) == [target]
    assert not interrupted(target)


def test_npy_says_what_it_loses(scene, make_scene, tmp_path, recwarn):
    make_scene(20, 20, 2, "uint8").write(tmp_path / "bare.npy")
    assert not [one for one in recwarn if one.category is EdgesrWarning]
    with pytest.warns(EdgesrWarning, match=r"nodata, wavelengths, .* gain, .* transform are not"):
        scene.write(tmp_path / "out.npy")


def test_what_was_written_is_done_when_it_is_opened_again(scene, target, content):
    with scene.open(target) as store:
        scene.fill(store, most=7)
        done = store.done
        assert len(done) == 7
    assert interrupted(target)
    with scene.open(target, resume=True) as store:
        assert store.done == done
        with pytest.raises(ValueError, match="is there already"):
            store.write(0, 0, scene.pixels(store, 0, 0))
        scene.fill(store)
        finish(store)
    again = target.with_name("again.tif")
    scene.write(again)
    assert target.read_bytes() == again.read_bytes()


def test_resume_begins_where_nothing_was_interrupted(scene, target):
    scene.write(target, resume=True)
    assert target.is_file()


@pytest.mark.parametrize("suffix", [".tif", ".img"])
@pytest.mark.parametrize("damage", ["cut", "empty", "other", "temporary"])
def test_a_damaged_block_counts_as_absent(scene, tmp_path, suffix, damage):
    target = tmp_path / f"out{suffix}"
    with scene.open(target) as store:
        scene.fill(store)
        path = store.path(0, 1, 2)
        done = store.done
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "other":
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    else:
        path.rename(path.with_name(f".{path.stem}.1234.part{path.suffix}"))
    with scene.open(target, resume=True) as store:
        assert store.done == done - {(1, 2)}
        with pytest.raises(ValueError, match="1 of 15 blocks"):
            finish(store)
        assert not target.exists()
        scene.fill(store)
        finish(store)
    again = tmp_path / f"again{suffix}"
    scene.write(again)
    assert target.read_bytes() == again.read_bytes()


def test_an_interrupted_run_is_neither_lost_nor_gone_on_with_unasked(scene, target, content):
    with scene.open(target) as store:
        scene.fill(store, most=3)
    before = content(target.parent)
    with pytest.raises(OptionError, match=r"pass --resume to go on with it, or --overwrite"):
        scene.open(target)
    with pytest.raises(OptionError, match="contradict"):
        scene.open(target, resume=True, overwrite=True)
    assert content(target.parent) == before
    with scene.open(target, overwrite=True) as store:
        assert store.done == set()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "ffff"}, "another model;"),
        ({"source": "other.tif", "edgesr": "2.0"}, "another source and another edgesr;"),
        ({"precision": "fp16"}, "another precision;"),
    ],
)
def test_another_key_is_refused_by_what_differs(scene, target, content, changes, said):
    with scene.open(target) as store:
        key = {name: value for name, value in store._journal.key.items() if name != "output"}
        scene.fill(store, most=3)
    before = content(target.parent)
    with pytest.raises(OptionError, match=said) as refusal:
        scene.open(target, resume=True, key={**key, **changes})
    assert "--overwrite" in str(refusal.value)
    with pytest.raises(OptionError, match="another output;"):
        scene.but(nodata=0).open(target, resume=True)
    assert content(target.parent) == before
    scene.write(target, overwrite=True, key={**key, **changes})
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"version": 1}', '{"version": "1", "key": {}}', "9" * 5000]
)
def test_a_damaged_journal_is_refused_in_one_line(scene, target, damage):
    with scene.open(target) as store:
        scene.fill(store, most=1)
        journal = store.folder / "journal.json"
    journal.write_text(damage)
    with pytest.raises((DataError, OptionError), match="--overwrite") as refusal:
        scene.open(target, resume=True)
    assert str(refusal.value).isprintable()
    scene.write(target, overwrite=True)


def test_a_journal_of_another_layout_is_refused(scene, target):
    with scene.open(target) as store:
        journal = store.folder / "journal.json"
    journal.write_text(json.dumps({**json.loads(journal.read_text()), "version": 2}))
    with pytest.raises(OptionError, match="another layout of its store"):
        scene.open(target, resume=True)


@pytest.mark.parametrize("how", ["file", "link", "thesis"])
@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
def test_what_is_called_as_a_store_and_is_none_stays_as_it_is(
    scene, target, tmp_path, content, how, options
):
    folder, thesis = target.with_name(".out.tif.part"), tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.tex").write_text("years of work")
    if how == "file":
        folder.write_text("more work")
    elif how == "link":
        folder.symlink_to(thesis)
    else:
        thesis.rename(folder)
    before = content(tmp_path)
    with pytest.raises(OptionError, match="move it away"):
        scene.open(target, **options)
    assert content(tmp_path) == before


def test_the_second_process_on_one_output_is_refused(scene, target):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(target)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).resolve().parents[3],
    )  # fmt: skip
    try:
        assert process.stdout.readline() == "held\n"
        for options in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(OptionError, match=f"is being written by process {process.pid} on"):
                scene.open(target, **options)
    finally:
        process.kill()
        process.communicate()
    scene.write(target, overwrite=True)


def test_a_disk_that_is_too_small_is_refused_before_any_work(scene, target, monkeypatch):
    usage = shutil.disk_usage(target.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10_000))
    with pytest.raises(DataError, match=r"needs about 0\.0 GB .*make room"):
        scene.open(target)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("step", ["write", "finish"])
def test_a_full_disk_is_one_line_and_nothing_is_lost(scene, target, monkeypatch, step):
    write_bytes, replace = Path.write_bytes, Path.replace

    def full(path: Path, content: bytes) -> int:
        write_bytes(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    def never(path: Path, other: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    with scene.open(target) as store:
        scene.fill(store, most=4 if step == "write" else 15)
        done = store.done
        patched = ("write_bytes", full) if step == "write" else ("replace", never)
        monkeypatch.setattr(Path, *patched)
        with pytest.raises(DataError, match="the disk is full; make room and pass --resume"):
            scene.fill(store) if step == "write" else finish(store)
        monkeypatch.setattr(Path, "write_bytes", write_bytes)
        monkeypatch.setattr(Path, "replace", replace)
        assert store.done == done
        assert not target.exists()
        assert not list(store.folder.rglob("*.part*"))
    scene.write(target, resume=True)
    assert list(target.parent.iterdir()) == [target]


def test_a_block_of_another_shape_or_type_is_refused(scene, target):
    with scene.open(target) as store:
        block = scene.pixels(store, 0, 0)
        for wrong in (block[:-1], block[:, :, :-1], block.astype(np.float32)):
            with pytest.raises(ValueError, match=r"block \(0, 0\) is"):
                store.write(0, 0, wrong)
        with pytest.raises(ValueError, match="no block"):
            store.write(3, 0, block)
        assert store.done == set()


@pytest.mark.parametrize("name", ["out", "out.png", "out.xyz", "out.tif.gz"])
def test_a_suffix_of_no_format_is_refused(scene, tmp_path, name):
    for ask in (check_target, lambda path, meta: BlockStore.open(path, meta, key={})):
        with pytest.raises(OptionError, match=r"choose one of \.tif"):
            ask(tmp_path / name, scene.meta)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_refused(scene, tmp_path):
    with pytest.raises(OptionError, match="cannot be written"):
        scene.open(tmp_path / "nowhere" / "out.tif")
    assert list(tmp_path.iterdir()) == []


def test_the_files_that_will_be_written_are_known_before():
    assert written_files(Path("a/out.tif")) == [Path("a/out.tif")]
    assert written_files(Path("out.zarr"), stac=True) == [Path("out.zarr"), Path("out.json")]
    for name in ("out.hdr", "out.img"):
        assert written_files(Path(name)) == [Path("out.img"), Path("out.hdr")]
    assert written_files(Path("out.dat")) == [Path("out.dat"), Path("out.hdr")]


@pytest.mark.parametrize(
    "changes",
    [
        {"height": 0}, {"dtype": "float16"}, {"dtype": "complex64"}, {"nodata": 0.5},
        {"nodata": 1e6}, {"wavelengths": np.ones(4)}, {"band_names": ("a", "b")},
        {"gain": np.float64(1e-4)},
    ],
)  # fmt: skip
def test_a_description_that_contradicts_itself_is_refused(scene, changes):
    with pytest.raises(DataError):
        scene.but(**changes)


def test_the_digest_tells_descriptions_apart():
    meta = SceneMeta(3, 4, 2, "float32", nodata=float("nan"), gain=np.array([1.0, 2.0]))
    assert (
        meta.digest()
        == SceneMeta(3, 4, 2, "float32", nodata=float("nan"), gain=np.array([1.0, 2.0])).digest()
    )
    others = [
        SceneMeta(3, 4, 2, "float32", nodata=float("nan"), gain=np.array([1.0, 2.5])),
        SceneMeta(4, 3, 2, "float32", nodata=float("nan"), gain=np.array([1.0, 2.0])),
        SceneMeta(3, 4, 2, "float32", nodata=-1, gain=np.array([1.0, 2.0])),
    ]
    assert len({meta.digest(), *(other.digest() for other in others)}) == 4


@pytest.mark.parametrize("suffix", [".tif", ".img", ".zarr"])
def test_text_of_anyone_is_kept_as_one_line(scene, tmp_path, suffix):
    if suffix == ".zarr":
        pytest.importorskip("zarr", reason="the extra zarr is not installed")
    target, odd = tmp_path / f"out{suffix}", "a\0b\x1b[2J\n<c>&'\"]]>\udcff é\u2028x"
    scene = scene.but(source=odd, band_names=(odd,) * 5, tags={odd: odd})
    check_target(target, scene.meta)
    scene.write(target)
    assert scene.meta.source == "a b [2J <c>&'\"]]>\\udcff é x"
    if suffix == ".tif":
        with rasterio.open(target) as file:
            assert file.tags()[scene.meta.source] == scene.meta.source
            assert file.descriptions == scene.meta.band_names


def test_nodata_is_what_the_type_holds():
    meta = SceneMeta(3, 4, 2, "float32", nodata=-9999.9)
    assert meta.nodata == float(np.float32(-9999.9))
