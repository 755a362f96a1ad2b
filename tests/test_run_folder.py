"""The folder of a run: refused, interrupted anywhere, resumed, finished."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from edgesr_export.errors import ExportError
from edgesr_export.paired import Paired
from edgesr_export.profile import Profiled

from edgesr.compress import compress
from edgesr.distill.trainer import _Trainer
from edgesr.errors import OptionError
from edgesr.evaluation.latency import Timing
from edgesr.recipe.recipes import CompressRecipe
from edgesr.run_folder import RunFolder


def begun(path: Path, recipe: CompressRecipe | None = None, **flags: bool) -> RunFolder:
    """A folder whose run has begun; as after the end of its process, it is not locked."""
    folder = RunFolder(path, **{"overwrite": False, "resume": False, **flags})
    folder.create(recipe or CompressRecipe())
    folder.release()
    return folder


REPOSITORY = Path(__file__).resolve().parents[1]
BEGUN = {".state", ".state/recipe.toml", ".state/draft", ".state/draft/recipe.toml"}


def names(path: Path) -> set[str]:
    return {str(item.relative_to(path)) for item in path.rglob("*")}


def test_nothing_is_written_before_create(tmp_path):
    RunFolder(tmp_path / "new" / "run", overwrite=False, resume=False)
    assert names(tmp_path) == set()


def test_the_default_folder_is_named_after_the_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edgesr.run_folder.time.strftime", lambda _: "20300102-030405")
    assert RunFolder(None, overwrite=False, resume=False).path == Path("runs/20300102-030405")


def test_create_and_finish(tmp_path):
    folder = begun(tmp_path / "run", CompressRecipe(rank=16))
    assert names(folder.path) == BEGUN
    assert CompressRecipe.load(folder.draft / "recipe.toml") == CompressRecipe(rank=16)
    folder.finish({"answer": 42})
    assert names(folder.path) == {"recipe.toml", "report.json"}
    assert json.loads((folder.path / "report.json").read_text()) == {"answer": 42}


def test_a_folder_that_is_empty_is_used(tmp_path):
    (tmp_path / "run").mkdir()
    assert names(begun(tmp_path / "run").path) == BEGUN


def test_a_run_is_not_replaced_unasked(tmp_path):
    begun(tmp_path / "run").finish({})
    with pytest.raises(OptionError, match="holds a run; pass --overwrite, --resume or another"):
        begun(tmp_path / "run")


@pytest.mark.parametrize("flag", ["overwrite", "resume"])
def test_files_of_another_kind_are_never_touched(tmp_path, flag):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(OptionError, match="no run"):
        begun(tmp_path, **{flag: True})
    assert names(tmp_path) == {"thesis.tex"}


def test_overwriting_leaves_nothing_of_the_earlier_run(tmp_path):
    folder = begun(tmp_path / "run", CompressRecipe(rank=8))
    for name in ("student.safetensors", "model.onnx"):
        (folder.draft / name).write_text("[]")
    folder.remember("candidates", list)
    folder.finish({})
    (folder.path / "__pycache__").mkdir()  # somebody has imported the loader
    for name in ("__pycache__/a.pyc", "mine.txt"):
        (folder.path / name).write_text("[]")
    folder = begun(tmp_path / "run", CompressRecipe(rank=16), overwrite=True)
    folder.finish({"run": 2})
    assert names(folder.path) == {"report.json", "recipe.toml", "mine.txt"}
    assert CompressRecipe.load(folder.path / "recipe.toml").rank == 16
    assert json.loads((folder.path / "report.json").read_text()) == {"run": 2}


def test_a_complete_run_cannot_be_resumed(tmp_path):
    begun(tmp_path / "run").finish({})
    with pytest.raises(OptionError, match="is complete; leave out --resume"):
        begun(tmp_path / "run", resume=True)


def test_a_run_of_other_options_cannot_be_resumed(tmp_path):
    begun(tmp_path / "run", CompressRecipe(rank=8))
    with pytest.raises(OptionError, match=r"had other options; see .*recipe\.toml"):
        begun(tmp_path / "run", CompressRecipe(rank=16), resume=True)
    assert CompressRecipe.load(tmp_path / "run/.state/recipe.toml").rank == 8


def test_there_must_be_something_to_resume(tmp_path):
    with pytest.raises(OptionError, match="there is no run to resume"):
        begun(tmp_path / "run", resume=True)
    with pytest.raises(OptionError, match="--resume needs --output"):
        RunFolder(None, overwrite=False, resume=True)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="is a file; name a folder"):
        begun(tmp_path / "file")
    with pytest.raises(OptionError, match="cannot be written"):
        begun(tmp_path / "file" / "run")


def test_results_wait_for_the_resumed_run(tmp_path):
    computed = []

    def compute() -> list[int]:
        computed.append(1)
        return [1, 2]

    assert begun(tmp_path / "run").remember("stage", compute) == [1, 2]
    again = begun(tmp_path / "run", resume=True)
    assert again.remember("stage", compute) == [1, 2]
    assert len(computed) == 1
    fresh = begun(tmp_path / "run", overwrite=True)
    fresh.remember("stage", compute)
    assert len(computed) == 2


def test_times_add_up_over_interruptions(tmp_path, monkeypatch):
    clock = iter([0.0, 2.0, 10.0, 13.0])
    monkeypatch.setattr("edgesr.run_folder.time.perf_counter", lambda: next(clock))
    folder = begun(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt), folder.timed("distil"):
        raise KeyboardInterrupt
    folder = begun(tmp_path / "run", resume=True)
    with folder.timed("distil"):
        pass
    assert folder.timing == {"distil": 5.0}


def test_a_refused_start_leaves_an_interrupted_run_alone(tmp_path):
    folder = begun(tmp_path / "run", CompressRecipe(rank=8))
    folder.remember("stage", lambda: 1)
    before = {name: (tmp_path / "run" / name).stat().st_mtime_ns for name in names(folder.path)}
    refused = RunFolder(tmp_path / "run", overwrite=True, resume=False)
    with refused.timed("open"):
        pass
    assert before == {n: (tmp_path / "run" / n).stat().st_mtime_ns for n in names(folder.path)}


def test_abandoning_removes_what_was_written(tmp_path):
    folder = begun(tmp_path / "run")
    (folder.draft / "student.safetensors").touch()
    folder.abandon()
    assert not folder.path.exists()
    (tmp_path / "run").mkdir()
    folder = begun(tmp_path / "run")
    (folder.path / "mine.txt").touch()
    folder.abandon()
    assert names(folder.path) == {"mine.txt"}


def full_disk() -> OptionError:
    error = OptionError("cannot be written")
    error.__cause__ = OSError("No space left on device")
    return error


@pytest.mark.parametrize(
    ("error", "trained", "kept"),
    [
        (OptionError("nothing keeps to the budget"), True, False),
        (ExportError("the engine was not built"), True, True),
        (ExportError("the engine was not built"), False, False),
        (full_disk(), True, True),
        (MemoryError(), True, True),
    ],
)
def test_what_took_long_waits_where_it_can_be_used_again(tmp_path, error, trained, kept):
    folder = begun(tmp_path / "run")
    if trained:
        folder.state("lowrank-8.checkpoint").touch()
    folder.fail(error)
    assert folder.path.exists() == kept
    assert str(error).endswith("then add --resume") == kept
    if kept:
        begun(tmp_path / "run", resume=True)


# --- interruptions -----------------------------------------------------------------------------


def steady(
    callables: Mapping[str, Callable[[], object]], repeats: int, warmup: int = 3, **_: object
) -> dict[str, Timing]:
    """Latencies that say the same in every run: the later, the slower."""
    return {
        name: Timing(index, index, index, repeats, (index,) * repeats)
        for index, name in enumerate(callables, start=1)
    }


def be_steady(patch: pytest.MonkeyPatch) -> None:
    """Let no latency differ between two runs."""
    for module in ("edgesr.compress.candidates", "edgesr.deploy.measure"):
        patch.setattr(f"{module}.measure", steady)
    equal = Paired((1.0,) * 8, (1.0,) * 8, 0.05, 0)
    patch.setattr("edgesr.compress.stages.select.compare", lambda *_, **__: equal)
    patch.setattr(
        "edgesr_export.profile.ort.ort_profile", lambda *arguments, **options: Profiled((), 1.0, 1)
    )


@pytest.fixture(scope="module")
def recipe(small_recipe) -> CompressRecipe:
    """Takes g = 8 and distils one with g = 2 beside it, as the paper's."""
    return replace(small_recipe, method="grouped", max_psnr_drop=1.0, baseline_groups=2)


@pytest.fixture(scope="module")
def expected(recipe, materials, plain_exporter, tmp_path_factory) -> Path:
    """The folder of the run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(materials.folder))
        patch.setattr("edgesr_export.tracing.export_onnx", plain_exporter)
        be_steady(patch)
        report = compress(recipe, folder)
    assert report["chosen"]["groups"] == 8
    assert report["paper_baseline"]["groups"] == 2
    return folder


def interrupt(monkeypatch: pytest.MonkeyPatch, target: str, call: int) -> None:
    """Press Ctrl-C when ``target`` is called for the ``call``-th time."""
    module, _, name = target.partition(":")
    owner, _, attribute = name.rpartition(".")
    place: Any = __import__(module, fromlist=["_"])
    place = attrgetter(owner)(place) if owner else place
    original = getattr(place, attribute)
    calls = []

    def pressed(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(place, attribute, pressed)


def without_times(value: Any) -> Any:
    """A report without what differs from one run to the next."""
    if isinstance(value, dict):
        return {
            key: without_times(entry)
            for key, entry in value.items()
            if key not in ("created", "folder", "timing_s", "seconds")
        }
    return [without_times(entry) for entry in value] if isinstance(value, list) else value


STAGES = [
    ("edgesr.compress.pipeline:calibrate", 1),
    ("edgesr.compress.stages.baselines:evaluate_bicubic", 1),
    ("edgesr.compress.stages.baselines:evaluate", 1),  # the teacher on the test region
    ("edgesr.compress.candidates:quality_drop", 3),  # the second candidate
    ("edgesr.deploy.baselines:export_with_fallbacks", 1),  # the teacher
    ("edgesr.deploy.baselines:compare", 1),  # the first candidate's file
    ("edgesr.compress.candidates:measure", 1),
    ("edgesr.compress.candidates:choose", 1),
    ("edgesr.distill.trainer:_Trainer._step", 1),  # epoch 1
    ("edgesr.distill.trainer:_Trainer._step", 4),  # epoch 2, with a checkpoint
    ("edgesr.distill.trainer:checkpoints.save", 2),
    ("edgesr.distill.trainer:_Trainer._step", 7),  # the paper's, epoch 2
    ("edgesr.compress.stages.export:save_network", 1),
    (
        "edgesr.compress.stages.export:write_network",
        1,
    ),  # the student: its weights are there, its graph is not
    ("edgesr.compress.stages.export:onnx_entry", 1),
    ("edgesr.deploy.variants:convert", 1),
    ("edgesr.deploy.stage:export_baselines", 1),  # the models are there, their table is not
    ("edgesr.deploy.measure:measure", 1),
    ("edgesr.compress.stages.pictures:take_pictures", 1),
    ("edgesr.compress.stages.report:validate", 1),
    ("edgesr.compress.stages.report:write_page", 1),
    ("edgesr.run_folder:RunFolder.finish", 1),
    ("edgesr.run_folder:shutil.rmtree", 1),  # the report is there, the state is not gone
]


@pytest.mark.parametrize(("target", "call"), STAGES)
def test_an_interrupted_run_is_completed_by_resume(
    workplace, plain_export, monkeypatch, recipe, expected, target, call
):
    be_steady(monkeypatch)
    with monkeypatch.context() as pressed:
        interrupt(pressed, target, call)
        with pytest.raises(KeyboardInterrupt):
            compress(recipe, Path("run"))
    assert (workplace / "run/.state/recipe.toml").is_file()
    assert not (workplace / "run/report.json").exists() or "rmtree" in target
    with pytest.raises(OptionError, match="--resume"):
        compress(recipe, Path("run"))

    report = compress(recipe, Path("run"), resume=True)
    wanted = json.loads((expected / "report.json").read_text())
    assert without_times(report) == without_times(wanted)
    assert names(workplace / "run") == names(expected)
    for name in ("student.safetensors", "model.onnx", "recipe.toml"):
        content = (workplace / "run" / name).read_bytes()
        entry = next(entry for entry in wanted["files"] if entry["path"] == name)
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]


def test_an_interruption_while_the_folder_is_made(workplace, plain_export, monkeypatch, recipe):
    with monkeypatch.context() as pressed:
        interrupt(pressed, "edgesr.recipe.recipes:CompressRecipe.save", 1)
        with pytest.raises(KeyboardInterrupt):
            compress(recipe, Path("run"))
    assert names(workplace / "run") == {".state", ".state/draft"}
    assert compress(recipe, Path("run"))["student"]


def test_a_run_may_be_interrupted_again_and_again(
    workplace, plain_export, monkeypatch, recipe, expected
):
    be_steady(monkeypatch)
    for turn, (target, call) in enumerate(STAGES[5:12:2]):
        with monkeypatch.context() as pressed:
            interrupt(pressed, target, 1 if "_step" in target else call)
            with pytest.raises(KeyboardInterrupt):
                compress(recipe, Path("run"), resume=turn > 0)
    report = compress(recipe, Path("run"), resume=True)
    wanted = json.loads((expected / "report.json").read_text())
    assert without_times(report) == without_times(wanted)


def test_a_resumed_run_measures_no_candidate_again(workplace, plain_export, monkeypatch, recipe):
    with monkeypatch.context() as pressed:
        interrupt(pressed, "edgesr.compress.candidates:choose", 1)
        with pytest.raises(KeyboardInterrupt):
            compress(recipe, Path("run"))
    measured = json.loads((workplace / "run/.state/candidates.json").read_text())
    report = compress(recipe, Path("run"), resume=True)
    found = [candidate["latency_ms"] for candidate in report["candidates"]]
    assert found == [candidate["latency_ms"] for candidate in measured]


def test_a_resumed_run_trains_no_epoch_again(workplace, plain_export, monkeypatch, recipe):
    """Two steps an epoch, two epochs, two students: the first student's first epoch is over."""
    be_steady(monkeypatch)
    with monkeypatch.context() as pressed:
        interrupt(pressed, "edgesr.distill.trainer:_Trainer._step", 4)
        with pytest.raises(KeyboardInterrupt):
            compress(recipe, Path("run"))
    original, steps = _Trainer._step, []

    def counted(self: _Trainer, *arguments: Any) -> Any:
        steps.append(1)
        return original(self, *arguments)

    monkeypatch.setattr(_Trainer, "_step", counted)
    compress(recipe, Path("run"), resume=True)
    assert len(steps) == 2 + 4


def test_a_run_that_fails_late_leaves_no_folder(workplace, plain_export, recipe):
    hopeless = replace(recipe, method="lowrank", rank_target=0.1, init="weights", max_psnr_drop=0.0)
    with pytest.raises(OptionError, match="no candidate stays within"):
        compress(hopeless, Path("run"))
    assert names(workplace) == set()


# --- replacing a finished run ------------------------------------------------------------------


REPLACING = """
import os, signal, sys
from pathlib import Path
from edgesr.recipe.recipes import CompressRecipe
from edgesr.run_folder import RunFolder

MAKE
left = int(sys.argv[1])

def kill(event, arguments):
    global left
    if event in ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree"):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
folder = RunFolder(Path("run"), overwrite=True, resume=False)
folder.create(CompressRecipe(rank=16))
make(folder, "new", ("student.safetensors", "models/new.onnx"))
folder.finish({"run": "new"})
folder.release()
"""


def make(folder: RunFolder, content: str, files: tuple[str, ...]) -> None:
    """What a run does between create() and finish()."""
    for name in files:
        (folder.draft / name).parent.mkdir(exist_ok=True)
        (folder.draft / name).write_text(content)


def content(path: Path) -> dict[str, str]:
    """Every file outside the state."""
    files = (item for item in path.rglob("*") if item.is_file() and ".state" not in item.parts)
    return {str(item.relative_to(path)): item.read_text() for item in files}


def test_a_run_that_is_replaced_survives_every_kill(workplace):
    """Killed before any change of the file system: there is a whole run, or a resumable one."""
    program = REPLACING.replace("MAKE", inspect.getsource(make))
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    seen = set()
    for steps in count():
        shutil.rmtree("run", ignore_errors=True)
        folder = begun(Path("run"), CompressRecipe(rank=8))
        make(folder, "old", ("student.safetensors", "model.onnx", "models/old.onnx"))
        folder.finish({"run": "old"})
        Path("run/mine.txt").write_text("mine")
        old = content(Path("run"))
        finished = subprocess.run([sys.executable, "-c", program, str(steps)], env=variables)
        found = content(Path("run"))
        if "report.json" in found:
            which = json.loads(found["report.json"])["run"]
            assert which == "new" or found == old
            assert ("models/new.onnx" in found) == (which == "new")
        else:
            which = "none"
        seen.add(which)
        if Path("run/.state/recipe.toml").is_file():
            resumed = RunFolder(Path("run"), overwrite=False, resume=True)
            resumed.create(CompressRecipe(rank=16))
            if resumed.is_complete:
                assert resumed.publish() == {"run": "new"}
            else:
                assert found == old
                make(resumed, "new", ("student.safetensors", "models/new.onnx"))
                resumed.finish({"run": "new"})
            resumed.release()
            found = content(Path("run"))
            which = "new"
        assert which in ("old", "new")
        if which == "new":
            assert set(found) == {
                "student.safetensors", "models/new.onnx", "recipe.toml", "report.json", "mine.txt"
            }  # fmt: skip
            assert found["student.safetensors"] == "new"
            with pytest.raises(OptionError, match="is complete"):
                RunFolder(Path("run"), overwrite=False, resume=True)
        if finished.returncode == 0:
            break
        assert finished.returncode == -signal.SIGKILL
    assert seen == {"old", "none", "new"}


def test_a_new_start_takes_a_run_that_was_all_but_finished_as_the_earlier_one(tmp_path):
    folder = begun(tmp_path / "run", CompressRecipe(rank=8))
    make(folder, "whole", ("student.safetensors",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "publish", lambda folder: None)
        folder.finish({"run": "whole"})
    begun(tmp_path / "run", CompressRecipe(rank=16), overwrite=True).abandon()
    found = content(tmp_path / "run")
    assert found["student.safetensors"] == "whole"
    assert json.loads(found["report.json"]) == {"run": "whole"}


def test_a_run_that_fails_leaves_the_earlier_one(
    workplace, plain_export, monkeypatch, recipe, expected
):
    shutil.copytree(expected, "run")
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}

    def same() -> bool:
        kept = (path for path in Path("run").rglob("*") if ".state" not in path.parts)
        return before == {path: path.read_bytes() for path in kept if path.is_file()}

    hopeless = replace(recipe, method="lowrank", rank_target=0.1, init="weights", max_psnr_drop=0.0)
    with pytest.raises(OptionError, match="no candidate stays within"):
        compress(hopeless, Path("run"), overwrite=True)
    assert same()
    assert not Path("run/.state").exists()

    be_steady(monkeypatch)
    with monkeypatch.context() as pressed:
        interrupt(pressed, "edgesr.compress.stages.report:write_page", 1)
        with pytest.raises(KeyboardInterrupt):
            compress(recipe, Path("run"), overwrite=True)
    assert same()
    report = compress(recipe, Path("run"), resume=True)
    wanted = json.loads((expected / "report.json").read_text())
    assert without_times(report) == without_times(wanted)
    assert names(Path("run")) == names(expected)
    assert not same()
