"""Files of edgesr's own that something has happened to: one line each."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from edgesr.errors import DataError, OptionError
from edgesr.recipe.options import option_name
from edgesr.recipe.recipes import AnalyzeRecipe, CompressRecipe, Recipe, TrainRecipe
from edgesr.reproduce.store import Store, load
from edgesr.run_folder import RECIPE, REPORT, RunFolder
from edgesr.stored import DEEPEST, parse_json, read_json, typed


def folder(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def content(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


NO_FILE = {"folder": folder, "pipe": pipe}
NO_JSON = {
    "empty": content(b""),
    "truncated": content(b'{"a": [1, 2'),
    "binary": content(bytes(range(256))),
    "zeros": content(bytes(4096)),
    "a long number": content(b'{"a": ' + b"9" * 5_000 + b"}"),
    "a large number": content(b'{"a": ' + b"9" * 4_000 + b"}"),
    "nested": content(b"[" * 10_000 + b"]" * 10_000),
    "nested a little less": content(b"[" * 500 + b"]" * 500),
    "no number": content(b'{"a": NaN}'),
    "infinite": content(b'{"a": 1e999}'),
}
NO_TOML = {
    "truncated": content(b"[data"),
    "binary": content(bytes(range(256))),
    "a long number": content(b"rank = " + b"9" * 5_000),
    "a hexadecimal number": content(b"rank = 0x" + b"f" * 50_000),
    "nested": content(b"a = " + b"[" * 10_000 + b"]" * 10_000),
    "nested a little less": content(b"a = " + b"[" * 200 + b"]" * 200),
    "another type": content(b"rank = 1979-05-27"),
    "odd keys": content(b'"a\\nb" = 1\n"' + b"c" * 10_000 + b'" = 1'),
}
OTHER = [b"[]", b"1", b"null", b'"text"', b"{}", b'{"trials": [], "experiments": 3}']


@pytest.mark.parametrize("damage", [*NO_FILE.values(), *NO_JSON.values()], ids=[*NO_FILE, *NO_JSON])
def test_json_that_is_none(tmp_path, damage):
    path = tmp_path / "file.json"
    damage(path)
    with pytest.raises(DataError, match=r"cannot read the file .*\.json: .*; do that") as refusal:
        read_json(path, "the file", advice="do that")
    assert str(refusal.value).isprintable()


def test_a_path_that_is_none():
    for name in ("a\0b", "a\nb"):
        with pytest.raises(DataError) as refusal:
            read_json(Path(name), "the file")
        assert str(refusal.value).isprintable()


def test_depth_and_numbers_up_to_the_bounds():
    deep = "[" * DEEPEST + "]" * DEEPEST
    assert json.dumps(parse_json(deep)) == deep
    with pytest.raises(ValueError, match="nested more than"):
        parse_json(f"[{deep}]")
    assert parse_json(str(2**63)) == 2**63
    assert parse_json("[Infinity]", finite=False) == [float("inf")]


@dataclass(frozen=True)
class Inner:
    name: str
    share: float | None = None


@dataclass(frozen=True)
class Outer:
    count: int
    inner: list[Inner]
    named: dict[str, tuple[str, float]]


def test_plain_values_become_what_a_type_says():
    plain = {"count": 2, "inner": [{"name": "a", "share": 1}], "named": {"x": ["y", 2.5]}}
    assert typed(Outer, plain) == Outer(2, [Inner("a", 1.0)], {"x": ("y", 2.5)})


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"count": True}, "it.count"),
        ({"count": 1.0}, "it.count"),
        ({"inner": {}}, "it.inner"),
        ({"inner": [{"name": 1}]}, r"it.inner\[0\].name"),
        ({"inner": [{"share": 1}]}, r"it.inner\[0\]"),
        ({"inner": [{"name": "a", "more": 1}]}, r"it.inner\[0\]"),
        ({"inner": [{"name": "a", "share": "1"}]}, r"it.inner\[0\].share"),
        ({"named": {"x": ["y"]}}, r"it.named\['x'\]"),
        ({"named": None}, "it.named"),
    ],
)
def test_the_place_of_another_type_is_named(change, place):
    with pytest.raises(ValueError, match=f"^{place} is "):
        typed(Outer, {"count": 2, "inner": [], "named": {}, **change})


@pytest.mark.parametrize("damage", [*NO_FILE.values(), *NO_TOML.values()], ids=[*NO_FILE, *NO_TOML])
def test_the_command_refuses_a_recipe_that_is_none(refused_compress, tmp_path, damage):
    damage(tmp_path / "odd.toml")
    assert len(refused_compress("--recipe", tmp_path / "odd.toml")) < 1_000


ODD = ["", "\0", "x\ny", '\'"""', "x" * 10_000, -1, 2**62, 0.5, 1e308, True, [], [1], {"a": {}}]


@pytest.mark.parametrize("kind", [Recipe, AnalyzeRecipe, CompressRecipe, TrainRecipe])
def test_odd_values_of_every_option_are_refused_or_valid(tmp_path, kind):
    path = tmp_path / RECIPE
    for item in fields(kind):
        for value in ODD:
            path.write_text(tomli_w.dumps({"section": {item.name: value}}))
            try:
                found = getattr(kind.load(path), item.name)
                if isinstance(found, tuple):  # a list, or a text with commas
                    parts = value.split(",") if isinstance(value, str) else value
                    value = tuple(part.strip() for part in parts if part.strip())
                assert found == value
            except OptionError as error:
                refusal = str(error)
            else:
                continue
            assert refusal.isprintable()
            assert len(refusal) < 1_000
            assert option_name(item.name) in refusal or "unknown keys" in refusal


@pytest.mark.parametrize("damage", [*NO_JSON.values(), *map(content, OTHER)])
@pytest.mark.parametrize("command", ["report", "bench", "bundle"])
def test_the_commands_refuse_a_report_that_is_none(refused, workplace, command, damage):
    (workplace / "run").mkdir()
    CompressRecipe().save(workplace / "run" / RECIPE)
    damage(workplace / "run" / REPORT)
    assert "run/report.json" in (line := refused(command, "run")) or "the report" in line


def test_the_results_of_reproduce_are_refused_in_one_line(tmp_path):
    path = tmp_path / "results.json"
    damages = [*NO_JSON.values(), *map(content, OTHER)]
    for name, damage in enumerate(damages):
        path = tmp_path / f"{name}.json"
        damage(path)
        if path.read_bytes() == b'{"a": NaN}':
            continue
        with pytest.raises(DataError) as refusal:
            Store(path)
        assert str(refusal.value).isprintable()
    good = {"format": 1, "experiments": {}, "trials": {"a": {"test": {"sam": 1}, "cpu_seconds": 2}}}
    path.write_text(json.dumps(good))
    assert load(path) == good
    for trial in ({}, {"test": {"sam": "1"}, "cpu_seconds": 2}, {"test": {}}, []):
        path.write_text(json.dumps({**good, "trials": {"a": trial}}))
        with pytest.raises(DataError, match="not a results file"):
            load(path)


@pytest.fixture
def interrupted(tmp_path) -> RunFolder:
    run = RunFolder(tmp_path / "run", overwrite=False, resume=False)
    run.create(CompressRecipe())
    run.remember("stage", lambda: {"a": 1.5}, dict[str, float])
    with run.timed("open"):
        pass
    run.release()
    return run


@pytest.mark.parametrize(
    "damage", [*NO_JSON.values(), *map(content, [*OTHER[:4], b'{"a": "1"}', b'{"a": [[]]}'])]
)
def test_a_stage_whose_state_is_damaged_is_done_again(interrupted, caplog, damage):
    caplog.set_level("INFO", logger="edgesr")
    for name in ("stage", "timing"):
        damage(interrupted.state(f"{name}.json"))
    again = RunFolder(interrupted.path, overwrite=False, resume=True)
    again.create(CompressRecipe())
    found: Any = again.remember("stage", lambda: {"a": 2.5}, dict[str, float])
    if found == {"a": 2.5}:
        lines = caplog.messages
        assert sum("stage.json" in line and "done again" in line for line in lines) == 1
        assert json.loads(again.state("stage.json").read_text()) == {"a": 2.5}
    else:  # a state may hold what is not finite: blocks without which nothing works
        assert str(found) in ("{'a': nan}", "{'a': inf}")


def test_a_pipe_in_place_of_a_state_is_replaced_and_a_folder_refused(interrupted):
    path = interrupted.state("stage.json")
    path.unlink()
    pipe(path)
    assert interrupted.remember("stage", lambda: {"b": 2.5}) == {"b": 2.5}
    assert json.loads(path.read_text()) == {"b": 2.5}
    path.unlink()
    folder(path)
    with pytest.raises(OptionError, match=r"stage\.json is a folder"):
        interrupted.remember("stage", lambda: 1)


def test_a_state_of_another_run_is_done_again(interrupted, caplog):
    caplog.set_level("INFO", logger="edgesr")
    found = interrupted.remember("stage", lambda: {"b": 2.5}, dict[str, float], lambda v: "b" in v)
    assert found == {"b": 2.5}
    assert "does not belong to this run" in caplog.text
