"""Passes: what can be made of a layer, one file each; every file registers its own.

A pass of another distribution comes in through the entry point ``edgesr.passes``.
"""

from edgesr.surgery.passes._base import PASSES, Pass, register

__all__ = ["PASSES", "Pass", "register"]
