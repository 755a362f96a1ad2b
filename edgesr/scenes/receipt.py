"""What remains of a scene's work beside its output: a few hundred bytes, never pixels."""

from __future__ import annotations

from typing import Annotated

from edgesr.report.model._base import Amount, Checksum, Entry, Positive, Text, doc


class Receipt(Entry, frozen=True, kw_only=True):
    """One scene that was super-resolved."""

    source: Annotated[Text, doc("The scene that was read.")]
    target: Annotated[Text, doc("The file or folder that was written.")]
    pixels: Annotated[Positive, doc("Rows x columns of the output.")]
    seconds: Annotated[Amount, doc("Wall time of the scene, reading and writing included.")]
    sha256: Annotated[Checksum, doc("Of the output.")]
    version: Annotated[Text, doc("Of edgesr.")]
    model_sha256: Annotated[Checksum, doc("Of the model file.")]
    skipped: Annotated[bool, doc("It was there already.")] = False
