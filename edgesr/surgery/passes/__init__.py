"""Passes: what can be made of a network, one file each; every file registers its own.

- :class:`UpsamplerPass`: makes an upsampler smaller; ``edgesr compress`` tries its settings
- :class:`BackbonePass`: makes any other layer smaller; a search tries it
- :class:`BlockPass`: takes whole blocks out; a search tries it
- :class:`WidthPass`: leaves channels inside of blocks out; used from Python
- a bare :class:`Pass`: whatever else changes the structure, such as the exact ``plain``

A pass of another distribution comes in through the entry point ``edgesr.passes``, of the pass's
name. Of a class that is registered, one object serves every network: a pass holds no state.
"""

from edgesr.surgery.passes._base import (
    BackbonePass,
    BlockPass,
    Pass,
    SitePass,
    Step,
    UpsamplerPass,
    WidthPass,
    passes_of,
)
from edgesr.surgery.registry import PASSES, register

__all__ = [
    "PASSES",
    "BackbonePass",
    "BlockPass",
    "Pass",
    "SitePass",
    "Step",
    "UpsamplerPass",
    "WidthPass",
    "passes_of",
    "register",
]
