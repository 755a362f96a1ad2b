from __future__ import annotations

import tomllib
from dataclasses import fields, replace
from typing import Any

import pytest
from edgesr_export.targets import PRECISIONS, TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesr.errors import OptionError
from edgesr.recipe.options import default_of, field_type, option_name, read_toml
from edgesr.recipe.recipes import AnalyzeRecipe, CompressRecipe, Recipe, TrainRecipe, WeightsRecipe

KINDS = [Recipe, WeightsRecipe, AnalyzeRecipe, CompressRecipe, TrainRecipe]
NAMES = ["a.npy", "b.mat:cube", "c.h5:/x"]
LISTED = {"targets": list(TARGETS), "precisions": list(PRECISIONS)}
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12
)


def values(kind: type[Recipe], name: str) -> st.SearchStrategy[Any]:
    """Values of one field; those outside its range are filtered out by its own check."""
    item = next(item for item in fields(kind) if item.name == name)
    check = item.metadata["check"]
    words = check.words.removeprefix("one of ").split(", ") if check else []
    plain = {
        tuple: st.lists(st.sampled_from(LISTED.get(name, NAMES)), unique=True).map(tuple),
        bool: st.booleans(),
        int: st.integers(0, 2**62),
        float: st.floats(0, 1e6) | st.floats(0, 1),
        str: st.sampled_from(words) if words else TEXTS,
    }[field_type(kind, name)]
    valid = plain.filter(check.holds) if check else plain
    return valid | st.none() if default_of(item) is None else valid


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    kind = draw(st.sampled_from(KINDS))
    names = draw(st.sets(st.sampled_from([item.name for item in fields(kind)])))
    return kind(**{name: draw(values(kind, name)) for name in sorted(names)})


@settings(deadline=None, max_examples=40)
@given(recipe=recipes())
def test_a_recipe_comes_back_from_its_file(tmp_path_factory, recipe):
    path = tmp_path_factory.getbasetemp() / "recipe.toml"
    recipe.save(path)
    assert type(recipe).load(path) == recipe


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_valid_and_their_file_is_sectioned(kind, tmp_path):
    kind().save(tmp_path / "recipe.toml")
    content = tomllib.loads((tmp_path / "recipe.toml").read_text())
    assert content["data"]["data"] == "indian_pines"
    assert all(isinstance(section, dict) for section in content.values())
    written = {key for section in content.values() for key in section}
    assert written == {key for key, value in kind().to_dict().items() if value is not None}


def test_sections_are_for_reading_only(tmp_path):
    (tmp_path / "flat.toml").write_text("rank = 16\n[budget]\nmax_psnr_drop = 1")
    recipe = CompressRecipe.load(tmp_path / "flat.toml")
    assert recipe == CompressRecipe(rank=16, max_psnr_drop=1.0)
    assert isinstance(recipe.max_psnr_drop, float)


@pytest.mark.parametrize("text", ['"cpu,tensorrt"', '["cpu", "tensorrt"]', '"cpu, tensorrt"'])
def test_lists_are_read_as_toml_has_them_and_as_they_are_typed(tmp_path, text):
    (tmp_path / "recipe.toml").write_text(f"[deployment]\ntargets = {text}")
    recipe = CompressRecipe.load(tmp_path / "recipe.toml")
    assert recipe.targets == ("cpu", "tensorrt")
    recipe.save(tmp_path / "again.toml")
    stored = tomllib.loads((tmp_path / "again.toml").read_text())
    assert stored["deployment"]["targets"] == ["cpu", "tensorrt"]


def test_unknown_keys_are_refused_and_the_known_listed(tmp_path):
    (tmp_path / "recipe.toml").write_text("[surgery]\nrnak = 16\nzoom = 1")
    with pytest.raises(OptionError, match=r"unknown keys rnak, zoom; known are alpha, .*, weights"):
        CompressRecipe.load(tmp_path / "recipe.toml")
    with pytest.raises(OptionError, match="unknown keys rank"):
        TrainRecipe.from_mapping({"rank": 16})


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"rank": 16.0}, "--rank must be an integer, not 16.0"),
        ({"rank": "16"}, "--rank must be an integer, not '16'"),
        ({"rank": True}, "--rank must be an integer, not True"),
        ({"exact_target": 1}, "--exact-target must be true or false, not 1"),
        ({"rank_target": "0.9"}, "--rank-target must be a number, not '0.9'"),
        ({"rank_target": True}, "--rank-target must be a number, not True"),
        ({"rank_target": None}, "--rank-target must be a number, not None"),
        ({"data": 3}, "--data must be a text, not 3"),
        ({"data": None}, "--data must be a text, not None"),
        ({"rank_target": 0.0}, r"--rank-target must be a number in \(0, 1\], not 0.0"),
        ({"rank_target": 1.1}, r"--rank-target must be a number in \(0, 1\], not 1.1"),
        ({"rank_target": float("nan")}, "--rank-target must be finite, not nan"),
        ({"max_psnr_drop": float("inf")}, "--max-psnr-drop must be finite, not inf"),
        ({"groups": 1}, "--groups must be an integer from 2 to 65536, not 1"),
        ({"seed": -1}, "--seed must be an integer from 0"),
        ({"seed": 2**63}, "--seed must be an integer from 0"),
        ({"threads": 0}, "--threads must be an integer from 1 to 1024, not 0"),
        (
            {"targets": "tensorrt"},
            "--targets must be a list of cpu, .* with cpu in it, such as cpu,",
        ),
        ({"targets": ["cpu", "moon"]}, "--targets must be a list of .*, not 'cpu,moon'"),
        ({"targets": ["cpu", 3]}, r"--targets must be a list of texts, not \['cpu', 3\]"),
        ({"targets": None}, "--targets must be a list of texts, not None"),
        ({"precisions": "fp32,fp8"}, "--precisions must be a list of fp32, fp16, int8 with fp32"),
        ({"runtime": "abacus"}, "--runtime must be one of onnxruntime, .*, not 'abacus'"),
        ({"alpha": -0.1}, "--alpha must be a number from 0 to 1e6, not -0.1"),
    ],
)
def test_wrong_types_and_values_are_refused(values, reason):
    with pytest.raises(OptionError, match=f"^{reason}"):
        CompressRecipe.from_mapping(values)


def test_the_limits_themselves_are_valid():
    assert CompressRecipe(rank_target=1, epochs=0, seed=2**63 - 1, alpha=0).rank_target == 1.0
    with pytest.raises(OptionError):
        TrainRecipe(epochs=0)


def test_a_recipe_cannot_be_changed_but_copied():
    with pytest.raises(AttributeError):
        CompressRecipe().rank = 3
    with pytest.raises(OptionError, match="--rank"):
        replace(CompressRecipe(), rank=0)


def test_files_that_are_no_recipe(tmp_path):
    with pytest.raises(OptionError, match=r"cannot read the recipe .*none\.toml: No such file"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OptionError, match="is not valid TOML"):
        read_toml(tmp_path / "bytes.toml")


def test_option_names():
    assert option_name("max_psnr_drop") == "--max-psnr-drop"


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_has_a_help_text_a_group_and_a_default_that_its_check_accepts(kind):
    for item in fields(kind):
        assert item.metadata["help"]
        assert item.metadata["group"]
        assert field_type(kind, item.name) in (bool, int, float, str, tuple)
        check = item.metadata["check"]
        default = default_of(item)
        if check is not None and default is not None:
            assert check.holds(default)
