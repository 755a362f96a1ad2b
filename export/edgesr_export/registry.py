"""One door for each kind of thing: a folder of modules, and what installed packages offer.

A :class:`Registry` knows its names without importing anything: a module of its package is called as
what it registers, and so is an entry point. Only what is asked for is imported.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib import metadata
from importlib.metadata import EntryPoint, EntryPoints
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

from edgesr_export.errors import ExportError

T = TypeVar("T")


def entry_points(group: str) -> EntryPoints:
    """What installed packages offer under ``group``, also those installed since Python started."""
    return _entry_points(group, tuple(_folders()))


@lru_cache(maxsize=32)
def _entry_points(group: str, folders: tuple[tuple[str, int], ...]) -> EntryPoints:
    """Kept until a folder changes: reading what all packages offer takes tens of milliseconds."""
    return metadata.entry_points(group=group)


def _folders() -> Iterator[tuple[str, int]]:
    """Where packages are found, and when each folder changed last."""
    for folder in sys.path:
        with suppress(OSError, ValueError):
            yield folder, Path(folder).stat().st_mtime_ns


class PluginWarning(RuntimeWarning):
    """What an installed package offers cannot be used; all else works."""


class Registry(Mapping[str, T], Generic[T]):
    """Things by name, imported when they are asked for.

    Args:
        kind: what one of them is called in messages, such as "pass".
        package: dotted name of a package; each of its modules registers the thing of its name by
            :meth:`add`. Modules with a leading underscore are helpers.
        group: entry points of other distributions, such as "edgesr.passes". Name and object of an
            entry point are given to ``accept``, unless importing it has registered it.
        accept: registers the object of an entry point, as the package's own decorator does.
        aliases: names of things whose modules cannot be called so, by module.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        group: str,
        accept: Callable[[str, Any], object],
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self.kind, self.group = kind, group
        self._package, self._accept = package, accept
        self._aliases = dict(aliases or {})
        self._things: dict[str, T] = {}
        self._broken: set[str] = set()

    def add(self, name: str, thing: T) -> None:
        """Register ``thing`` as ``name``.

        Raises:
            ExportError: the name is taken by something else.
        """
        if name in self._things and self._things[name] is not thing:
            raise ExportError(f"a {self.kind} named {name!r} is registered already; choose another")
        self._things[name] = thing

    def __getitem__(self, name: str) -> T:
        if name not in self._things:
            if name in self._modules():
                importlib.import_module(self._modules()[name])
            elif name in self._plugins():
                self._load(self._plugins()[name])
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        """Names, sorted; those of plug-ins that turned out to be broken are left out."""
        offered = self._plugins().keys() - self._broken
        return iter(sorted({*self._things, *self._modules(), *offered}))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._things or name in list(iter(self))

    def load(self) -> dict[str, T]:
        """Import everything and return it by name; what is broken is named and left out."""
        for name in self._plugins():
            if name not in self._things:
                self._load(self._plugins()[name])
        return {name: self[name] for name in self}

    def _modules(self) -> dict[str, str]:
        root, *inner = self._package.split(".")  # the packages between may import what is heavy
        spec = find_spec(root)
        found = (spec.submodule_search_locations if spec else None) or []
        folders = [str(Path(folder, *inner)) for folder in found]
        stems = (module.name for module in pkgutil.iter_modules(folders))
        return {
            self._aliases.get(stem, stem): f"{self._package}.{stem}"
            for stem in stems
            if not stem.startswith("_")
        }

    def _plugins(self) -> dict[str, EntryPoint]:
        own = self._modules()
        found = {point.name: point for point in entry_points(group=self.group)}
        for name in own.keys() & found.keys():
            self._leave_out(found.pop(name), "the name is taken; choose another")
        return found

    def _load(self, point: EntryPoint) -> None:
        if point.name in self._broken:
            return
        try:
            thing = point.load()
            module = hasattr(thing, "__path__") or hasattr(thing, "__spec__")
            if not module and point.name not in self._things:  # a decorator may have added it
                self._accept(point.name, thing)
            if point.name not in self._things:
                raise LookupError(f"{point.value} registers no {self.kind} of that name")
        except Exception as error:
            self._leave_out(point, f"{type(error).__name__}: {error}")

    def _leave_out(self, point: EntryPoint, why: str) -> None:
        if point.name not in self._broken:
            self._broken.add(point.name)
            text = f"the {self.kind} {point.name!r} ({point.value}) is left out: {why}"
            warnings.warn(" ".join(text.split()), PluginWarning, stacklevel=4)
