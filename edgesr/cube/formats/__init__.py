"""Formats of cubes, one file each; every file registers its own :class:`Reader`.

A reader of another distribution comes in through the entry point ``edgesr.readers``, of the
reader's name. Of a class that is registered, one object reads every file: a reader holds no state.
"""

from edgesr.cube.formats._base import READERS, Reader, register

__all__ = ["READERS", "Reader", "register"]
