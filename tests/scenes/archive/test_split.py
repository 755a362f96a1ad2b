"""Large scenes of an archive in strips: one task each, and one that puts them together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgesr.cli.main import main
from edgesr.cube import Window
from edgesr.errors import OptionError
from edgesr.scenes.archive.engines import Cluster
from edgesr.scenes.archive.jobs import SceneJob
from edgesr.scenes.archive.model import Failure
from edgesr.scenes.archive.queue import Queue
from edgesr.scenes.archive.work import Cut, Made
from edgesr.scenes.options import SceneOptions
from edgesr.scenes.output.store import BlockStore
from edgesr.scenes.strips import cut, upscale_strip
from edgesr.scenes.upscale import SceneWork, upscale, upscale_scene

SPLIT = 8
"""Letters of the text that stands for a scene."""


def strips(scenes, name: str) -> list[int]:
    """How often the work on a scene, and on each of its strips, has begun."""
    return [scenes.executions(one) for one in (name, *(f"{name}~{k}" for k in range(3)))]


def test_a_large_scene_is_made_in_strips_and_a_small_one_is_not(scenes):
    made = scenes.add(a="cut good good good", b="good 2").run(split=SPLIT)
    scenes.assert_whole()
    assert strips(scenes, "a") == [1, 1, 1, 1]
    assert strips(scenes, "b") == [1, 0, 0, 0]
    assert made.computed == 2
    assert made.done[0].receipt.seconds > 0.5  # those of its strips are counted
    assert scenes.run(split=SPLIT).computed == 0
    assert scenes.run().computed == 0  # how it was cut does not matter


def test_a_strip_that_fails_costs_its_scene_alone(scenes):
    scenes.add(a="cut good broken good", b="cut flaky good good", c="cut corrupt corrupt good")
    made = scenes.run(split=SPLIT, retries=1)
    assert [(one.id, one.kind) for one in made.failed] == [("a", "error"), ("c", "refused")]
    assert strips(scenes, "a") == [0, 1, 2, 0]  # the third was not begun any more
    assert strips(scenes, "b") == [1, 2, 1, 1]
    assert strips(scenes, "c") == [0, 1, 0, 0]
    scenes.assert_whole("a", "c")
    scenes.add(a="cut good good good", c="cut good good good").run(split=SPLIT)
    scenes.assert_whole()


def test_strips_of_one_scene_are_done_by_several_workers_of_which_one_dies(scenes):
    pytest.importorskip("distributed", reason="pip install 'edgesr[cluster]'")
    scenes.add(a="cut good once good", b="good 2", c="cut broken corrupt good", d="good 4")
    scratch = scenes.out / ".state" / "workers"
    made = scenes.run(Cluster(2, 1, scratch), retries=1, split=SPLIT)
    assert [one.id for one in made.failed] == ["c"]
    assert strips(scenes, "a")[2] == 2
    scenes.assert_whole("c")


def test_the_queue_says_once_what_became_of_a_scene():
    job, other = (SceneJob(name, name, name, {}, split=5) for name in "ab")
    failure = Failure(id="a", source="a", kind="error", reason="weather")
    queue = Queue([job, other])
    assert next(queue) is job
    assert queue.ended(job, Cut(((0, 2), (2, 3), (3, 5)))) is None
    first, second = next(queue), next(queue)
    assert [one.strip for one in (first, second)] == [(0, 2), (2, 3)]
    assert queue.ended(first, Made(1.0)) is None
    assert queue.ended(second, failure) is failure
    assert queue.ended(second, failure) is None
    assert queue.ended(first, Made(1.0)) is None
    assert next(queue) is other
    assert next(queue, None) is None
    assert queue.ended(other, Cut(((0, 1), (1, 2)))) is None  # at an end, it goes on
    assert [queue.ended(next(queue), Made(2.0)) for _ in range(2)] == [None, None]
    whole = next(queue)
    assert (whole.split, whole.strip, whole.spent) == (None, None, 4.0)
    assert next(queue, None) is None


@pytest.mark.parametrize("suffix", ["tif", "zarr", "img"])
def test_the_bytes_are_those_of_a_scene_that_is_not_cut(low, models, monkeypatch, suffix):
    if suffix == "zarr":
        pytest.importorskip("zarr", reason="the extra zarr is not installed")
    model = str(models["global.onnx"])
    usual = upscale(low, f"usual.{suffix}", model)
    write = BlockStore.write
    rows: list[tuple[int, int]] = []

    def noted(store: BlockStore, row: int, col: int, pixels: object) -> None:
        rows.append((store.rows, row))
        write(store, row, col, pixels)

    monkeypatch.setattr(BlockStore, "write", noted)
    Path("list.txt").write_text(low)
    words = ["archive", "list.txt", "out", "--model", model, "--format", suffix]
    assert main([*words, "--split", "9000", "--quiet"]) == 0
    content = json.loads(Path("out/archive.json").read_text())
    assert content["done"][0]["receipt"]["sha256"] == usual.sha256
    assert {strip for strip, _ in rows} == {(0, 1), (1, 2), (2, 3)}
    assert all(first <= row < end for (first, end), row in rows)


def test_strips_in_any_order_and_interrupted_make_the_same_bytes(low, models, monkeypatch):
    options = {"model": str(models["global.onnx"])}
    usual = upscale(low, "usual.tif", **options)
    pieces = cut(low, "other.tif", options, 9000)
    assert cut(low, "other.tif", options, 150 * 140) == []
    write = BlockStore.write

    def interrupted(store: BlockStore, row: int, col: int, pixels: object) -> None:
        if len(store.missing) == 1:
            raise KeyboardInterrupt
        write(store, row, col, pixels)

    for rows in reversed(pieces):
        with monkeypatch.context() as patch:
            patch.setattr(BlockStore, "write", interrupted)
            with pytest.raises(KeyboardInterrupt):
                upscale_strip(low, "other.tif", options, rows)
    (half,) = (path for path in Path(".other.tif.part/blocks").glob("0-1-0.*"))
    half.write_bytes(half.read_bytes()[:-1])  # as a power cut has it
    assert cut(low, "other.tif", options, 9000) == pieces  # goes on
    for rows in pieces[1:]:
        upscale_strip(low, "other.tif", options, rows)
    assert upscale_scene(low, "other.tif", options).sha256 == usual.sha256  # the first strip, too
    assert {path.name for path in Path().iterdir()} == {"low.tif", "usual.tif", "other.tif"}


def test_a_strip_of_another_output_is_refused(low, models):
    options = {"model": str(models["near.onnx"])}
    with pytest.raises(OptionError, match="was not begun"):
        upscale_strip(low, "other.tif", options, (0, 1))
    cut(low, "other.tif", options, 9000)
    with pytest.raises(OptionError, match="another options"):
        upscale_strip(low, "other.tif", {**options, "dtype": "float32"}, (0, 1))
    cut(low, "other.tif", {**options, "dtype": "float32"}, 9000)  # begins again
    upscale_strip(low, "other.tif", {**options, "dtype": "float32"}, (0, 1))


def test_a_strip_holds_no_more_pixels_than_asked_for_where_a_row_of_blocks_allows_it(low, models):
    options = {"model": str(models["near.onnx"])}
    with SceneWork(low, SceneOptions.of(options)) as scene:
        side = scene.block // scene.scale
    for pixels in (1, 140 * side, 140 * side * 2):
        pieces = cut(low, "other.tif", options, pixels)
        assert [first for first, _ in pieces] == [0, *(end for _, end in pieces[:-1])]
        sizes = [140 * side * (end - first) for first, end in pieces]
        assert max(sizes) <= max(pixels, 140 * side)
        assert pieces[-1][1] == -(-150 // side)
    window = {**options, "window": "0,0,10,140"}
    assert cut(low, "part.tif", window, Window(0, 0, 10, 140).pixels) == []
