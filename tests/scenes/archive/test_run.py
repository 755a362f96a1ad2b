"""An archive in this process: what is done, what is left, what is refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import msgspec
import pytest
import scene_fakes
from scene_fakes import expected

from edgesr.errors import DataError, OptionError
from edgesr.scenes.archive import run_archive
from edgesr.scenes.archive.engines import ThisProcess, UnfinishedError
from edgesr.scenes.archive.model import Archive
from edgesr.scenes.archive.schema import SCHEMA, make_schema
from edgesr.schema import find_fault

CALL = "scene_fakes:upscale"
THREE = {"a": "good 1", "b": "good 2", "c": "good 3"}


def run_jobs(scenes, jobs, call=CALL, **more) -> Archive:
    return run_archive(jobs, scenes.out, ThisProcess(), call=call, **more)


def stored(scenes) -> Archive:
    return msgspec.convert(json.loads((scenes.out / "archive.json").read_text()), Archive)


def test_every_scene_is_done_once_however_often_it_is_asked_for(scenes):
    first = scenes.add(**THREE).run()
    scenes.assert_whole()
    again = scenes.run(resume=True)
    assert [scenes.executions(name) for name in THREE] == [1, 1, 1]
    assert (first.computed, again.computed) == (3, 0)
    assert again.done == first.done
    assert stored(scenes) == again
    assert [one.id for one in again.done] == [*THREE]
    assert {one.receipt.pixels for one in again.done} == {16}


def test_what_fails_is_told_and_tried_again_next_time(scenes):
    scenes.add(a="good", b="corrupt", c="flaky", d="broken")
    made = scenes.run(retries=1)
    assert [(one.id, one.kind) for one in made.failed] == [("b", "refused"), ("d", "error")]
    assert made.failed[0].reason.endswith("(it is truncated); copy it again")
    assert made.failed[1].reason == "RuntimeError: the weather"
    assert [scenes.executions(name) for name in "abcd"] == [1, 1, 2, 2]
    scenes.assert_whole("b", "d")
    assert stored(scenes) == made
    scenes.add(b="good after all")
    assert [one.id for one in scenes.run(retries=0).failed] == ["d"]
    assert [scenes.executions(name) for name in "abcd"] == [1, 2, 2, 3]
    scenes.assert_whole("d")


def test_what_a_scene_is_warned_of_is_told_with_its_name_and_kept(scenes, caplog):
    made = scenes.add(a="good", b="warns").run()
    assert [one.warnings for one in made.done] == [[], ["numbers of another kind"]]
    assert stored(scenes) == made
    assert caplog.messages == ["b: numbers of another kind"]
    scenes.run()
    assert stored(scenes).done == made.done


def test_a_full_disk_ends_the_archive_and_it_goes_on_when_there_is_space(scenes):
    scenes.add(a="good", b="full", c="good")
    with pytest.raises(UnfinishedError, match=r"No space left.* go on with the same command"):
        scenes.run()
    assert [scenes.executions(name) for name in "abc"] == [1, 1, 0]
    scenes.assert_whole("b", "c")
    assert [(one.id, one.kind) for one in stored(scenes).failed] == [("b", "full")]
    assert stored(scenes).waiting == 1
    scenes.add(b="good").run()
    scenes.assert_whole()
    assert scenes.executions("a") == 1


def test_a_full_disk_is_known_in_other_words(scenes, monkeypatch):
    def full(*_: object) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise DataError("a.tif: the disk is full; make room") from error

    monkeypatch.setattr(scene_fakes, "upscale", full)
    with pytest.raises(UnfinishedError, match=r"the disk is full.* same command"):
        scenes.add(a="good", b="good").run()
    assert [one.kind for one in stored(scenes).failed] == ["full"]
    assert stored(scenes).waiting == 1


def test_an_engine_has_ended_before_the_folder_is_let_go(scenes):
    class Watched(ThisProcess):
        def run(self, *arguments):
            try:
                yield from super().run(*arguments)
            finally:
                held.append((scenes.out / ".state" / "lock").exists())

    held = []
    with pytest.raises(UnfinishedError) as caught:
        scenes.add(a="full", b="good").run(Watched())
    assert held == [True]
    assert caught.tb is not None


@pytest.mark.parametrize(
    "damage",
    [
        lambda target: target.unlink(),
        lambda target: target.write_bytes(target.read_bytes()[:-1]),
        lambda target: target.write_bytes(target.read_bytes()[::-1]),
    ],
)
def test_an_output_that_was_lost_or_damaged_is_made_again(scenes, damage):
    scenes.add(**THREE).run()
    damage(scenes.out / "b.tif")
    assert scenes.run().computed == 1
    assert [scenes.executions(name) for name in THREE] == [1, 2, 1]
    scenes.assert_whole()


def test_a_copy_of_an_archive_is_known_by_its_hashes(scenes):
    scenes.add(**THREE).run()
    for path in scenes.out.glob("*.tif"):
        os.utime(path, ns=(1, 1))
    assert scenes.run().computed == 0


def test_a_source_that_changed_is_done_again_and_one_that_is_gone_is_not(scenes):
    scenes.add(**THREE).run()
    jobs = scenes.jobs
    (scenes.folder / "a.txt").unlink()
    scenes.add(b="good but different")
    made = run_jobs(scenes, jobs)
    assert made.computed == 1
    assert (scenes.out / "b.tif").read_bytes() == expected("good but different")
    assert (scenes.out / "a.tif").read_bytes() == expected(THREE["a"])


def test_other_settings_need_overwrite(scenes, tmp_path):
    model = tmp_path / "model.onnx"
    model.write_bytes(b"1")
    scenes.add(**THREE).run(model=model)
    assert scenes.run(model=model).computed == 0
    model.write_bytes(b"2")
    with pytest.raises(OptionError, match=r"3 scenes made with another model .*a; b; c.*overwrite"):
        scenes.run(model=model)
    assert scenes.run(model=model, overwrite=True).computed == 3
    assert scenes.run(model=model).computed == 0
    threads = [replace(job, options={**job.options, "threads": 7}) for job in scenes.jobs]
    assert run_jobs(scenes, threads, model=model).computed == 0
    other = [replace(job, options={**job.options, "tile": 7}) for job in scenes.jobs]
    with pytest.raises(OptionError, match="other options"):
        run_jobs(scenes, other, model=model)


def test_files_of_others_and_inputs_are_never_replaced(scenes):
    scenes.add(**THREE)
    scenes.out.mkdir()
    (scenes.out / "b.tif").write_text("mine")
    with pytest.raises(OptionError, match=r"b\.tif exists; pass --overwrite"):
        scenes.run()
    assert [path.name for path in scenes.out.iterdir()] == ["b.tif"]
    assert not scenes.log.exists()
    scenes.run(overwrite=True)
    scenes.assert_whole()
    onto = [replace(job, target=job.source) for job in scenes.jobs]
    with pytest.raises(OptionError, match="is an input"):
        run_jobs(scenes, onto, overwrite=True)


def test_a_scene_that_does_not_exist_is_told_before_the_work(scenes):
    jobs = scenes.add(**THREE).jobs
    (scenes.folder / "b.txt").unlink()
    with pytest.raises(OptionError, match=r"1 scenes? do(es)? not exist: .*b\.txt"):
        run_jobs(scenes, jobs)
    assert not scenes.out.exists()


def test_resume_wants_an_archive(scenes):
    with pytest.raises(OptionError, match="there is no archive in"):
        scenes.add(**THREE).run(resume=True)
    assert not scenes.out.exists()


def test_one_process_at_a_time(scenes):
    scenes.add(**THREE)
    (scenes.out / ".state").mkdir(parents=True)
    hold = (
        "import sys; from pathlib import Path; from edgesr.locks import Lock\n"
        "with Lock(Path(sys.argv[1]), Path(sys.argv[2])):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", hold, scenes.out / ".state" / "lock", scenes.out]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(OptionError, match="is being written by process"):
            scenes.run()
        other.stdin.close()
    scenes.run()
    scenes.assert_whole()


def test_what_a_killed_process_left_is_cleaned_and_its_output_taken_for_ours(scenes):
    scenes.add(**THREE).run()
    (scenes.out / ".receipts" / "b.json").rename(scenes.out / ".receipts" / "b.begun")
    (scenes.out / ".a.123.part.tif").write_text("half")
    (scenes.out / ".b.123.part.tif").mkdir()
    (scenes.out / ".receipts" / ".b.123.part.json").write_text("half")
    (scenes.out / ".state" / "workers" / "scratch").mkdir(parents=True)
    scenes.run()
    assert [scenes.executions(name) for name in THREE] == [1, 2, 1]
    scenes.assert_whole()


def test_part_files_of_others_stay(scenes):
    scenes.add(**THREE)
    scenes.out.mkdir()
    (scenes.out / ".else.123.part.tif").write_text("half")
    scenes.run()
    assert (scenes.out / ".else.123.part.tif").exists()


def test_a_receipt_that_lies_is_no_receipt(scenes):
    scenes.add(**THREE).run()
    receipts = scenes.out / ".receipts"
    shutil.copy(receipts / "a.json", receipts / "b.json")
    (receipts / "c.json").write_text("{")
    scenes.run()
    scenes.assert_whole()


def test_a_function_that_wrote_nothing_has_failed(scenes, monkeypatch):
    made = scene_fakes.Made("a", "b", 1, 1.0, "0" * 64)
    monkeypatch.setattr(scene_fakes, "upscale", lambda *_: made)
    [failed] = scenes.add(a="good").run().failed
    assert "was not written" in failed.reason


def test_the_schema_is_that_of_the_types_and_holds(scenes):
    assert json.loads(SCHEMA.read_text()) == make_schema()
    scenes.add(a="good", b="corrupt").run()
    content = json.loads((scenes.out / "archive.json").read_text())
    place = ("edgesr.scenes.archive", SCHEMA.name)
    assert find_fault(*place, content) is None
    assert find_fault(*place, {**content, "done": [{}]}) is not None


def test_a_missing_function_is_told_before_anything_is_written(scenes):
    jobs = scenes.add(**THREE).jobs
    with pytest.raises(OptionError, match="cannot find scene_fakes:nothing"):
        run_jobs(scenes, jobs, call="scene_fakes:nothing")
    assert not scenes.out.exists()
