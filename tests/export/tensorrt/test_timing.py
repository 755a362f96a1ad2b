from __future__ import annotations

from types import SimpleNamespace

import pytest
from edgesr_export.tensorrt.api import Api
from edgesr_export.tensorrt.timing import cache_file, l4t_release


def test_every_device_and_version_has_its_own_file(tmp_path):
    names = set()
    for version in ("8.5.2", "10.3.0"):
        api = Api(SimpleNamespace(__name__="tensorrt", __version__=version))
        for capability, gpu in [("8.7", "Orin (nvgpu)"), ("8.6", "Orin (nvgpu)"), ("8.7", None)]:
            names.add(cache_file(tmp_path, api, capability, gpu).name)
    assert len(names) == 6
    assert any(name.startswith("timing-tensorrt-8.5.2-sm8.7-orin-nvgpu") for name in names)


@pytest.mark.parametrize(
    ("text", "release"),
    [
        (
            "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64",
            "R36.4.3",
        ),
        ("# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref", "R32.7.1"),
        ("something else", ""),
    ],
)
def test_the_release_of_a_jetson_is_read(tmp_path, text, release):
    file = tmp_path / "nv_tegra_release"
    file.write_text(text)
    assert l4t_release(file) == release
    assert l4t_release(tmp_path / "absent") == ""
