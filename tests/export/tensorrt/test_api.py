from __future__ import annotations

from types import SimpleNamespace

import pytest
from edgesr_export.errors import ExportError
from edgesr_export.tensorrt import api as api_module
from edgesr_export.tensorrt import build
from edgesr_export.tensorrt import builder as builder_module
from edgesr_export.tensorrt.api import Api, capability_text, find_api, parse_capability


def library(creation=(), builder=(), capabilities=None, **others):
    """A library that has what is named, as the real ones have it."""
    config = SimpleNamespace()
    if capabilities is not None:
        config.set_compute_capability = None
        members = {name: name for name in ("NONE", "CURRENT", *capabilities)}
        others["ComputeCapability"] = SimpleNamespace(__members__=members)
    return Api(
        SimpleNamespace(
            __name__="tensorrt",
            NetworkDefinitionCreationFlag=SimpleNamespace(**dict(creation)),
            BuilderFlag=SimpleNamespace(**dict.fromkeys(builder, 0)),
            IBuilderConfig=config,
            **others,
        )
    )


EIGHT = library({"EXPLICIT_BATCH": 0}, ["FP16", "INT8", "STRICT_TYPES"])
TEN = library({"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1}, ["FP16", "INT8"], IProgressMonitor=None)
ELEVEN = library({}, ["TF32"], IProgressMonitor=None)
RTX = library({"STRONGLY_TYPED": 0}, ["TF32"], capabilities=["SM75", "SM86", "SM120"])


@pytest.mark.parametrize(
    ("api", "typed", "flags", "progress"),
    [
        (EIGHT, False, 0b01, False),
        (TEN, True, 0b11, True),
        (ELEVEN, True, 0b00, True),
        (RTX, True, 0b01, False),
    ],
    ids=["8.x", "10.x", "11.x", "RTX"],
)
def test_abilities_follow_from_what_the_library_has(api, typed, flags, progress):
    assert (api.strongly_typed, api.network_flags, api.has_progress) == (typed, flags, progress)


def test_gpus_to_build_for_are_read_from_the_library():
    assert RTX.capabilities == {(7, 5): "SM75", (8, 6): "SM86", (12, 0): "SM120"}
    assert TEN.capabilities == {}


@pytest.mark.parametrize("given", ["8.6", "86", "SM86", "sm_86", (8, 6)])
def test_a_compute_capability_has_many_spellings(given):
    assert parse_capability(given) == (8, 6)
    assert parse_capability("12.0") == parse_capability("SM120") == (12, 0)
    assert capability_text((8, 6)) == "8.6"


@pytest.mark.parametrize("given", ["", "8", "orin", "8.66", (8, 66)])
def test_what_is_no_compute_capability_is_refused(given):
    with pytest.raises(ExportError, match=r"looks like 8\.6 or SM86, got"):
        parse_capability(given)


def test_none_installed_is_one_line_with_the_reasons(monkeypatch):
    def missing(name):
        problem = f"no module {name}" if name == "tensorrt" else "libcudart.so.12 not found\nmore"
        raise (ImportError if name == "tensorrt" else FileNotFoundError)(problem)

    monkeypatch.setattr(api_module.importlib, "import_module", missing)
    api_module._import.cache_clear()
    try:
        message = r"\(tensorrt: no module tensorrt; tensorrt_rtx: libcudart.* install the extra"
        with pytest.raises(ExportError, match=message) as caught:
            find_api()
        assert "\n" not in str(caught.value)
        assert api_module.available() == []
    finally:
        api_module._import.cache_clear()


def test_a_library_without_flags_or_progress_builds_all_the_same(rtx, write, tmp_path, monkeypatch):
    """As 11.x is: typed without a flag for it. The real library, with parts hidden."""
    module = find_api(rtx).module

    class Hidden:
        NetworkDefinitionCreationFlag = SimpleNamespace()

        def __getattr__(self, name):
            if name == "IProgressMonitor":
                raise AttributeError(name)
            return getattr(module, name)

    monkeypatch.setattr(builder_module, "find_api", lambda library: Api(Hidden()))
    path = write("y = Relu(x)")
    side = build(path, tmp_path / "m.engine", expect="fp32", compute_capability="8.6").side
    assert (side.strongly_typed, side.library) == (True, rtx)


def test_a_library_that_builds_for_its_own_gpu_alone_says_so(write, tmp_path, monkeypatch):
    monkeypatch.setattr(builder_module, "find_api", lambda library: TEN)
    monkeypatch.setattr(builder_module, "find_device", lambda: None)
    with pytest.raises(ExportError, match=r"tensorrt builds for the GPU in use alone.*rtx"):
        build(write("y = Relu(x)"), tmp_path / "m.engine", expect="fp32", compute_capability="8.7")
    with pytest.raises(ExportError, match="no GPU here to build for; build where it is"):
        build(write("y = Relu(x)"), tmp_path / "m.engine", expect="fp32")
