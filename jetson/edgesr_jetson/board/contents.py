"""What a manifest says, as typed values: every field is checked before anything is done with it."""

from __future__ import annotations

import hashlib
import math
import re
import reprlib
from array import array
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import BoardError
from .files import read_regular
from .hashes import MANIFEST, Listed
from .strict_json import parse_json

FORMAT = 1
PRECISIONS = ("fp32", "fp16", "int8")
MODEL_NAME = re.compile(rf"({'|'.join(PRECISIONS)})(-[a-z0-9.]+)*")

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

    def require(self, shape: tuple[int, ...]) -> None:
        """Raise :class:`BoardError` unless an engine of this profile takes ``shape``."""
        fits = len(shape) == len(self.smallest) and all(
            low <= length <= high for low, length, high in zip(self.smallest, shape, self.largest)
        )
        if not fits:
            raise BoardError(
                f"a tile of {'x'.join(map(str, shape))} is outside the bundle's range "
                f"{'x'.join(map(str, self.smallest))} to {'x'.join(map(str, self.largest))}; "
                "choose one inside, or make a bundle with a wider range"
            )


@dataclass(frozen=True)
class Model:
    """One ONNX file of the bundle and what it must answer.

    Attributes:
        weights: files of external data, beside or below ``onnx``.
    """

    name: str
    precision: str
    onnx: Listed
    outputs: Listed
    tolerance: Tolerance
    weights: tuple[Listed, ...] = ()

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
        facts: what the desktop wrote about network and data; shown, not interpreted, except
            ``normalisation`` (see :mod:`live_source`).
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

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        """Shape of the output [1, B, r*h, r*w] for an input [1, B, h, w]."""
        return (shape[0], self.bands, shape[2] * self.scale, shape[3] * self.scale)


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
    files = _files(folder, _object(document, "files"))
    bands = _whole(document, "bands", _MOST_BANDS)
    entries = _items(document, "models", 1, _MOST_MODELS)
    models = tuple(_model(files, entry, f"models[{i}].") for i, entry in enumerate(entries))
    if len({model.name for model in models}) < len(models):
        raise _wrong("models", [model.name for model in models], "each name once")
    facts = _object(document, "facts")
    normalisation(facts, bands)
    return Bundle(
        folder=folder,
        identity=identity(manifest),
        files=files,
        bands=bands,
        scale=_whole(document, "scale", _LARGEST_SCALE),
        models=models,
        inputs=_listed(files, document, "inputs", "reference/inputs.npz"),
        profile=_profile(_object(document, "profile"), bands),
        facts=facts,
    )


def normalisation(facts: dict[str, Any], bands: int) -> tuple[array[float], array[float]] | None:
    """Lower and upper native value (float32) of each band, None where the bundle has none.

    Raises:
        BoardError: not one finite number a band, or an upper one that is not above its lower one.
    """
    stored = facts.get("normalisation")
    if stored is None:
        return None
    try:
        lower, upper = (
            array("f", [_checked_number(value) for value in stored[key]])
            for key in ("lower", "upper")
        )
        usable = len(lower) == len(upper) == bands and all(
            low < high and math.isfinite(high - low) for low, high in zip(lower, upper)
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        usable = False
    if not usable:
        raise BoardError("the bundle's normalisation is damaged; make the bundle again")
    return lower, upper


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
            raise _wrong("files", name, "a plain path inside the folder of the bundle")
        path = PurePosixPath(name)
        is_code = path.suffix == ".pyc" or "__pycache__" in path.parts
        if is_code or not (name in _PAGES or (path.parts[0] in _ROOMS and len(path.parts) > 1)):
            raise _wrong("files", name, f"a file of {', '.join(_ROOMS)}, or {', '.join(_PAGES)}")
        where = f"files.{name}."
        if not isinstance(entry, dict):
            raise _wrong(where[:-1], entry, "an object with sha256 and bytes")
        digest = _text(entry, "sha256", where)
        if not _SHA256.fullmatch(digest):
            raise _wrong(f"{where}sha256", digest, "64 hexadecimal digits")
        size = _whole(entry, "bytes", _LARGEST_FILE, where, least=0)
        files[name] = Listed(name, folder / name, digest, size)
    if len({name.casefold() for name in files}) < len(files):
        raise BoardError(f"{MANIFEST} lists names that differ in case alone; make the bundle again")
    return files


def _model(files: dict[str, Listed], entry: Any, where: str) -> Model:
    if not isinstance(entry, dict):
        raise _wrong(where[:-1], entry, "an object")
    name, precision = (_text(entry, key, where) for key in ("name", "precision"))
    if not MODEL_NAME.fullmatch(name) or name.split("-")[0] != precision:
        raise _wrong(f"{where}name", name, f"one of {', '.join(PRECISIONS)}, its precision")
    onnx = _listed(files, entry, "onnx", f"models/{name}/model.onnx", where)
    beside = onnx.name[: -len("model.onnx")]
    return Model(
        name=name,
        precision=precision,
        onnx=onnx,
        outputs=_listed(files, entry, "outputs", f"reference/{name}.npz", where),
        tolerance=_tolerance(_object(entry, "tolerance", where), f"{where}tolerance"),
        weights=tuple(f for f in files.values() if f.name.startswith(beside) and f is not onnx),
    )


def _tolerance(stored: dict[str, Any], where: str) -> Tolerance:
    """A limit has to limit: no tolerance at all, or one that all data are within, is refused."""
    bounds = {"max_abs": 1.0, "min_psnr_db": _LARGEST_PSNR_DB}
    if not stored or not set(stored) <= set(bounds):
        raise _wrong(where, stored, "max_abs and/or min_psnr_db")
    for key, value in stored.items():
        try:
            usable = 0.0 < _checked_number(value) <= bounds[key]
        except TypeError:
            usable = False
        if not usable:
            raise _wrong(f"{where}.{key}", value, f"a number above 0, at most {bounds[key]:g},")
    return Tolerance(stored.get("max_abs"), stored.get("min_psnr_db"))


def _profile(stored: dict[str, Any], bands: int) -> Profile:
    shapes = []
    for key in ("min", "opt", "max"):
        lengths = _items(stored, key, 4, 4, "profile.")
        usable = all(type(n) is int and 1 <= n <= _LONGEST_SIDE for n in lengths)
        if not usable or lengths[:2] != [1, bands]:
            raise _wrong(f"profile.{key}", lengths, f"[1, {bands}, height, width]")
        shapes.append(tuple(lengths))
    profile = Profile(*shapes)
    profile.require(profile.typical)
    return profile


def _listed(
    files: dict[str, Listed], stored: dict[str, Any], key: str, expected: str, where: str = ""
) -> Listed:
    name = _text(stored, key, where)
    if name != expected:
        raise _wrong(f"{where}{key}", name, expected)
    if name not in files:
        raise BoardError(f"{MANIFEST} uses {name} and does not list it; make the bundle again")
    return files[name]


def _object(stored: dict[str, Any], key: str, where: str = "") -> dict[str, Any]:
    value = stored.get(key)
    if not isinstance(value, dict):
        raise _wrong(where + key, value, "an object")
    return value


def _items(stored: dict[str, Any], key: str, least: int, most: int, where: str = "") -> list[Any]:
    value = stored.get(key)
    if not isinstance(value, list) or not least <= len(value) <= most:
        count = str(least) if least == most else f"{least} to {most}"
        raise _wrong(where + key, value, f"a list of {count}")
    return value


def _whole(stored: dict[str, Any], key: str, most: int, where: str = "", least: int = 1) -> int:
    value = stored.get(key)
    if type(value) is not int or not least <= value <= most:
        raise _wrong(where + key, value, f"a whole number from {least} to {most}")
    return value


def _text(stored: dict[str, Any], key: str, where: str) -> str:
    value = stored.get(key)
    if not isinstance(value, str):
        raise _wrong(where + key, value, "a text")
    return value


def _checked_number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _wrong(where: str, found: Any, needed: str) -> BoardError:
    return BoardError(
        f"{MANIFEST} has {reprlib.repr(found)} for {where}; {needed} is needed, make the bundle "
        "again"
    )
