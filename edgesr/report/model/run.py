"""What a run was made of: the scene, the machine, the files."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from edgesr.report.model._base import Checksum, Count, Entry, InFolder, Positive, Shape, doc


class SplitPart(Entry, frozen=True, kw_only=True):
    """A part of the scene."""

    windows: Annotated[Count, doc("How many windows it has.")]
    sizes: Annotated[
        list[str] | UnsetType, doc("Their sizes, height by width in pixels, such as '48 x 48'.")
    ] = UNSET


class Data(Entry, frozen=True, kw_only=True):
    """The scene."""

    name: Annotated[str, doc("Name of the cube.")]
    source: Annotated[str | None, doc("File or package that the cube was read from.")] = None
    shape: Annotated[Shape, doc("Rows, columns and bands of the cube.")]
    dtype: Annotated[str | None, doc("Type of the native numbers.")] = None
    crop: Annotated[
        list[Count] | None,
        doc("Row, column, height and width of the part that the protocol uses."),
    ] = None
    bands: Annotated[
        str | list[Count],
        doc("Bands used, as indices into the cube: text such as '4-32,40-55', or a list."),
    ]
    wavelengths_nm: Annotated[
        list[float] | UnsetType | None,
        doc("Centre wavelengths of the bands used, in nm; null where unknown."),
    ] = UNSET
    crs: Annotated[
        str | UnsetType | None, doc("Coordinate reference system; null where unknown.")
    ] = UNSET
    nodata: Annotated[
        float | Literal["nan", "inf", "-inf"] | UnsetType | None,
        doc(
            "Native number that marks missing pixels, 'nan', 'inf' or '-inf' where it is none of"
            " JSON's; null where none."
        ),
    ] = UNSET
    protocol: Annotated[str | None, doc("Published split, or 'auto'.")] = None
    scale: Annotated[Annotated[int, Meta(ge=2)] | None, doc("Magnification r.")] = None
    degradation: Annotated[str, doc("How the LR images were made from the HR ones.")]
    normalisation: Annotated[
        dict[str, Any],
        doc(
            "How native numbers became [0, 1]: mode, and lower and upper bound per band, fitted on"
            " the training region."
        ),
    ]
    seed: Annotated[Count | None, doc("Seed of the split.")] = None
    split: Annotated[
        dict[str, SplitPart], doc("Windows of train, tuning, budget and test, which are disjoint.")
    ]
    test_windows: Annotated[
        list[list[Count]] | None, doc("Row, column, height and width of each test window.")
    ] = None


class Environment(Entry, frozen=True, kw_only=True):
    """Where the run took place."""

    python: Annotated[str, doc("Version of Python.")]
    edgesr: Annotated[str, doc("Version of edgesr.")]
    torch: Annotated[str, doc("Version of torch.")]
    numpy: Annotated[str, doc("Version of NumPy.")]
    onnx: Annotated[str, doc("Version of onnx.")]
    onnxruntime: Annotated[str, doc("Version of ONNX Runtime.")]
    platform: Annotated[str, doc("Operating system and architecture.")]
    cpu: Annotated[str, doc("Name of the processor.")]
    cores: Annotated[Positive, doc("Logical processors.")]
    device: Annotated[str, doc("Device that torch computed on, with the name of a GPU.")]
    threads: Annotated[Positive, doc("CPU threads of torch.")]


class File(Entry, frozen=True, kw_only=True):
    """One file of the folder."""

    path: Annotated[InFolder, doc("Name, relative to the folder.")]
    bytes: Annotated[Count, doc("Size.")]
    sha256: Annotated[Checksum, doc("Checksum, hexadecimal.")]
