"""What commands write: never an input, whatever its name; never what exists, unless asked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from edgesr.cube import Cube, write_cube
from edgesr.cube.parts import cube_files
from edgesr.cube.writers import written_files
from edgesr.recipe.recipes import CompressRecipe, TrainRecipe


@dataclass(frozen=True)
class Command:
    """A command line on the files of :func:`files`; OUT stands for the output.

    Attributes:
        line: the words.
        outputs: everything that it writes, from its output without suffix.
        inputs: everything that it reads.
        replaces: whether it has --overwrite.
        makes_folder: whether a folder that is missing will be made.
    """

    line: str
    outputs: tuple[str, ...]
    inputs: tuple[str, ...]
    replaces: bool = True
    makes_folder: bool = False

    def words(self, output: str, *more: str) -> list[str]:
        return [*(output if word == "OUT" else word for word in self.line.split()), *more]


CUBE = ("low.img", "low.img.hdr", "low.img.aux.xml")
NETWORK = ("net.onnx", "net.onnx.data")
COMMANDS = {
    "upscale": Command(
        "upscale low.img OUT --weights net.safetensors",
        (".hdr", ".img"),
        (*CUBE, "net.safetensors"),
    ),
    "train": Command(
        "train --data low.img --extra extra.npy --initial net.safetensors --recipe train.toml"
        " --output OUT",
        (".safetensors", ".checkpoint"),
        (*CUBE, "extra.npy", "net.safetensors", "train.toml"),
    ),
    "analyze": Command(
        "analyze --data low.img --weights net.safetensors --output OUT",
        ("/spectrum.html",),
        (*CUBE, "net.safetensors"),
        makes_folder=True,
    ),
    "export": Command(
        "export net.onnx --target cpu --precision int8 --tiles tiles.npz --output OUT",
        (".onnx",),
        (*NETWORK, "tiles.npz"),
    ),
    "engine": Command("engine net.onnx --sm 86 --output OUT", (".engine", ".engine.json"), NETWORK),
    "report": Command(
        "report run --import board.json --output OUT",
        (".html",),
        ("run/report.json", "run/pictures.npz", "board.json"),
        makes_folder=True,
    ),
    "reproduce": Command(
        "reproduce real --data reno=low.img --output OUT",
        (".json",),
        CUBE,
        replaces=False,
        makes_folder=True,
    ),
}
WRITTEN = [(name, output) for name, command in COMMANDS.items() for output in command.outputs]


@pytest.fixture(autouse=True)
def files(workplace, materials) -> None:
    """A cube of three files, weights, a network of two files, and what a run leaves."""
    write_cube(Cube(np.load(materials.cube)[:20, :20], "low"), Path("low.img"))
    Path("low.hdr").rename("low.img.hdr")
    Path("low.img.aux.xml").write_text("<PAMDataset></PAMDataset>")
    for name in ("extra.npy", "tiles.npz", "board.json"):
        Path(name).write_text(name)
    shutil.copy(materials.lkca_net, "net.safetensors")
    TrainRecipe(patch=16).save(Path("train.toml"))
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> network'
        " (float[n, 3, h, w] x) => (float[a, b, c, d] y) { y = Conv (x, w) }"
    )
    weight = np.ones((4, 3, 3, 3), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    onnx.save(model, "net.onnx", save_as_external_data=True, location="net.onnx.data",
              size_threshold=0)  # fmt: skip
    Path("run").mkdir()
    for name in ("report.json", "pictures.npz"):
        Path("run", name).write_text("{}")


def written(command: Command, output: str) -> tuple[str, Path]:
    """What to type so that ``output`` is among what is written, and its path."""
    stem = "out" if output.startswith("/") else f"out{command.outputs[0]}"
    return stem, Path(f"out{output}")


@pytest.mark.parametrize(("name", "output"), WRITTEN)
def test_an_input_under_another_name_is_never_written(refused, name, output):
    command = COMMANDS[name]
    typed, path = written(command, output)
    path.parent.mkdir(exist_ok=True)
    flags = ["--overwrite"] if command.replaces else []
    for source in map(Path, command.inputs):
        for disguise in (path.hardlink_to, path.symlink_to):
            disguise(source.absolute())
            line = refused(*command.words(typed, *flags))
            assert f"{path} is an input (" in line
            assert f"{source}) and would be lost" in line
            path.unlink()


@pytest.mark.parametrize(
    ("line", "output"),
    [
        ("upscale low.img OUT --weights net.safetensors", "low.hdr"),  # writes low.img, too
        ("upscale extra.npy OUT --weights net.safetensors", "extra.npy"),
        ("train --data low.img --initial net.safetensors --output OUT", "net.safetensors"),
        ("train --data net.checkpoint --output OUT", "net.safetensors"),
        ("export net.onnx --target cpu --output OUT", "net.onnx"),
        ("engine net.engine --sm 86 --output OUT", "net.engine"),
        ("report run --import page.html --output OUT", "page.html"),
        ("reproduce real --data reno=board.json --output OUT", "board.json"),
    ],
)
def test_an_input_is_never_written_however_it_is_spelled(refused, line, output):
    Path("here").symlink_to(".")
    for copy, source in (
        ("net.checkpoint", "extra.npy"),
        ("net.engine", "net.onnx"),
        ("page.html", "board.json"),
    ):
        shutil.copy(source, copy)
    more = [] if line.startswith("reproduce") else ["--overwrite"]
    absolute = str(Path(output).absolute())
    for spelled in (output, f"./{output}", f"run/../{output}", absolute, f"here/{output}"):
        words = [spelled if word == "OUT" else word for word in line.split()]
        assert "and would be lost; choose another name" in refused(*words, *more)


@pytest.mark.parametrize("kind", ["file", "broken link"])
@pytest.mark.parametrize(("name", "output"), [one for one in WRITTEN if one[0] != "reproduce"])
def test_nothing_is_replaced_unasked(refused, name, output, kind):
    typed, path = written(COMMANDS[name], output)
    path.parent.mkdir(exist_ok=True)
    path.write_text("years of work") if kind == "file" else path.symlink_to("nowhere")
    line = refused(*COMMANDS[name].words(typed))
    if path.suffix == ".checkpoint" and kind == "file":
        assert "is something else; move it away" in line
    elif path.suffix != ".checkpoint":
        assert f"{path} exists; pass --overwrite or another name" in line


def test_only_a_checkpoint_is_replaced_as_one(refused):
    words = COMMANDS["train"].words("out.safetensors", "--overwrite")
    Path("out.checkpoint").write_text("the other kind")
    assert "out.checkpoint, where the training would keep its state, is" in refused(*words)


def test_the_page_of_a_run_is_its_own(refused):
    """It is drawn again without asking; here the run's report is what is refused."""
    Path("run/report.html").write_text("the page")
    assert "schema" in refused("report", "run")
    assert "schema" in refused("report", "run", "--output", "run/report.html")


# --- places where nothing can be written -------------------------------------------------------

PLACES: dict[str, tuple[Callable[[str], str], str]] = {
    "too long": (lambda suffix: "n" * 300 + suffix, "cannot be written: File name too long"),
    "no room while it is made": (
        lambda suffix: "n" * (254 - len(suffix)) + suffix,
        "cannot be written: File name too long",
    ),
    "null": (lambda suffix: f"n\0n{suffix}", "n\\x00n"),
    "folder": (lambda suffix: f"folder{suffix}", "is a folder; name a file"),
    "slash": (lambda suffix: f"new{suffix}/", "is the name of a folder; name a file"),
    "slash and dot": (lambda suffix: f"new{suffix}/.", "is the name of a folder; name a file"),
    "file around": (lambda suffix: f"train.toml/new{suffix}", "train.toml is no folder"),
    "file far around": (lambda suffix: f"train.toml/a/new{suffix}", "is no folder"),
    "missing": (lambda suffix: f"missing/new{suffix}", "missing is no folder"),
}


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "analyze"])
def test_a_place_that_takes_no_file_is_refused_before_any_work(refused, name):
    command = COMMANDS[name]
    suffix = command.outputs[0]
    Path(f"folder{suffix}").mkdir()
    flags = ["--overwrite"] if command.replaces else []
    for place, (spell, message) in PLACES.items():
        if place == "missing" and command.makes_folder:
            continue
        assert message in refused(*command.words(spell(suffix), *flags)), place


@pytest.mark.parametrize("name", ["analyze", "compress"])
def test_a_place_that_takes_no_folder_is_refused_before_any_work(refused, name):
    words = f"{name} --data low.img --weights net.safetensors --output"
    for place in ("too long", "null", "file around", "file far around"):
        spell, message = PLACES[place]
        assert message in refused(*words.split(), spell("")), place


# --- folders -----------------------------------------------------------------------------------


def finished_run(folder: Path, **values: str) -> None:
    CompressRecipe(**values).save(folder / "recipe.toml")
    (folder / "report.json").write_text("{}")


@pytest.mark.parametrize("option", ["--data", "--weights", "--teacher", "--recipe"])
@pytest.mark.parametrize("how", ["plain", "dots", "linked file", "linked folder", "hidden link"])
def test_a_run_that_holds_an_input_is_not_replaced(refused, option, how):
    finished_run(Path("run"))
    shutil.copy("low.img", "run/student.safetensors")
    Path("here").symlink_to("run")
    Path("link").symlink_to("run/student.safetensors")
    Path("run/mine").symlink_to("../extra.npy")
    name = "recipe.toml" if option == "--recipe" else "student.safetensors"
    given = {
        "plain": f"run/{name}",
        "dots": f"run/../run/{name}",
        "linked file": "link",
        "linked folder": f"here/{name}",
        "hidden link": "run/mine",
    }[how]
    if option == "--recipe" and how in ("linked file", "hidden link"):
        Path(given).unlink()
        Path(given).symlink_to(Path("run/recipe.toml").absolute())
    line = refused("compress", option, given, "--output", "here", "--overwrite")
    assert f"{given} is an input and lies in here" in line


@pytest.mark.parametrize(
    ("prepare", "flags", "message"),
    [
        (lambda bundle: None, [], "run/bundle exists; pass --overwrite"),
        (lambda bundle: None, ["--overwrite"], "is no bundle: it has no manifest.json"),
        (lambda bundle: shutil.copy("low.img", bundle / "low.img"), ["--overwrite"],
         "run/bundle/low.img is an input and lies in run/bundle"),
        (lambda bundle: (bundle.parent / "bundle.tar.gz").symlink_to("../low.img"), ["--overwrite"],
         "is an input (low.img)"),
    ],
)  # fmt: skip
def test_a_bundle_replaces_only_a_bundle(refused, prepare, flags, message):
    bundle = Path("run/bundle")
    bundle.mkdir()
    (bundle / "thesis.tex").write_text("years of work")
    prepare(bundle)
    data = "run/bundle/low.img" if (bundle / "low.img").exists() else "low.img"
    finished_run(Path("run"), data=data)
    assert message in refused("bundle", "run", *flags)


# --- what consists of several files ------------------------------------------------------------


def test_the_files_of_a_cube():
    assert {str(path) for path in cube_files("low.img")} == {*CUBE}
    assert {str(path) for path in cube_files("extra.npy")} == {"extra.npy"}
    assert cube_files("indian_pines") == cube_files("nowhere.hdr") == []
    Path("cube.mat").touch()
    assert cube_files("cube.mat:name") == [Path("cube.mat")]


@pytest.mark.parametrize("name", ["a.hdr", "a.img", "a.tif", "a.npy", "a.npz"])
def test_a_writer_says_which_files_it_writes(name):
    Path("new").mkdir()
    cube = Cube(np.ones((4, 5, 3), np.int16), "a", mask=np.eye(4, 5, dtype=bool), gain=0.1)
    write_cube(cube, Path("new", name))
    assert sorted(Path("new").iterdir()) == sorted(written_files(Path("new", name)))


def test_a_result_that_is_imported_is_never_the_page(refused):
    (Path("run") / "report.html").hardlink_to("board.json")
    assert "is an input (board.json)" in refused("report", "run", "--import", "board.json")
    assert json.loads(Path("run/report.json").read_text()) == {}
