"""Where a model card is found: in a model file, or in a file of its own beside a foreign one."""

from __future__ import annotations

import json
from pathlib import Path

from edgesr_export.card import ModelCard, Port, parse_card, read_card
from edgesr_export.errors import ExportError
from msgspec.structs import replace

from edgesr.errors import ModelError
from edgesr.stored import read_json

ENGINE, ONNX, WEIGHTS = SUFFIXES = (".engine", ".onnx", ".safetensors")

RUNTIMES = {ONNX: "onnxruntime", ENGINE: "tensorrt", WEIGHTS: "torch"}
"""What runs a file, by its suffix, where nobody says it."""


def find_card(path: Path) -> ModelCard | None:
    """The card of an ONNX file, an engine or weights; None where another tool made it.

    Raises:
        ModelError: no such file, or weights that do not say what they were trained on.
        ExportError: it cannot be read, or its card is damaged or of a newer version.
    """
    suffix = path.suffix.lower()
    if suffix == WEIGHTS:
        from edgesr.files import file_sha256
        from edgesr.loading.card import make_card
        from edgesr.loading.weights import read_header

        header = read_header(path)
        return make_card(header["data"], str(header["model"]), file_sha256(path))
    if suffix == ENGINE:
        from edgesr_export.tensorrt.sidecar import read_side

        return read_side(path).card
    return read_card(path)


def given_card(path: Path) -> ModelCard:
    """What ``--card FILE`` says of another file: JSON as ``edgesr info`` prints it, or a model's.

    Only what it says of the network counts: sizes, types and precision are those of the other file.

    Raises:
        ModelError: there is no card in it.
        ExportError: it is damaged, or of a newer version.
    """
    if path.suffix.lower() in SUFFIXES:
        card = find_card(path)
        if card is None:
            raise ModelError(
                f"{path} has no model card either; name one in JSON, or a file that edgesr wrote"
            )
    else:
        advice = "name a card in JSON, as edgesr info MODEL --json prints it, or a model file"
        value = read_json(path, "the model card", ModelError, advice=advice)
        card = parse_card(json.dumps(value), str(path))
    return replace(
        card, input=Port(), output=Port(), size=(None, None), precision="fp32", int8_layers=0
    )


def fitting_card(path: Path, bands: int | None, card: ModelCard) -> ModelCard:
    """The card, if an ONNX file of ``bands`` bands (None: free) can be what it describes.

    Raises:
        ExportError: another number of bands.
    """
    named = len(card.bands.index)
    if bands not in (None, named):
        raise ExportError(
            f"{path} takes {bands} bands and its card names {named}; give the card of this network"
        )
    return card


def without_card(path: Path) -> ModelError:
    """The error of a model file that needs a card and has none."""
    return ModelError(
        f"{path} does not say what it was trained on: another tool made it, or an edgesr before"
        " there were model cards; pass --card FILE, its card in JSON or a model file that has the"
        " same, or take a file that edgesr compress has made"
    )
