"""``archive.json`` and the receipts beside it, as types.

``archive.schema.json`` is made from them (see :mod:`edgesr.scenes.archive.schema`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import field

from edgesr.report.model._base import Amount, Checksum, Count, Entry, Text, doc
from edgesr.scenes.receipt import Receipt


class Stamp(Entry, frozen=True, kw_only=True):
    """What tells cheaply that a file is still the one that it was."""

    bytes: Annotated[Count, doc("Size, of all files where it is a folder.")]
    modified_ns: Annotated[int, doc("Time of the newest change, in ns since 1970.")]


class Done(Entry, frozen=True, kw_only=True):
    """A scene whose output is there, complete."""

    id: Annotated[Text, doc("Name of the scene: its output within the archive, without suffix.")]
    receipt: Annotated[Receipt, doc("What the work returned.")]
    settings: Annotated[Checksum, doc("Of model and options, all that decide the pixels.")]
    source: Annotated[Stamp | None, doc("The source as it was read.")] = None
    output: Annotated[Stamp, doc("The output as it was written.")]
    warnings: Annotated[list[Text], doc("Of the scene, a line each.")] = field(default_factory=list)


class Failure(Entry, frozen=True, kw_only=True):
    """A scene that could not be done."""

    id: Annotated[Text, doc("Name of the scene.")]
    source: Annotated[Text, doc("The scene that was to be read.")]
    kind: Annotated[
        Literal["refused", "error", "died", "late", "full"],
        doc(
            "'refused': the scene cannot be used; 'error': something unexpected, every time;"
            " 'died': its worker ended every time; 'late': it took longer than the time limit,"
            " every time; 'full': there was no space for the output."
        ),
    ]
    reason: Annotated[Text, doc("In one line.")]


class Archive(Entry, frozen=True, kw_only=True):
    """``archive.json``: what became of every scene."""

    schema_version: Annotated[Literal[1], doc("Of this file.")] = 1
    version: Annotated[Text, doc("Of edgesr.")]
    created: Annotated[Text, doc("When this file was written, ISO 8601.")]
    model: Annotated[Text | None, doc("The model file.")] = None
    engine: Annotated[Text, doc("What ran the scenes, such as '2 workers of 1 thread'.")]
    seconds: Annotated[Amount, doc("Wall time of the last call of the command.")]
    computed: Annotated[Count, doc("Scenes done in that time; the others were there.")]
    computed_pixels: Annotated[Count, doc("Pixels of their outputs.")]
    waiting: Annotated[Count, doc("Scenes that are neither done nor failed.")]
    done: Annotated[list[Done], doc("Scenes whose output is there, by name.")]
    failed: Annotated[list[Failure], doc("Scenes that could not be done, by name.")]

    @property
    def pixels(self) -> int:
        """Pixels of all outputs."""
        return sum(one.receipt.pixels for one in self.done)
