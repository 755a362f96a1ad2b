"""``edgesr export`` as it is typed."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from edgesr_export.chain import recorded_links
from edgesr_export.sizes import input_shape

from edgesr.cli.main import main
from edgesr.commands.export import Int8Options, convert_file
from edgesr.errors import DataError
from edgesr.evaluation.interval import bootstrap_interval

TEXT = """<ir_version: 10, opset_import: ["" : 20]>
    net (float[n, 3, h, w] x) => (float[n, 3, hr, wr] y)
    <float[4] scales = {1, 1, 2, 2}>
    { y = Resize <mode = "cubic"> (x, , scales) }"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(onnx.parser.parse_model(TEXT), path)
    return path


def test_a_file_is_converted_and_profiled(source, tmp_path, capsys):
    output = tmp_path / "out.onnx"
    code = main(["export", str(source), "--target", "cpu", "--output", str(output), "--profile"])
    told = capsys.readouterr().out
    assert code == 0
    assert recorded_links(output)
    for words in ("exact rewrites: largest difference", "operator", "Resize", "DepthToSpace"):
        assert words in told


def test_an_older_operator_set_is_reached_or_refused_in_one_line(tmp_path, capsys):
    source, output = tmp_path / "net.onnx", tmp_path / "out.onnx"
    text = """<ir_version: 10, opset_import: ["" : 20]>
        net (float[n, 3, h, w] x) => (float[n, 3, h, w] y) { y = Gelu (x) }"""
    onnx.save(onnx.parser.parse_model(text), source)
    arguments = ["export", str(source), "--target", "tensorrt", "--output", str(output)]
    assert main([*arguments, "--opset", "9"]) == 2
    told = capsys.readouterr().err
    assert told == "edgesr: error: an opset from 16 to 23 is needed, got 9\n"
    assert not output.exists()
    assert main([*arguments, "--opset", "16"]) == 0
    assert "rewritten: Gelu -> error function" in capsys.readouterr().out
    assert [entry.version for entry in onnx.load(output).opset_import] == [16]


EVEN = """<ir_version: 10, opset_import: ["" : 20]>
    even (float[n, 3, h, w] x) => (float[n, 3, hr, wr] y) {
        b = SpaceToDepth <blocksize = 2> (x)
        y = DepthToSpace <blocksize = 2> (b)
    }"""


def test_the_size_that_is_asked_for(tmp_path, capsys):
    source, output = tmp_path / "net.onnx", tmp_path / "out.onnx"
    onnx.save(onnx.parser.parse_model(EVEN), source)
    arguments = ["export", str(source), "--target", "cpu", "--output", str(output)]

    def refused(size, *further):
        assert main([*arguments, *further, "--export-size", size]) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        return told

    for size in ("12", "0x4", "4x4097", "4x4x4", "4,4", "4 x 4", ""):
        assert "--export-size must be HxW, an LR height and width from 1 to" in refused(size)
    told = refused("7x12")
    assert "net.onnx runs on no image tried, such as scene of 7 x 12 pixels" in told
    np.savez(tmp_path / "tiles.npz", lr=np.zeros((2, 3, 8, 8)), hr=np.zeros((2, 3, 8, 8)))
    told = refused("6x12", "--precision", "int8", "--tiles", str(tmp_path / "tiles.npz"))
    assert "have 8 x 8 pixels and --export-size asks for 6x12" in told
    assert not output.exists()
    assert main([*arguments, "--export-size", "6x12"]) == 0
    assert input_shape(output) == (None, 3, 6, 12)
    source.write_bytes(output.read_bytes())
    assert "takes 6 x 12 pixels and cannot take 12 x 6" in refused("12x6", "--overwrite")
    assert input_shape(output) == (None, 3, 6, 12)


def test_a_target_of_another_package_is_a_choice(source, tmp_path, capsys, numpy_target):
    output = tmp_path / "out.onnx"
    assert main(["export", str(source), "--target", numpy_target, "--output", str(output)]) == 0
    assert "ONNX reference: largest difference" in capsys.readouterr().out
    assert [link.name for link in recorded_links(output)] == ["exact rewrites", "ONNX reference"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "cpu", "--precision", "int8"], "pass --tiles FILE.npz"),
        (["--target", "moon"], "invalid choice: 'moon'"),
        (["--target", "cpu", "--precision", "int8", "--tiles", "none.npz"], "none.npz"),
        (["--target", "cpu", "--precision", "int8", "--confidence", "100"], "number in [0, 100)"),
        (["--target", "cpu", "--confidence", "80"], "only for --precision int8"),
    ],
)
def test_bad_options_are_one_line(source, tmp_path, capsys, arguments, message):
    output = tmp_path / "out.onnx"
    try:
        code = main(["export", str(source), "--output", str(output), *arguments])
    except SystemExit as stopped:
        code = stopped.code
    told = capsys.readouterr().err
    assert code == 2
    assert told.count("\n") == 1
    assert message in told
    assert not output.exists()


def test_a_missing_file_is_one_line(tmp_path, capsys):
    code = main(["export", "none.onnx", "--target", "cpu", "--output", str(tmp_path / "out.onnx")])
    assert code == 2
    assert capsys.readouterr().err == (
        "edgesr: error: none.onnx does not exist; name an .onnx file\n"
    )


@pytest.mark.parametrize(
    "arrays",
    [
        {"lr": np.zeros((4, 3, 8, 8))},
        {"lr": np.zeros((1, 3, 8, 8)), "hr": np.zeros((1, 3, 16, 16))},
        {"lr": np.zeros((4, 3, 8, 8)), "hr": np.zeros((3, 3, 16, 16))},
        {"lr": np.full((4, 3, 8, 8), np.nan), "hr": np.zeros((4, 3, 16, 16))},
    ],
    ids=["no truth", "one tile", "other number", "nodata"],
)
def test_tiles_that_do_not_fit_are_refused(source, tmp_path, arrays):
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=r"bad\.npz"):
        convert_file(source, tmp_path / "out.onnx", "cpu", "int8", Int8Options(path, 0.1, 0.1))
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize(
    ("further", "ends"),
    [
        ([], lambda losses: bootstrap_interval(losses, 90.0)),
        (["--confidence", "60"], lambda losses: bootstrap_interval(losses, 60.0)),
        (["--confidence", "0"], lambda _: None),
    ],
)
def test_what_int8_loses_is_an_interval_over_tiles(source, tmp_path, monkeypatch, further, ends):
    """A network that is 1 % brighter, tile by tile; odd tiles validate."""
    pytest.importorskip("nncf")
    from edgesr_export.int8.control import Drop

    random = np.random.default_rng(0)
    high = random.random((8, 3, 16, 16), dtype=np.float32) / 2
    low = np.ascontiguousarray(high[:, :, ::2, ::2])
    np.savez(tmp_path / "tiles.npz", lr=low, hr=high)

    def exact(lr):
        (index,) = (i for i, tile in enumerate(low) if np.array_equal(tile, lr[0]))
        return high[index][None] + 0.01

    found = []

    def quantize(before, after, tiles, *, target, quality):
        metrics = [
            quality.evaluate(network) for network in (exact, lambda lr: exact(lr) + lr.mean() / 100)
        ]
        found.append(Drop.between(*metrics, quality.interval))
        after.write_bytes(before.read_bytes())

    monkeypatch.setattr("edgesr_export.int8.quantize", quantize)
    output = tmp_path / "out.onnx"
    arguments = ["export", str(source), "--target", "cpu", "--output", str(output)]
    tiles = ["--precision", "int8", "--tiles", str(tmp_path / "tiles.npz")]
    assert main([*arguments, *tiles, *further]) == 0
    brighter = 0.01 + low.mean((1, 2, 3))[1::2] / 100
    by_tile = 20 * np.log10(brighter / 0.01)  # the same in all bands
    (drop,) = found
    assert drop.psnr == pytest.approx(by_tile.mean(), abs=1e-3)
    losses = np.repeat(by_tile[:, None], 3, axis=1)
    assert drop.psnr_interval == pytest.approx(ends(losses), abs=1e-3)
    assert drop.sam > 0
