"""Hyperspectral cubes: reading, writing, normalising, degrading, and dividing for training."""

from edgesr.cube.cube import Cube, Window
from edgesr.cube.degrade import bicubic_upsample, degrade
from edgesr.cube.normalise import Normalisation
from edgesr.cube.opened import OpenCube
from edgesr.cube.options import ReadOptions
from edgesr.cube.protocols import PROTOCOLS
from edgesr.cube.readers import open_cube, read_cube
from edgesr.cube.scene import Scene, make_scene
from edgesr.cube.writers import write_cube

__all__ = [
    "PROTOCOLS",
    "Cube",
    "Normalisation",
    "OpenCube",
    "ReadOptions",
    "Scene",
    "Window",
    "bicubic_upsample",
    "degrade",
    "make_scene",
    "open_cube",
    "read_cube",
    "write_cube",
]
