"""What a manifest says, as typed values: every field is checked before anything is done with it."""

from __future__ import annotations

import hashlib
import re
import reprlib
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from .card import Card, nodata_of, read_card
from .errors import BoardError
from .fields import an_object, items, listed, number, text, whole, wrong
from .files import read_regular
from .hashes import MANIFEST, Listed
from .strict_json import parse_json

FORMAT = 1
PRECISIONS = ("fp32", "fp16", "int8")
MODEL_NAME = re.compile(rf"({'|'.join(PRECISIONS)})(-[a-z0-9.]+)*")

WIDEN = "edgesr bundle --tile-range 16:64:256"
"""How the desktop makes engines for smaller and larger tiles: smallest, typical, largest side."""

NATIVE_TYPES = ("uint8", "uint16", "int16", "float32")

_ROOMS = ("board", "models", "reference")
_PAGES = ("run.py", "README.md")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LARGEST_MANIFEST = 16 << 20
_LARGEST_FILE = 1 << 40
_LONGEST_NAME = 400
_MOST_MODELS = 64
_MOST_BANDS = 1 << 16
_LONGEST_SIDE = 1 << 16
_LARGEST_SCALE = 64
_LARGEST_PSNR_DB = 1000.0


@dataclass(frozen=True)
class Tolerance:
    """How far an engine may be from the reference; a limit that is None does not apply.

    Attributes:
        max_abs: largest absolute difference, on data in [0, 1].
        min_psnr_db: PSNR of the output against the reference, peak = range of the reference.
    """

    max_abs: float | None
    min_psnr_db: float | None


@dataclass(frozen=True)
class Profile:
    """Tile shapes [1, B, h, w] that engines are built for."""

    smallest: tuple[int, ...]
    typical: tuple[int, ...]
    largest: tuple[int, ...]

    def __str__(self) -> str:
        return " to ".join("x".join(map(str, one)) for one in (self.smallest, self.largest))

    @property
    def narrowed(self) -> Profile:
        """The typical size alone."""
        return Profile(self.typical, self.typical, self.typical)

    @property
    def is_one_size(self) -> bool:
        """Whether there is one size alone."""
        return self.smallest == self.largest

    def require(self, shape: tuple[int, ...]) -> None:
        """Raise :class:`BoardError` unless an engine of this profile takes ``shape``."""
        fits = len(shape) == len(self.smallest) and all(
            low <= length <= high for low, length, high in zip(self.smallest, shape, self.largest)
        )
        if not fits:
            raise BoardError(
                f"a tile of {'x'.join(map(str, shape))} is outside the bundle's range "
                f"{self}; choose one inside, or make a bundle with a wider range ({WIDEN})"
            )


@dataclass(frozen=True)
class Native:
    """A network whose graph takes and gives the sensor's own numbers.

    It selects bands, replaces nodata, normalises, computes, and goes all the way back.

    Attributes:
        onnx: input [1, C, h, w], output [1, B, r*h, r*w].
        outputs: reference tiles in native numbers, ``input0``, ``output0``, ``input1``, ...
        input_dtype: type of the numbers that go in.
        output_dtype: type of those that come out.
        sensor_bands: C.
        selection: whether the graph picks the network's bands out of C; else C is B.
        nodata: what says "no measurement", in and out; None where nothing does.
        as_bytes: 16-bit numbers are uint8 with a last axis of two, the low byte first.
        integers: with ``as_bytes``, the form for a runtime that takes 16-bit integers.
    """

    onnx: Listed
    outputs: Listed
    input_dtype: str
    output_dtype: str
    sensor_bands: int
    selection: bool
    nodata: float | None
    as_bytes: bool
    integers: Native | None = None


@dataclass(frozen=True)
class Model:
    """One ONNX file of the bundle and what it must answer.

    Attributes:
        weights: files of external data, beside or below ``onnx``.
        native: the same network for the sensor's own numbers.
    """

    name: str
    precision: str
    onnx: Listed
    outputs: Listed
    tolerance: Tolerance
    weights: tuple[Listed, ...] = ()
    native: Native | None = None

    @property
    def sha256(self) -> str:
        """Of the ONNX file."""
        return self.onnx.sha256

    def read(self) -> bytes:
        """ONNX file, held against its hash; the weights, found by path alone, are checked again.

        Raises:
            BoardError: one of them was changed since the bundle was verified.
        """
        for file in self.weights:
            file.require()
        return self.onnx.read()


@dataclass(frozen=True)
class Bundle:
    """A bundle whose manifest can be used.

    Attributes:
        identity: SHA-256 of the manifest.
        files: what the manifest lists, by name.
        bands: B of every tile.
        scale: factor between input and output, per axis.
        facts: what the desktop wrote about network and data; shown, not interpreted.
        card: what of it live use needs.
    """

    folder: Path
    identity: str
    files: dict[str, Listed]
    bands: int
    scale: int
    models: tuple[Model, ...]
    inputs: Listed
    profile: Profile
    facts: dict[str, Any]
    card: Card = field(default_factory=Card)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape [1, B, r*h, r*w] of the output for [1, C, h, w]; a last axis of bytes stays."""
        height, width = shape[2] * self.scale, shape[3] * self.scale
        return (shape[0], self.bands, height, width, *shape[4:])


def read_manifest(folder: Path) -> bytes:
    """Content of a bundle's manifest; BoardError where there is none."""
    path = folder / MANIFEST
    try:
        return read_regular(path, _LARGEST_MANIFEST)
    except OSError as error:
        raise BoardError(
            f"{path} cannot be read ({error.strerror}); copy the bundle to the board again"
        ) from error


def identity(manifest: bytes) -> str:
    """What a bundle is known by: the SHA-256 of its manifest, which has those of all files."""
    return hashlib.sha256(manifest).hexdigest()


def open_bundle(folder: Path, manifest: bytes) -> Bundle:
    """Read a manifest; the files themselves are not looked at, see :func:`hashes.verify`.

    Raises:
        BoardError: no JSON, of another format, or a field that is missing, of another type, out of
            its bounds, or names a file that is not listed.
    """
    try:
        document = parse_json(manifest)
    except ValueError as error:
        raise BoardError(
            f"{MANIFEST} is not JSON that can be used ({error}); copy the bundle to the board again"
        ) from error
    found = document.get("format") if isinstance(document, dict) else None
    if type(found) is not int or found != FORMAT:
        raise BoardError(
            f"{MANIFEST} has format {reprlib.repr(found)} and this program reads {FORMAT}; make "
            "the bundle again"
        )
    files = _files(folder, an_object(document, "files"))
    bands = whole(document, "bands", _MOST_BANDS)
    entries = items(document, "models", 1, _MOST_MODELS)
    models = tuple(_model(files, entry, bands, f"models[{i}].") for i, entry in enumerate(entries))
    if len({model.name for model in models}) < len(models):
        raise wrong("models", [model.name for model in models], "each name once")
    facts = an_object(document, "facts")
    card = read_card(facts, bands)
    for place, native in enumerate(model.native for model in models):
        if native is not None and native.selection and native.sensor_bands != card.count:
            where = f"models[{place}].native.sensor_bands"
            raise wrong(where, native.sensor_bands, f"the {card.count or 0} bands of facts.card")
    return Bundle(
        folder=folder,
        identity=identity(manifest),
        files=files,
        bands=bands,
        scale=whole(document, "scale", _LARGEST_SCALE),
        models=models,
        inputs=listed(files, document, "inputs", "reference/inputs.npz"),
        profile=_profile(an_object(document, "profile"), bands),
        facts=facts,
        card=card,
    )


def is_inside(name: str) -> bool:
    """Whether a relative POSIX path stays in its folder, and is spelled the one way it can be."""
    parts = name.split("/")
    return name.isprintable() and "\\" not in name and not {"", ".", ".."} & set(parts)


def _files(folder: Path, entries: dict[str, Any]) -> dict[str, Listed]:
    if not entries:
        raise BoardError(f"{MANIFEST} lists no files; make the bundle again")
    files = {}
    for name, entry in entries.items():
        if not is_inside(name) or len(name) > _LONGEST_NAME:
            raise wrong("files", name, "a plain path inside the folder of the bundle")
        path = PurePosixPath(name)
        is_code = path.suffix == ".pyc" or "__pycache__" in path.parts
        if is_code or not (name in _PAGES or (path.parts[0] in _ROOMS and len(path.parts) > 1)):
            raise wrong("files", name, f"a file of {', '.join(_ROOMS)}, or {', '.join(_PAGES)}")
        where = f"files.{name}."
        if not isinstance(entry, dict):
            raise wrong(where[:-1], entry, "an object with sha256 and bytes")
        digest = text(entry, "sha256", where)
        if not _SHA256.fullmatch(digest):
            raise wrong(f"{where}sha256", digest, "64 hexadecimal digits")
        size = whole(entry, "bytes", _LARGEST_FILE, where, least=0)
        files[name] = Listed(name, folder / name, digest, size)
    if len({name.casefold() for name in files}) < len(files):
        raise BoardError(f"{MANIFEST} lists names that differ in case alone; make the bundle again")
    return files


def _model(files: dict[str, Listed], entry: Any, bands: int, where: str) -> Model:
    if not isinstance(entry, dict):
        raise wrong(where[:-1], entry, "an object")
    name, precision = (text(entry, key, where) for key in ("name", "precision"))
    if not MODEL_NAME.fullmatch(name) or name.split("-")[0] != precision:
        raise wrong(f"{where}name", name, f"one of {', '.join(PRECISIONS)}, its precision")
    onnx = listed(files, entry, "onnx", f"models/{name}/model.onnx", where)
    beside = onnx.name[: -len("model.onnx")]
    native = None
    if "native" in entry:
        native = _native(files, an_object(entry, "native", where), name, bands, f"{where}native.")
    forms = (native, native.integers) if native else ()
    networks = (onnx, *(form.onnx for form in forms if form))
    return Model(
        name=name,
        precision=precision,
        onnx=onnx,
        outputs=listed(files, entry, "outputs", f"reference/{name}.npz", where),
        tolerance=_tolerance(an_object(entry, "tolerance", where), f"{where}tolerance"),
        weights=tuple(f for f in files.values() if f.name.startswith(beside) and f not in networks),
        native=native,
    )


def _native(
    files: dict[str, Listed], entry: dict[str, Any], name: str, bands: int, where: str
) -> Native:
    types = [text(entry, key, where) for key in ("input_dtype", "output_dtype")]
    for kind in types:
        if kind not in NATIVE_TYPES:
            raise wrong(f"{where}input_dtype or output_dtype", kind, " or ".join(NATIVE_TYPES))
    flags = [entry.get(key) for key in ("selection", "bytes")]
    for flag in flags:
        if type(flag) is not bool:
            raise wrong(f"{where}selection or bytes", flag, "true or false")
    selection, as_bytes = flags
    count = whole(entry, "sensor_bands", _MOST_BANDS, where, least=bands)
    if not selection and count != bands:
        raise wrong(f"{where}sensor_bands", count, f"{bands}, or a selection,")
    if as_bytes and not set(types) <= {"uint16", "int16"}:
        raise wrong(f"{where}bytes", as_bytes, "false, for numbers that have not 16 bits,")
    native = Native(
        onnx=listed(files, entry, "onnx", f"models/{name}/native.onnx", where),
        outputs=listed(files, entry, "outputs", f"reference/{name}.native.npz", where),
        input_dtype=types[0],
        output_dtype=types[1],
        sensor_bands=count,
        selection=bool(selection),
        nodata=nodata_of(entry.get("nodata"), f"{where}nodata"),
        as_bytes=bool(as_bytes),
    )
    if "integers" not in entry:
        return native
    return replace(native, integers=_integers(files, entry, name, native, where))


def _integers(
    files: dict[str, Listed], entry: dict[str, Any], name: str, native: Native, where: str
) -> Native:
    """The other form of a native model; its answers may be the same."""
    if not native.as_bytes:
        raise wrong(f"{where}integers", entry["integers"], "nothing where bytes is false")
    stored, where = an_object(entry, "integers", where), f"{where}integers."
    shared = native.outputs.name
    outputs = shared if stored.get("outputs") == shared else f"reference/{name}.integers.npz"
    return replace(
        native,
        onnx=listed(files, stored, "onnx", f"models/{name}/native.integers.onnx", where),
        outputs=listed(files, stored, "outputs", outputs, where),
        as_bytes=False,
    )


def _tolerance(stored: dict[str, Any], where: str) -> Tolerance:
    """A limit has to limit: no tolerance at all, or one that all data are within, is refused."""
    bounds = {"max_abs": 1.0, "min_psnr_db": _LARGEST_PSNR_DB}
    if not stored or not set(stored) <= set(bounds):
        raise wrong(where, stored, "max_abs and/or min_psnr_db")
    for key, value in stored.items():
        try:
            usable = 0.0 < number(value) <= bounds[key]
        except TypeError:
            usable = False
        if not usable:
            raise wrong(f"{where}.{key}", value, f"a number above 0, at most {bounds[key]:g},")
    return Tolerance(stored.get("max_abs"), stored.get("min_psnr_db"))


def _profile(stored: dict[str, Any], bands: int) -> Profile:
    shapes = []
    for key in ("min", "opt", "max"):
        lengths = items(stored, key, 4, 4, "profile.")
        usable = all(type(n) is int and 1 <= n <= _LONGEST_SIDE for n in lengths)
        if not usable or lengths[:2] != [1, bands]:
            raise wrong(f"profile.{key}", lengths, f"[1, {bands}, height, width]")
        shapes.append(tuple(lengths))
    profile = Profile(*shapes)
    profile.require(profile.typical)
    return profile
