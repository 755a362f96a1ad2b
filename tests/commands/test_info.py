"""``edgesr info`` of model files, and what commands say of files that they cannot use."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import onnx.parser
import pytest
from edgesr_export.card import (
    KEY,
    BandList,
    Limits,
    ModelCard,
    NativeNumbers,
    read_card,
    write_card,
)

from edgesr.cli.main import main

TEXT = """<ir_version: 10, opset_import: ["" : 20]>
    net (float[n, 2, h, w] x) => (float[n, 2, hr, wr] y)
    <float[4] scales = {1, 1, 2, 2}>
    { y = Resize <mode = "cubic"> (x, , scales) }"""


@pytest.fixture
def model(workplace) -> Path:
    """An ONNX file of bands 1 and 3 of 5, at x2."""
    path = Path("net.onnx")
    onnx.save(onnx.parser.parse_model(TEXT), path)
    card = ModelCard(
        scale=2,
        bands=BandList(index=(1, 3), count=5, wavelengths_nm=(450.0, 550.0)),
        normalisation=Limits(lower=(0.0, 100.0), upper=(1000.0, 2100.0)),
        native=NativeNumbers(
            dtype="int16", low=(3.0, 120.0), high=(900.0, 2000.0), fill=(400.0, 800.0), nodata=-99.0
        ),
        context=7,
        network="cubic",
        data="scene",
    )  # fmt: skip
    write_card(path, card)
    return path


def test_a_card_is_told_for_people_and_for_programs(model, capsys):
    assert main(["info", str(model)]) == 0
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()
                if not line.startswith("trained"))  # fmt: skip
    assert told["network"] == "cubic, x2"
    assert told["bands"] == "2 of 5: 1,3"
    assert told["wavelengths"] == "450 to 550 nm"
    assert told["input"] == "float32 in [0, 1], 2 bands"
    assert told["range"] == "3 to 2000, int16, of the training pixels"
    assert told["nodata"] == "-99, filled by 400 to 800"
    assert told["context"] == "7 LR pixels around a tile"
    assert main(["info", str(model), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(read_card(model).to_json())


def test_weights_have_a_card_too(materials, capsys):
    assert main(["info", str(materials.bilinear), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bands"]["index"] == list(range(8))
    assert told["network"] == "small_networks:bilinear"


def rewritten(path: Path, card: str | None) -> None:
    """Another text in the place of the card."""
    found = onnx.load(path)
    onnx.helper.set_model_props(found, {} if card is None else {KEY: card})
    onnx.save(found, path)


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("{", "damaged model card"),
        ('{"format": 2}', "update edgesr"),
        (None, "does not say what it was trained on"),
    ],
)
def test_a_card_that_cannot_be_read_is_one_line(model, refused, card, words):
    rewritten(model, card)
    assert words in refused("info", model)


def test_files_that_are_not_there_are_one_line(refused):
    for name in ("none.onnx", "none.engine", "none.safetensors"):
        assert name in refused("info", name)


@pytest.mark.parametrize("suffix", [".onnx", ".engine"])
def test_commands_that_train_or_cut_need_weights_of_torch(workplace, refused, materials, suffix):
    path = Path(f"net{suffix}")
    path.write_bytes(b"not read")
    evaluates = [] if suffix == ".onnx" else [["evaluate", "--weights"]]
    for command in (
        *evaluates,
        ["analyze", "--weights"],
        ["compress", "--output", "run", "--weights"],
        ["train", "--epochs", 1, "--output", "x.safetensors", "--initial"],
    ):
        line = refused(*command, path, "--data", materials.cube)
        assert "PyTorch weights are needed" in line, command


def test_export_keeps_the_card_and_writes_native_files(model, capsys):
    base = ["export", str(model), "--target", "cpu", "--output"]
    assert main([*base, "half.onnx", "--precision", "fp16"]) == 0
    half = read_card("half.onnx")
    assert (half.precision, half.context, half.bands) == ("fp16", 7, read_card(model).bands)
    assert main([*base, "own.onnx", "--io", "native", "--precision", "fp16"]) == 0
    assert "native numbers: int16 of 5 bands -> int16" in capsys.readouterr().out
    own = read_card("own.onnx")
    assert (own.precision, own.input.kind, own.input.dtype, own.output.bands) == (
        "fp16", "native", "int16", "network"
    )  # fmt: skip


def test_native_export_without_what_it_needs_is_one_line(model, refused):
    base = ["export", model, "--target", "cpu", "--output", "own.onnx", "--io", "native"]
    assert "leave out --io native" in refused(*base, "--profile")
    rewritten(model, None)
    assert "has no model card" in refused(*base)


def test_export_of_a_native_file_is_refused(model, refused, capsys):
    assert main(["export", str(model), "--target", "cpu", "--output", "own.onnx", "--io",
                 "native"]) == 0  # fmt: skip
    capsys.readouterr()
    for way in ("normalised", "native"):
        line = refused("export", "own.onnx", "--target", "cpu", "--output", "x.onnx", "--io", way)
        assert "takes native numbers" in line


def test_a_range_of_tiles_of_an_engine_is_said_once(model, refused):
    base = ["engine", model, "--output", "x.engine", "--tile-range"]
    assert "leave those out" in refused(*base, "8:16:32", "--opt", 16)
    assert "--tile-range must be MIN:OPT:MAX" in refused(*base, "8:16")


def test_a_model_of_another_tool_is_told_by_a_card_beside_it(model, refused, capsys):
    expected = json.loads(read_card(model).to_json())
    Path("card.json").write_text(json.dumps(expected))
    rewritten(model, None)
    assert "pass --card FILE" in refused("info", model)
    assert main(["info", str(model), "--card", "card.json", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == expected
    other = {**expected, "bands": {"index": [0], "count": 5}}
    for part in ("lower", "upper"):
        other["normalisation"] = {
            **other["normalisation"],
            part: expected["normalisation"][part][:1],
        }
    for part in ("low", "high", "fill"):
        other["native"] = {**other["native"], part: expected["native"][part][:1]}
    Path("card.json").write_text(json.dumps(other))
    assert "takes 2 bands and its card names 1" in refused("info", model, "--card", "card.json")
    assert "has no model card either" in refused("info", model, "--card", model)
    assert "cannot read the model card none" in refused("info", model, "--card", "none")
    assert "--card: only for a model file" in refused("info", "cube.npy", "--card", "card.json")
