from __future__ import annotations

import pytest

from edgesr.files import atomic_path


def test_a_file_appears_complete(tmp_path):
    target = tmp_path / "report.json"
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_or_interrupted_write_leaves_the_old_file(tmp_path, error):
    def fail() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise error

    target = tmp_path / "report.json"
    target.write_text("old")
    with pytest.raises(error):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_name_has_the_suffix_and_the_folder_of_the_target(tmp_path):
    with atomic_path(tmp_path / "cube.tif") as temporary:
        temporary.touch()
        assert temporary.suffix == ".tif"
        assert temporary.parent == tmp_path


def test_a_block_that_wrote_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "cube.tif"):
        pass
