"""Registries, on a package and entry points made for the test."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import pytest
from edgesr_export import registry as module
from edgesr_export.errors import ExportError
from edgesr_export.registry import Registry

OWN = ("offered", "theirs", "by_import", "decorated")


@pytest.fixture
def things(tmp_path, monkeypatch):
    """A registry over a package of two modules and a helper, and a way to offer entry points."""
    package = tmp_path / "offered"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from edgesr_export.registry import Registry\n"
        "THINGS = Registry('thing', 'offered', 'offered.things', lambda _, cls: register(cls))\n"
        "def register(cls):\n    THINGS.add(cls.name, cls())\n    return cls\n"
    )
    for name in ("one", "two"):
        (package / f"{name}.py").write_text(
            f"from offered import register\n@register\nclass Thing:\n    name = '{name}'\n"
        )
    (package / "_helper.py").write_text("raise RuntimeError('a helper is no thing')\n")
    (tmp_path / "theirs.py").write_text(
        "class Three:\n    name = 'three'\nclass Other:\n    name = 'other'\n"
    )
    (tmp_path / "broken.py").write_text("import a_module_that_is_nowhere\n")
    for module_name, name in (("by_import", "Five"), ("decorated", "Six")):
        (tmp_path / f"{module_name}.py").write_text(
            f"from offered import register\n@register\nclass {name}:\n    name = '{name.lower()}'\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    points: dict[str, str] = {}
    monkeypatch.setattr(
        module,
        "entry_points",
        lambda group: [EntryPoint(name, value, group) for name, value in points.items()],
    )
    import offered

    yield offered.THINGS, points
    for name in [n for n in sys.modules if n.split(".")[0] in OWN]:
        del sys.modules[name]


def test_names_are_known_before_anything_is_imported(things):
    registry, points = things
    points["three"] = "theirs:Three"
    assert list(registry) == ["one", "three", "two"]
    assert "one" in registry
    assert "helper" not in registry
    assert "_helper" not in registry
    assert not {"offered.one", "offered.two", "theirs"} & set(sys.modules)
    assert registry["two"].name == "two"
    assert "offered.two" in sys.modules
    assert "offered.one" not in sys.modules


def test_a_test_forgets_what_it_registers_and_nothing_else(things, kept, monkeypatch):
    registry, points = things
    kept(registry)  # the first to import its modules, which are imported once
    points |= {"three": "theirs:Three", "lost": "broken"}
    with pytest.warns(module.PluginWarning, match="the thing 'lost'"):
        assert registry.load().keys() == {"one", "three", "two"}
    monkeypatch.undo()
    assert {name: thing.name for name, thing in registry.items()} == {"one": "one", "two": "two"}
    assert not registry._broken


def test_what_installed_packages_offer_is_registered(things):
    registry, points = things
    points |= {"three": "theirs:Three", "five": "by_import", "six": "decorated:Six"}
    assert registry["three"].name == "three"
    assert {name: thing.name for name, thing in registry.load().items()} == {
        name: name for name in ("five", "one", "six", "three", "two")
    }


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("lost", "broken", "ModuleNotFoundError: No module named 'a_module_that_is_nowhere'"),
        ("lost", "theirs:Absent", "AttributeError"),
        ("lost", "theirs:Other", "registers no thing of that name"),
        ("one", "theirs:Three", "the name is taken"),
    ],
)
def test_a_broken_plug_in_is_named_once_and_left_out(things, recwarn, name, value, why):
    registry, points = things
    points[name] = value
    assert {"one", "two"} <= set(registry.load()) == set(registry) - {"lost"}
    registry.load()
    [warning] = [str(found.message) for found in recwarn]
    assert warning.startswith(f"the thing {name!r} ({value}) is left out: ")
    assert why in warning
    assert "\n" not in warning
    if name == "lost":
        assert "lost" not in registry
        with pytest.raises(KeyError):
            registry["lost"]


def test_a_name_is_given_once(things):
    registry, _ = things
    registry.add("mine", 1)
    assert registry["mine"] == 1
    assert "mine" in registry
    with pytest.raises(ExportError, match="registered already"):
        registry.add("mine", 2)


def test_a_registry_of_a_package_that_is_not_there_holds_plug_ins_alone(things, monkeypatch):
    _, points = things
    points["three"] = "theirs:Three"
    alone: Registry = Registry("thing", "nowhere", "g", lambda name, cls: alone.add(name, cls))
    assert list(alone) == ["three"]
    assert alone["three"].name == "three"
