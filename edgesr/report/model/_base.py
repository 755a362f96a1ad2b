"""What the types of the report share: one base, and the kinds of values that come again."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct, to_builtins


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A part of ``report.json``; what is None by default is left out of the file then."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        plain: dict[str, Any] = to_builtins(self)
        return plain


def doc(text: str) -> Meta:
    """What ``schema.json`` says of a field: a sentence, with unit and range."""
    return Meta(description=text)


Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Amount = Annotated[float, Meta(ge=0)]
Range = Annotated[list[Amount], Meta(min_length=2, max_length=2)]
Share = Annotated[float, Meta(ge=0, le=1)]
Text = Annotated[str, Meta(min_length=1)]
Shape = Annotated[list[Positive], Meta(min_length=1)]
InFolder = Annotated[str, Meta(pattern=r"^(?!/)(?!.*\.\.)[^\x00-\x1f]+$")]
"""A path within the run folder."""
Checksum = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
