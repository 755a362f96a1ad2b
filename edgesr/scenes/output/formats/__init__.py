"""Formats of whole scenes, one file each; every file registers its own :class:`Format`.

A format of another distribution comes in through the entry point ``edgesr.scene_formats``, of the
format's name.
"""

from edgesr.scenes.output.formats._base import FORMATS, Format, Progress, register

__all__ = ["FORMATS", "Format", "Progress", "register"]
