"""A manifest or a reference that is not as the desktop writes it is refused in one line."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import runpy
import zipfile
from pathlib import Path

import numpy as np
import pytest
from edgesr_jetson.board.card import read_card
from edgesr_jetson.board.contents import open_bundle, read_manifest
from edgesr_jetson.board.errors import BoardError
from edgesr_jetson.board.hashes import verify
from edgesr_jetson.board.main import main
from edgesr_jetson.board.tiles import check_references

BOARD = Path(__file__).parents[2] / "jetson" / "edgesr_jetson" / "board"
READ_PROGRAM = runpy.run_path(str(BOARD / "run.py"))["read_program"]
PLACE = "put the value here"

NO_JSON = {
    "NaN": "NaN",
    "infinity": "Infinity",
    "minus infinity": "-Infinity",
    "too large": "1e999",
    "5000 digits": "9" * 5000,
    "deep": "[" * 10_000 + "]" * 10_000,
    "deep but readable": "[" * 80 + "]" * 80,
    "a key twice": '{"a": 1, "a": 2}',
}
NO_VALUE = {
    "null": "null",
    "true": "true",
    "false": "false",
    "negative": "-1",
    "zero": "0",
    "large": "1e300",
    "text": '"x"',
    "empty text": '""',
    "NUL": '"a\\u0000b"',
    "half a character": '"\\ud800"',
    "above": '"../x"',
    "absolute": '"/etc/passwd"',
    "backslash": '"models\\\\fp32"',
    "other case": '"MODELS/FP32/MODEL.ONNX"',
    "list": "[]",
    "object": "{}",
    "nested": '[[{"a": 1}]]',
}


def paths_of(node, path=()):
    """Path of every value below ``node``."""
    if isinstance(node, (dict, list)):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield (*path, key)
            yield from paths_of(value, (*path, key))


def replaced(manifest, path, text: str) -> bytes:
    """The manifest with raw JSON in place of one value."""
    changed = copy.deepcopy(manifest)
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = PLACE
    return json.dumps(changed).replace(json.dumps(PLACE), text).encode()


def check(folder: Path) -> None:
    """Do what a run does before it imports numpy."""
    found = open_bundle(folder, read_manifest(folder))
    verify(folder, found.files.values())


def refused(folder: Path, content: bytes) -> str:
    """Why a bundle with this manifest is refused."""
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(BoardError) as caught:
        check(folder)
    return str(caught.value)


def test_every_value_of_a_manifest_by_every_hostile_one(bundle):
    check(bundle)
    manifest = json.loads((bundle / "manifest.json").read_text())
    alike = set(manifest["files"]) - {"run.py", "models/fp32/model.onnx", "reference/inputs.npz"}
    paths = [path for path in paths_of(manifest) if path[0] != "files" or path[1:2] not in
             {(name,) for name in alike}]  # fmt: skip
    assert len(paths) > 40
    for path in paths:
        hostile = NO_JSON if path[0] == "facts" and len(path) > 1 else {**NO_JSON, **NO_VALUE}
        for kind, text in hostile.items():
            if path == ("facts",) and kind == "object":
                continue  # no facts are facts
            reason = refused(bundle, replaced(manifest, path, text))
            assert "\n" not in reason, (path, kind)
            assert len(reason) < 1000, (path, kind)


@pytest.mark.parametrize("kind", {**NO_JSON, **NO_VALUE})
def test_the_entry_survives_every_manifest(bundle, kind):
    """``run.py`` reads it before anything else is there to help."""
    text = {**NO_JSON, **NO_VALUE}[kind]
    manifest = json.loads((bundle / "manifest.json").read_text())
    contents = [text.encode()] + [
        replaced(manifest, ("files", *path), text)
        for path in ((), ("board/main.py",), ("board/main.py", "sha256"))
    ]
    for content in contents:
        (bundle / "manifest.json").write_bytes(content)
        with pytest.raises(ValueError, match=r".+"):
            READ_PROGRAM(str(bundle))


@pytest.mark.parametrize("key", ["format", "bands", "scale", "profile", "inputs", "models", "facts",
                                 "files", "profile.min", "models.0.tolerance", "models.0.name",
                                 "files.run.py.sha256"])  # fmt: skip
def test_what_is_missing_is_named(bundle, key):
    manifest = json.loads((bundle / "manifest.json").read_text())
    *above, last = key.replace("run.py", "run").split(".")
    parent = manifest
    for part in above:
        parent = parent[int(part)] if part.isdigit() else parent[part.replace("run", "run.py")]
    del parent[last]
    assert last in refused(bundle, json.dumps(manifest).encode())


WHOLE = [b"", b"\0" * 100, b"\xff\xfe{\0}\0", b"\x93NUMPY\1\0", b"null", b"3", b'"x"', b"[]", b"{}",
         b"[" * 10_000, b'{"a":' * 10_000, b'{"format": 1}', b"9" * 5000]  # fmt: skip


@pytest.mark.parametrize("content", WHOLE, ids=lambda content: repr(content[:12]))
def test_what_is_no_manifest(bundle, content):
    assert "manifest.json" in refused(bundle, content)


def test_a_truncated_manifest(bundle):
    content = (bundle / "manifest.json").read_bytes()
    for end in range(0, len(content) - 2, 97):
        assert "is not JSON" in refused(bundle, content[:end])


@pytest.mark.parametrize(
    "name",
    ["../x", "/x", "board\\x.py", "board/./x", "board//x", "board/x\0", "board/x\n", "board/../x",
     "x.py", "numpy/__init__.py", "board/__pycache__/x.py", "board/x.pyc", "engines/fp32.engine",
     "results/x", "manifest.json", "board", "RUN.py", "board/MAIN.py", "board/" + "x" * 500],
)  # fmt: skip
def test_names_that_no_manifest_lists(bundle, name):
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"][name] = manifest["files"]["run.py"]
    reason = refused(bundle, json.dumps(manifest).encode())
    assert "manifest.json has " in reason or "in case alone" in reason


@pytest.mark.parametrize("limit", ["max_abs", "min_psnr_db"])
@pytest.mark.parametrize("value", [None, True, "1", -1, 0, 1e300, [], {}])
def test_a_tolerance_that_limits_nothing(bundle, limit, value):
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["models"][0]["tolerance"] = {limit: value}
    assert f"for models[0].tolerance.{limit}" in refused(bundle, json.dumps(manifest).encode())


@pytest.mark.parametrize(
    "stored",
    [3, [], {}, {"lower": 1, "upper": 2}, {"lower": [0, 0], "upper": [1, 1]},
     {"lower": ["0"] * 3, "upper": ["1"] * 3}, {"lower": [0] * 3, "upper": [1, 1, 0]},
     {"lower": [0] * 3, "upper": [1, 1, 1e300]}, {"lower": [1.0] * 3, "upper": [1 + 1e-12] * 3},
     {"lower": [False] * 3, "upper": [True] * 3}],
    ids=str,
)  # fmt: skip
def test_a_normalisation_that_cannot_be_used(stored):
    with pytest.raises(BoardError, match="normalisation is damaged"):
        read_card({"normalisation": stored}, 3)


def npz(*tiles: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for index, content in enumerate(tiles):
            archive.writestr(f"tile{index}.npy", content)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def header(shape: str, descr: str = "'<f4'", fortran: str = "False") -> bytes:
    """A tile of 90 numbers whose header says something else."""
    text = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"
    length = len(text) + 1
    return (b"\x93NUMPY\1\0" + length.to_bytes(2, "little") + text.encode() + b"\n"
            + np.zeros(90, "f4").tobytes())  # fmt: skip


GOOD = [np.full((1, 3, *size), 0.5, "f4") for size in ((6, 5), (8, 10))]
WITH_NAN = GOOD[0].copy()
WITH_NAN[0, 1, 2, 3] = np.nan
LYING_ZIP = bytearray(npz(npy(GOOD[0]), npy(GOOD[1])))
LYING_ZIP[LYING_ZIP.index(b"PK\1\2") + 24 : LYING_ZIP.index(b"PK\1\2") + 28] = b"\xff\xff\xff\x7f"
REFERENCES = {
    "empty": b"",
    "no zip": b"PK\3\4 and no more",
    "npy": npy(GOOD[0]),
    "no tiles": npz(),
    "one tile": npz(npy(GOOD[0])),
    "order": npz(npy(GOOD[1]), npy(GOOD[0])),
    "truncated": npz(npy(GOOD[0]), npy(GOOD[1]))[:-40],
    "compressed": npz(npy(GOOD[0]), npy(GOOD[1]), compression=zipfile.ZIP_DEFLATED),
    "sizes of the zip": bytes(LYING_ZIP),
    "objects": npz(npy(np.array([{"a": 1}], dtype=object)), npy(GOOD[1])),
    "float64": npz(npy(GOOD[0].astype("f8")), npy(GOOD[1])),
    "integers": npz(npy(GOOD[0].astype("i4")), npy(GOOD[1])),
    "big-endian": npz(npy(GOOD[0].astype(">f4")), npy(GOOD[1])),
    "NaN": npz(npy(WITH_NAN), npy(GOOD[1])),
    "infinity": npz(npy(GOOD[0] * np.inf), npy(GOOD[1])),
    "bands": npz(npy(GOOD[0][:, :2]), npy(GOOD[1])),
    "3-D": npz(npy(GOOD[0][0]), npy(GOOD[1])),
    "outside the range": npz(npy(GOOD[0]), npy(np.full((1, 3, 9, 10), 0.5, "f4"))),
    "half a header": npz(b"\x93NUMPY\1\0\xff\xffhalf", npy(GOOD[1])),
    "no header": npz(b"nothing", npy(GOOD[1])),
    "huge": npz(header("(1, 3, 1000000, 1000000)"), npy(GOOD[1])),
    "overflowing": npz(header("(1, 3, 4611686018427387904, 8)"), npy(GOOD[1])),
    "negative": npz(header("(1, 3, -6, -5)"), npy(GOOD[1])),
    "shape of text": npz(header("('1', 3, 6, 5)"), npy(GOOD[1])),
    "code": npz(header("__import__('os').abort()"), npy(GOOD[1])),
    "deep": npz(header("(" * 5000 + "1" + ")" * 5000), npy(GOOD[1])),
    "descr": npz(header("(1, 3, 6, 5)", "'nonsense'"), npy(GOOD[1])),
    "version": npz(b"\x93NUMPY\x09\0" + npy(GOOD[0])[8:], npy(GOOD[1])),
}  # fmt: skip


def store(folder: Path, name: str, content: bytes) -> None:
    """Put a reference into a bundle as its maker would, hash and all."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def opened(folder: Path):
    check(folder)
    return open_bundle(folder, read_manifest(folder))


def test_references_that_can_be_used(bundle):
    store(bundle, "reference/inputs.npz", npz(*map(npy, GOOD)))
    check_references(opened(bundle))


def test_references_that_cannot_be_used(bundle):
    answers = (bundle / "reference/fp16.npz").read_bytes()
    for kind, content in REFERENCES.items():
        store(bundle, "reference/inputs.npz", npz(*map(npy, GOOD)))
        for name in ("reference/fp16.npz", "reference/inputs.npz"):
            store(bundle, name, content)
            with pytest.raises(BoardError) as caught:
                check_references(opened(bundle))
            assert "\n" not in str(caught.value), kind
            store(bundle, name, answers)


@pytest.mark.parametrize("name", ["reference/inputs.npz", "reference/fp16.npz"])
def test_a_run_of_damaged_references_ends_in_one_line(bundle, tmp_path, capfd, validated, name):
    store(bundle, name, REFERENCES["NaN"])
    output = tmp_path / "result.json"
    code = main(str(bundle), ["--runtime", "onnxruntime", "--output", str(output)])
    said = [line for line in capfd.readouterr().err.splitlines() if "error" in line]
    assert code == 2
    assert len(said) == 1
    assert f"{name} cannot be used (values that are not finite)" in said[0]
    assert validated(output)["models"] == []
