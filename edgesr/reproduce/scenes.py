"""Cubes by name, and the scenes that trials cut of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from edgesr.cube import Cube, Scene, make_scene, read_cube
from edgesr.cube.bands import format_bands
from edgesr.cube.options import ReadOptions
from edgesr.errors import OptionError
from edgesr.recipe.recipes import EMBEDDED
from edgesr.reproduce.trial import SceneSpec

SPREAD = "spread:"


def parse_cubes(given: Iterable[str], expected: Iterable[str] = ()) -> dict[str, str]:
    """Cubes by name from ``NAME=FILE``, ``FILE`` where one cube is expected, or ``indian_pines``.

    Raises:
        OptionError: a name is missing, given twice, or not among ``expected``.
    """
    wanted = list(expected)
    cubes: dict[str, str] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals:
            name, path = (EMBEDDED if text == EMBEDDED else ""), text
            if len(wanted) == 1:
                name = wanted[0]
        if not name or not path:
            such = ", such as " + " ".join(f"--data {name}=FILE" for name in wanted or ["reno"])
            raise OptionError(f"--data {text} does not say which cube it is; write NAME=FILE{such}")
        if name in cubes:
            raise OptionError(f"--data names {name} twice; give each cube once")
        if wanted and name not in wanted:
            raise OptionError(f"--data {name}: this table needs {' and '.join(wanted)}")
        cubes[name] = path
    return cubes


class Scenes:
    """Opens each cube once, and each scene once."""

    def __init__(self, cubes: Mapping[str, str], reading: ReadOptions | None = None) -> None:
        self.reading = reading or ReadOptions()
        self._paths = cubes
        self._cubes: dict[str, Cube] = {}
        self._scenes: dict[SceneSpec, Scene] = {}

    def cube(self, name: str) -> Cube:
        """Return a cube; DataError where it cannot be read."""
        if name not in self._cubes:
            self._cubes[name] = read_cube(self._paths[name], self.reading)
        return self._cubes[name]

    def open(self, spec: SceneSpec) -> Scene:
        """Return the scene; DataError where the cube cannot be used."""
        if spec not in self._scenes:
            self._scenes[spec] = self._made(spec)
        return self._scenes[spec]

    def _made(self, spec: SceneSpec) -> Scene:
        cube = self.cube(spec.cube)
        options = {name: value for name, value in spec.describe().items() if name != "cube"}
        bands = spec.bands or ""
        if not bands.startswith(SPREAD):
            return make_scene(cube, **options)
        clean = make_scene(cube, **{**options, "bands": "clean"}).bands
        count = int(bands.removeprefix(SPREAD))
        if len(clean) < count:
            raise OptionError(
                f"{spec.cube} has {len(clean)} bands that correlate with their neighbours, these"
                f" experiments take {count}; choose another cube"
            )
        chosen = np.linspace(0, len(clean) - 1, count).round().astype(int)
        return make_scene(cube, **{**options, "bands": format_bands([clean[i] for i in chosen])})
